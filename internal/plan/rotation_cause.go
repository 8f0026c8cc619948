package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	// maxLive bounds the generations that everybody trusts at a time.
	maxLive = 4
	// rotationDelays is how many propagation delays the shortest rotation has room for: two gates, and as much again.
	rotationDelays = 4
)

// wanted is a reason for another generation than the signer.
type wanted struct {
	cause, id string
	// patient: it waits until older rotations are over, and doesn't follow the last one at once.
	patient bool
	message string
}

// mint makes the next generation when there is a reason for one that wasn't served yet.
func (r *rotation) mint() Step {
	if r.next.Number > 0 {
		return Step{}
	}
	wish := r.cause()
	if wish.cause == "" || r.hindered(wish) {
		return Step{}
	}
	return Step{
		Kind:         StepMint,
		Number:       r.Lineage.Free(max(r.Highest, r.Lineage.Newest())),
		Cause:        wish.cause,
		CauseID:      wish.id,
		RotateServed: r.Orders.Rotate,
	}
}

// cause is the first reason for another generation that applies and wasn't aborted.
func (r *rotation) cause() wanted {
	if r.signer.Number == 0 {
		return wanted{cause: v1alpha1.CauseLost, message: "no CA has a key"}
	}
	for _, find := range []func() wanted{
		r.compromised, r.deleted, r.importedChanged, r.specChanged, r.parentRotated, r.renewalDue, r.requested,
	} {
		if wish := find(); wish.cause != "" && !r.aborted(wish) {
			return wish
		}
	}
	return wanted{}
}

func (r *rotation) compromised() wanted {
	if !r.Orders.Compromised.Has(r.signer.Number) {
		return wanted{}
	}
	return wanted{cause: v1alpha1.CauseCompromised, id: number(r.signer), message: "others have its key"}
}

func (r *rotation) deleted() wanted {
	if !r.signer.Deleting {
		return wanted{}
	}
	return wanted{
		cause: v1alpha1.CauseDeleted, id: string(r.signer.SecretUID),
		message: fmt.Sprintf("Secret %q was deleted", r.signer.SecretName),
	}
}

func (r *rotation) importedChanged() wanted {
	fingerprint := r.Imported.Issuer.Fingerprint()
	if r.Wish.ImportedSecret == "" || fingerprint == "" || fingerprint == r.signer.Issuer.Fingerprint() {
		return wanted{}
	}
	return wanted{
		cause: v1alpha1.CauseImported, id: fingerprint, patient: true,
		message: fmt.Sprintf("Secret %q holds another CA", r.Wish.ImportedSecret),
	}
}

// specChanged doesn't tell of another pair: importedChanged does, and a person who aborts it means all of it.
func (r *rotation) specChanged() wanted {
	if r.Wish.ImportedSecret != "" || !differs(r.signer.SpecHash, r.Wish.Hash) {
		return wanted{}
	}
	return wanted{cause: v1alpha1.CauseSpec, id: r.Wish.Hash, patient: true, message: "the spec asks for another CA"}
}

// differs compares hashes of specs. One that another version of the operator made says nothing.
func differs(recorded, wish string) bool {
	return strings.HasPrefix(recorded, specHashVersion) && wish != "" && recorded != wish
}

func (r *rotation) parentRotated() wanted {
	if r.Parent == nil || r.Parent.NotReady.Reason != "" || r.signer.Issuer.SignedBy(r.Parent.Signer) {
		return wanted{}
	}
	if r.signer.SignedBy != r.Wish.SignedBy.String() && differs(r.signer.SpecHash, r.Wish.Hash) {
		return wanted{} // it is to move to another authority, see specChanged
	}
	return wanted{cause: v1alpha1.CauseParent, id: r.Parent.Signer.Fingerprint(), message: "the authority above it has a new CA"}
}

func (r *rotation) renewalDue() wanted {
	due, applies := r.due(r.signer)
	if !applies || r.now.Before(due) {
		return wanted{}
	}
	return wanted{
		cause: v1alpha1.CauseDue, id: number(r.signer),
		message: "it ends at " + r.signer.end().UTC().Format(time.RFC3339),
	}
}

