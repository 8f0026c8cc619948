package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// ImportedPair is the CA in the Secret that a user keeps.
type ImportedPair struct {
	// Issuer is the CA there, zero when there is none.
	Issuer pki.Issuer
	// Missing: the Secret doesn't exist.
	Missing bool
	// Problem says why the pair cannot be a CA, empty when it can.
	Problem string
	// Begins is when the next of its certificates begins to be valid, zero when none is to begin. Only time tells of it.
	Begins time.Time
}

// AuthorityInput is everything Authority decides on.
type AuthorityInput struct {
	RotationInput

	// Known are the numbers that status speaks of.
	Known []int64
	// LostRoots are certificates of CAs whose Secrets are gone, found where they were delivered to.
	LostRoots []LostRoot
	// Restored: the object came out of a backup, see Restored.
	Restored bool
	// FirstSecret is the name of the Secret of generation 1.
	FirstSecret string
}

// LostRoot is the certificate of a CA whose Secret is gone.
type LostRoot struct {
	// Number of its generation, 0 when that isn't known.
	Number int64
	Issuer pki.Issuer
}

// Verdict is a condition to report: a reason and a message. The zero value is the absence of one.
type Verdict struct{ Reason, Message string }

// AuthorityPlan is what to do about one authority.
type AuthorityPlan struct {
	RotationPlan

	// Signer is the generation that signs, nil when there is none.
	Signer *Generation
	// Adopt is a lost root to keep trusting until its certificates were replaced, nil for none.
	Adopt *LostRoot
	// NotReady says why the authority cannot sign. It is empty when there is a signer, or the first generation is made.
	NotReady Verdict
}

// Authority decides what to do next for an authority, and what to tell about its CA. One that can sign goes on signing
// whatever is wrong with the wish for another one.
func Authority(in AuthorityInput, now time.Time) AuthorityPlan {
	for _, known := range in.Known {
		in.Highest = max(in.Highest, known)
	}
	if plan, lost := in.lost(); lost {
		return plan
	}
	if len(in.Lineage.Live)+len(in.Lineage.Dead) > 0 || len(in.Known) > 0 || len(in.LostRoots) > 0 {
		return in.withGenerations(now)
	}
	return in.first(now)
}

// lost is an authority without any generation of use, which had some.
func (in AuthorityInput) lost() (AuthorityPlan, bool) {
	switch {
	case len(in.Lineage.Live)+len(in.Lineage.Dead) > 0:
		return AuthorityPlan{}, false
	case len(in.Lineage.Refused) > 0:
		return stalled(v1alpha1.ReasonCALost, in.unusable()), true
	case in.Restored:
		return stalled(v1alpha1.ReasonCALost, fmt.Sprintf("this object was restored from a backup, and its CA's Secret, %q "+
			"unless that name was taken, isn't here. Restore it with its labels and annotations; or, to begin with a CA that "+
			"nobody trusts yet, remove annotation %s", in.FirstSecret, v1alpha1.MadeForAnnotation)), true
	}
	return AuthorityPlan{}, false
}

// first makes the first generation, which nobody has to trust before it signs.
func (in AuthorityInput) first(now time.Time) AuthorityPlan {
	r := rotation{RotationInput: in.RotationInput, now: now, plan: &RotationPlan{}}
	if verdict := r.unfit(); verdict.Reason != "" {
		plan := AuthorityPlan{RotationPlan: *r.plan, NotReady: verdict}
		if in.Parent == nil || verdict != in.Parent.NotReady { // a parent is waited for
			plan.Stalled = verdict
		}
		return plan
	}
	plan := AuthorityPlan{RotationPlan: *r.plan}
	plan.Step = Step{
		Kind: StepMint, Number: in.Lineage.Free(in.Highest), Cause: v1alpha1.CauseInitial,
		RotateServed: in.Orders.Rotate,
	}
	if in.Wish.ImportedSecret != "" {
		plan.Step.CauseID = in.Imported.Issuer.Fingerprint()
	}
	return plan
}

