package plan

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Generation is one CA of an authority, as observed of its Secret.
type Generation struct {
	Number     int64
	SecretName string
	SecretUID  types.UID
	Issuer     pki.Issuer
	// Problem says why the Secret cannot be used, empty when it can; Issuer has no meaning then.
	Problem string
	// Activated: the fact that it may sign is recorded.
	Activated bool
	// SpecHash of the spec it was made from.
	SpecHash string
	// Deleting: somebody deleted the Secret; its finalizer holds it.
	Deleting bool
}

// Signer is the generation that signs: the newest one that may. False when there is none.
func Signer(generations []Generation) (Generation, bool) {
	var signer Generation
	for _, generation := range generations {
		if generation.Activated && generation.Problem == "" && generation.Number > signer.Number {
			signer = generation
		}
	}
	return signer, signer.Number > 0
}

// ImportedPair is the CA in the Secret that a user keeps.
type ImportedPair struct {
	// Fingerprint of the CA's certificate, empty when there is none.
	Fingerprint string
	// Missing: the Secret doesn't exist.
	Missing bool
	// Problem says why the pair cannot be a CA, empty when it can.
	Problem string
	// Begins is when the next of its certificates begins to be valid, zero when none is to begin. Only time tells of it.
	Begins time.Time
}

// AuthorityInput is everything Authority decides on.
type AuthorityInput struct {
	// Wish, or WishErr when the spec asks for something that cannot be.
	Wish    AuthorityWish
	WishErr error
	// Imported is what stands in the Secret that Wish names, if it names one.
	Imported    ImportedPair
	Generations []Generation
	// Known are the numbers that status speaks of.
	Known []int64
	// Restored: the object came out of a backup, see Restored.
	Restored bool
	// FirstSecret is the name of the Secret of generation 1.
	FirstSecret string
}

// Verdict is a condition to report: a reason and a message. The zero value is the absence of one.
type Verdict struct{ Reason, Message string }

// AuthorityPlan is what to do about one authority.
type AuthorityPlan struct {
	// Mint is the number of the generation to make, 0 for none.
	Mint int64
	// Signer is the generation that signs, nil when there is none.
	Signer *Generation
	// NotReady says why the authority cannot sign. It is empty when there is a signer, or a generation is minted.
	NotReady Verdict
	// Stalled says what a person must do, empty when there is nothing.
	Stalled Verdict
	// Next is when to decide again, zero when nothing changes with time alone.
	Next time.Time
}

// Authority decides whether to make a CA, and what to tell about the one there is. A CA that can sign goes on signing
// whatever is wrong with the wish for another one.
func Authority(in AuthorityInput, now time.Time) AuthorityPlan {
	signer, found := Signer(in.Generations)
	switch {
	case found:
		return in.withSigner(signer, now)
	case len(in.Generations) > 0:
		return stalled(v1alpha1.ReasonCALost, in.unusable())
	case len(in.Known) > 0:
		return stalled(v1alpha1.ReasonCALost, fmt.Sprintf("the Secret of generation %d is gone. Restore it from a backup; "+
			"or, to begin again with a CA that nobody trusts yet, delete this MTLSAuthority and make it anew", in.Known[0]))
	case in.Restored:
		return stalled(v1alpha1.ReasonCALost, fmt.Sprintf("this object was restored from a backup, and its CA's Secret, %q "+
			"unless that name was taken, isn't here. Restore it with its labels and annotations; or, to begin with a CA that "+
			"nobody trusts yet, remove annotation %s", in.FirstSecret, v1alpha1.MadeForAnnotation))
	case in.WishErr != nil:
		return stalled(v1alpha1.ReasonInvalidSpec, in.WishErr.Error())
	case in.Imported.Missing:
		return stalled(v1alpha1.ReasonImportedSecretNotFound, fmt.Sprintf("spec.imported.secretName: Secret %q doesn't exist "+
			"in this namespace. Create it with the CA's certificate as tls.crt and its key as tls.key", in.Wish.ImportedSecret))
	case in.Imported.Problem != "":
		plan := stalled(v1alpha1.ReasonImportedInvalid, fmt.Sprintf("spec.imported.secretName: Secret %q: %s",
			in.Wish.ImportedSecret, in.Imported.Problem))
		plan.Next = soonest(now, in.Imported.Begins)
		return plan
	default:
		return AuthorityPlan{Mint: 1}
	}
}

func (in AuthorityInput) withSigner(signer Generation, now time.Time) AuthorityPlan {
	plan := AuthorityPlan{Signer: &signer, Stalled: in.rotationWish(signer)}
	if in.WishErr != nil {
		plan.Stalled = Verdict{v1alpha1.ReasonInvalidSpec, in.WishErr.Error()}
	}
	validity := signer.Issuer.Validity()
	plan.Next = soonest(now, validity.NotBefore, validity.NotAfter.Add(time.Second), in.Imported.Begins)
	switch {
	case now.After(validity.NotAfter):
		plan.NotReady = Verdict{v1alpha1.ReasonCAExpired, fmt.Sprintf("the CA of generation %d ended at %s. Make another "+
			"MTLSAuthority and refer to it", signer.Number, validity.NotAfter.Format(time.RFC3339))}
		plan.Stalled = plan.NotReady
	case now.Before(validity.NotBefore):
		plan.NotReady = Verdict{v1alpha1.ReasonCANotYetValid, fmt.Sprintf("the CA of generation %d begins at %s",
			signer.Number, validity.NotBefore.Format(time.RFC3339))}
	}
	return plan
}

// rotationWish tells what asks for another CA than the signer.
func (in AuthorityInput) rotationWish(signer Generation) Verdict {
	var wishes []string
	if strings.HasPrefix(signer.SpecHash, specHashVersion) && signer.SpecHash != in.Wish.Hash {
		wishes = append(wishes, "the spec no longer describes it")
	}
	if in.Imported.Fingerprint != "" && in.Imported.Fingerprint != signer.Issuer.Fingerprint() {
		wishes = append(wishes, fmt.Sprintf("Secret %q holds another CA", in.Wish.ImportedSecret))
	}
	if in.Imported.Problem != "" {
		wishes = append(wishes, fmt.Sprintf("Secret %q: %s", in.Wish.ImportedSecret, in.Imported.Problem))
	}
	if signer.Deleting {
		wishes = append(wishes, fmt.Sprintf("Secret %q was deleted and is held by its finalizer", signer.SecretName))
	}
	if len(wishes) == 0 {
		return Verdict{}
	}
	return Verdict{v1alpha1.ReasonRotationNeeded, fmt.Sprintf("generation %d goes on signing although %s. To change the CA, "+
		"make another MTLSAuthority and refer to it; to keep this one, undo the change",
		signer.Number, strings.Join(wishes, " and "))}
}

func (in AuthorityInput) unusable() string {
	problems := make([]string, len(in.Generations))
	for i, generation := range in.Generations {
		problems[i] = fmt.Sprintf("Secret %q: %s", generation.SecretName, generation.Problem)
		if generation.Problem == "" {
			problems[i] = fmt.Sprintf("Secret %q lacks annotation %s", generation.SecretName, v1alpha1.ActivatedAtAnnotation)
		}
	}
	return strings.Join(problems, "; ") + ". Restore what is missing from a backup"
}

func stalled(reason, message string) AuthorityPlan {
	verdict := Verdict{reason, message}
	return AuthorityPlan{NotReady: verdict, Stalled: verdict}
}