// due is when the generation after this one is prepared. Whoever made an imported CA renews it. A CA that ends with the one
// above it gains nothing by being renewed; while that one is replaced, it is waited for, but not for ever.
func (r *rotation) due(g Generation) (time.Time, bool) {
	if g.Number == 0 || r.Wish.ImportedSecret != "" {
		return time.Time{}, false
	}
	before := r.renewBefore(g)
	if r.Parent != nil {
		gains := r.Parent.Signer.Validity().NotAfter.Sub(g.end()) >= g.life()/gainFraction
		if r.Parent.NotReady.Reason != "" || !gains {
			return time.Time{}, false
		}
		if r.Parent.Rotating {
			before /= 2
		}
	}
	return g.end().Add(-before), true
}

// renewBefore is how long before its end a generation is replaced: what was asked for, at most a third of its life.
func (r *rotation) renewBefore(g Generation) time.Duration {
	before := g.life() / renewFraction
	if r.Wish.RenewBefore > 0 {
		before = min(before, r.Wish.RenewBefore)
	}
	return before
}

func (r *rotation) requested() wanted {
	token := r.Orders.Rotate
	served := slices.ContainsFunc(slices.Concat(r.Lineage.Live, r.Lineage.Dead), func(g Generation) bool {
		return g.RotateServed == token && (g.Number == r.signer.Number || g.WithdrawnFor == v1alpha1.WithdrawnAborted)
	})
	if token == "" || served || r.Wish.ImportedSecret != "" {
		return wanted{}
	}
	return wanted{
		cause: v1alpha1.CauseRequested, id: strings.ReplaceAll(token, "\n", " "), patient: true, message: "asked for by annotation",
	}
}

// aborted tells whether a person stopped the rotation for this reason. One that was due is begun again when it can wait no
// longer.
func (r *rotation) aborted(wish wanted) bool {
	cause := causeOf(wish.cause, wish.id)
	stopped := slices.Contains(r.signer.AbortedCauses, cause) ||
		slices.ContainsFunc(slices.Concat(r.Lineage.Live, r.Lineage.Dead), func(g Generation) bool {
			return g.WithdrawnFor == v1alpha1.WithdrawnAborted && g.served() == cause
		})
	if !stopped || wish.cause != v1alpha1.CauseDue {
		return stopped
	}
	deadline := r.deadlineOf(r.signer)
	r.plan.Next = soonest(r.now, r.plan.Next, deadline)
	return r.now.Before(deadline)
}

// hindered tells whether the next generation can't be made now, and says why.
func (r *rotation) hindered(wish wanted) bool {
	if verdict := r.unfit(); verdict.Reason != "" {
		if r.Parent == nil || verdict != r.Parent.NotReady { // which is waited for
			r.plan.Stalled = verdict
		}
		return true
	}
	if wish.patient && wish.cause == v1alpha1.CauseRequested && len(r.Lineage.Retiring()) > 0 {
		return true
	}
	most := maxLive
	if wish.patient {
		most-- // so that there is room when the CA ends, or others have its key
	}
	if len(r.Lineage.Live) >= most && r.signer.Number > 0 {
		r.plan.Stalled = Verdict{v1alpha1.ReasonTooManyGenerations, fmt.Sprintf("generation %d is to be replaced (%s), but %d "+
			"generations are still needed, which is the most there may be: see what status.rotation waits for",
			r.signer.Number, wish.message, len(r.Lineage.Live))}
		return true
	}
	if earliest := r.lastMint().Add(r.Wish.PropagationDelay); wish.patient && r.now.Before(earliest) {
		r.plan.Next = soonest(r.now, r.plan.Next, earliest)
		return true
	}
	return false
}

// lastMint is when the last generation was made, as far as that is known. Two tools that fight over a spec don't get a CA
// with every change.
func (r *rotation) lastMint() time.Time {
	last := r.signer.RetiredAt
	if r.signer.Cause != v1alpha1.CauseInitial {
		last = latest(last, r.signer.Made)
	}
	return last
}