func (in AuthorityInput) withGenerations(now time.Time) AuthorityPlan {
	plan := AuthorityPlan{RotationPlan: Rotation(in.RotationInput, now)}
	if in.WishErr != nil {
		plan.Stalled = Verdict{v1alpha1.ReasonInvalidSpec, in.WishErr.Error()}
	} else if plan.Stalled.Reason == "" {
		plan.Stalled = in.pairProblem(now)
	}
	signer, found := in.Lineage.Signer()
	if !found {
		return in.withoutSigner(plan)
	}
	in.adopt(&plan) // of others whose certificates are left
	plan.Signer = &signer
	validity := signer.Issuer.Validity()
	plan.Next = soonest(now, plan.Next, validity.NotBefore, validity.NotAfter.Add(time.Second), in.Imported.Begins)
	switch {
	case now.After(validity.NotAfter):
		plan.NotReady = Verdict{v1alpha1.ReasonCAExpired, fmt.Sprintf("the CA of generation %d ended at %s", signer.Number,
			validity.NotAfter.Format(time.RFC3339))}
		if plan.Step.Kind == "" && plan.Stalled.Reason == "" {
			plan.Stalled = plan.NotReady
		}
	case now.Before(validity.NotBefore):
		plan.NotReady = Verdict{v1alpha1.ReasonCANotYetValid, fmt.Sprintf("the CA of generation %d begins at %s",
			signer.Number, validity.NotBefore.Format(time.RFC3339))}
	}
	return plan
}

// withoutSigner: keys were lost. What they signed stays trusted while another CA takes their place.
func (in AuthorityInput) withoutSigner(plan AuthorityPlan) AuthorityPlan {
	plan.NotReady = Verdict{v1alpha1.ReasonCALost, "the Secret with the CA's key is gone. Another CA is delivered to everybody " +
		"and signs after that; until then no certificate is issued. Those there are stay valid. If you have a backup of the " +
		"Secret, apply it with kubectl apply: then it signs again at once"}
	if unmarked, found := in.unmarked(); found {
		plan.NotReady.Message = fmt.Sprintf("Secret %q lacks annotation %s, which says that its CA may sign. It signs again once "+
			"everybody is seen to trust it; until then no certificate is issued. Those there are stay valid", unmarked.SecretName,
			v1alpha1.ActivatedAtAnnotation)
	}
	in.adopt(&plan)
	return plan
}

// adopt the first lost root before anything else is done.
func (in AuthorityInput) adopt(plan *AuthorityPlan) {
	for i := range in.LostRoots {
		if in.adoptable(in.LostRoots[i]) {
			plan.Adopt, plan.Step = &in.LostRoots[i], Step{}
			return
		}
	}
}

// unmarked is the generation that is to sign when nothing is lost but the record that it may.
func (in AuthorityInput) unmarked() (Generation, bool) {
	next, found := in.Lineage.Next()
	gone := slices.ContainsFunc(in.Known, func(number int64) bool {
		_, live := in.Lineage.Find(number)
		return !live
	})
	keyless := slices.ContainsFunc(in.Lineage.Live, func(g Generation) bool { return g.Keyless })
	return next, found && next.Cause != v1alpha1.CauseLost && !gone && !keyless && len(in.LostRoots) == 0
}

// adoptable: what was retired isn't trusted again, and what is there already isn't lost.
func (in AuthorityInput) adoptable(lost LostRoot) bool {
	there := slices.Concat(in.Lineage.Live, in.Lineage.Dead)
	return !in.Lineage.Retired.Has(lost.Number) && !slices.ContainsFunc(there, func(g Generation) bool {
		return g.Number == lost.Number || g.Issuer.Fingerprint() == lost.Issuer.Fingerprint()
	})
}

// pairProblem tells of an imported pair that couldn't replace the CA that was imported from it.
func (in AuthorityInput) pairProblem(now time.Time) Verdict {
	if in.Imported.Problem == "" {
		return Verdict{}
	}
	message := fmt.Sprintf("spec.imported.secretName: Secret %q: %s", in.Wish.ImportedSecret, in.Imported.Problem)
	if signer, found := in.Lineage.Signer(); found && !now.After(signer.end()) {
		message += ". The CA that was imported goes on signing"
	}
	return Verdict{v1alpha1.ReasonImportedInvalid, message}
}

func (in AuthorityInput) unusable() string {
	problems := make([]string, len(in.Lineage.Refused))
	for i, generation := range in.Lineage.Refused {
		problems[i] = fmt.Sprintf("Secret %q: %s", generation.SecretName, generation.Problem)
	}
	slices.Sort(problems)
	return strings.Join(problems, "; ") + ". Restore what is missing from a backup"
}

func stalled(reason, message string) AuthorityPlan {
	verdict := Verdict{reason, message}
	return AuthorityPlan{NotReady: verdict, RotationPlan: RotationPlan{Stalled: verdict}}
}