// unfit says why what the spec asks for can't be the next CA.
func (r *rotation) unfit() Verdict {
	switch {
	case r.WishErr != nil:
		return Verdict{v1alpha1.ReasonInvalidSpec, r.WishErr.Error()}
	case r.Wish.ImportedSecret != "":
		return r.unfitPair()
	case r.Parent != nil:
		return r.Parent.NotReady
	}
	return Verdict{}
}

func (r *rotation) unfitPair() Verdict {
	secret := fmt.Sprintf("spec.imported.secretName: Secret %q", r.Wish.ImportedSecret)
	pair := r.Imported.Issuer
	switch {
	case r.Imported.Missing:
		return Verdict{v1alpha1.ReasonImportedSecretNotFound, secret + " doesn't exist in this namespace. Create it with the CA's " +
			"certificate as tls.crt and its key as tls.key"}
	case r.Imported.Problem != "":
		r.plan.Next = soonest(r.now, r.plan.Next, r.Imported.Begins)
		return Verdict{v1alpha1.ReasonImportedInvalid, secret + ": " + r.Imported.Problem}
	case r.knownBad(pair):
		return Verdict{v1alpha1.ReasonImportedInvalid, secret + " still holds a CA that is compromised: put another one there"}
	}
	end := pair.Validity().NotAfter
	if need := r.now.Add(defaultLeafDuration); end.Before(need) && end.Before(r.signer.end()) {
		return Verdict{v1alpha1.ReasonImportedTooShort, fmt.Sprintf("%s holds a CA that ends at %s, before the present one, and "+
			"within the %s that a certificate lives: put one there that lives longer", secret,
			end.Format(time.RFC3339), v1alpha1.Duration("2160h"))}
	}
	for _, g := range r.Lineage.Live {
		if clash := pair.Clash(g.Issuer); clash != "" {
			return Verdict{v1alpha1.ReasonImportedClash, fmt.Sprintf("%s: %s", secret, clash)}
		}
	}
	return Verdict{}
}

// knownBad tells whether others have the key of a pair: that of a generation that there is, or of one that is no more.
func (r *rotation) knownBad(pair pki.Issuer) bool {
	return slices.ContainsFunc(slices.Concat(r.Lineage.Live, r.Lineage.Dead), func(g Generation) bool {
		return slices.Contains(g.AbortedCauses, compromisedPair(pair)) ||
			r.Orders.Compromised.Has(g.Number) && g.Issuer.Fingerprint() == pair.Fingerprint()
	})
}

// compromisedPair is what is recorded of a pair whose key others have.
func compromisedPair(pair pki.Issuer) string {
	return causeOf(v1alpha1.CauseCompromised, pair.Fingerprint())
}

// unwanted says why the next generation isn't to sign, empty when it is.
func (r *rotation) unwanted(x Generation) string {
	pair := r.Imported.Issuer.Fingerprint()
	switch {
	case r.Orders.Compromised.Has(x.Number):
		return v1alpha1.WithdrawnCompromised
	case r.Orders.Abort.Has(x.Number), x.Deleting:
		return v1alpha1.WithdrawnAborted
	case differs(x.SpecHash, r.Wish.Hash),
		r.Wish.ImportedSecret != "" && pair != "" && pair != x.Issuer.Fingerprint(),
		r.orphaned(x), r.ending(x):
		return v1alpha1.WithdrawnSuperseded
	}
	return ""
}

// ending: it was held up for so long that it wouldn't be of use any more. For an imported one there is no other.
func (r *rotation) ending(x Generation) bool {
	if r.Wish.ImportedSecret != "" {
		return r.now.After(x.end())
	}
	return r.now.After(x.end().Add(-x.life() / usefulFraction))
}

// orphaned: the authority above it signs with another generation meanwhile.
func (r *rotation) orphaned(x Generation) bool {
	return r.Parent != nil && r.Parent.NotReady.Reason == "" && !x.Issuer.SignedBy(r.Parent.Signer)
}

func number(g Generation) string { return strconv.FormatInt(g.Number, 10) }
