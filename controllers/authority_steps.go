package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// maxNumbersTried bounds the search for a free name when others hold those of the first generations.
const maxNumbersTried = 8

// act takes one step. What can't be taken back is decided on what the API server says, and not on caches.
func (r *AuthorityReconciler) act(ctx context.Context, pass *authorityPass, decision plan.AuthorityPlan) error {
	if decision.Adopt != nil {
		return r.adopt(ctx, pass, *decision.Adopt)
	}
	step := decision.Step
	var err error
	switch step.Kind {
	case plan.StepMint:
		err = r.mint(ctx, pass, step)
	case plan.StepActivate:
		err = r.activate(ctx, pass, step)
	case plan.StepWithdraw:
		err = r.withdraw(ctx, pass, step)
	case plan.StepRetire:
		err = r.retire(ctx, pass, step)
	case plan.StepDelete:
		err = r.destroyGeneration(ctx, pass.secrets[step.Number])
	}
	if err != nil {
		return err
	}
	for _, blocker := range step.RanOver {
		pass.tell(corev1.EventTypeWarning, v1alpha1.ReasonRanOver, "generation %d didn't wait for %s %s/%s: %s", step.Number,
			blocker.Kind, blocker.Namespace, blocker.Name, blocker.Message)
	}
	return nil
}

// tell a person of what was written.
func (p *authorityPass) tell(kind, reason, format string, args ...any) {
	p.events = append(p.events, notice{kind, reason, "Rotate", fmt.Sprintf(format, args...)})
}

// mint makes a CA generation. Creating its Secret is the lock: of two that try, one succeeds.
func (r *AuthorityReconciler) mint(ctx context.Context, pass *authorityPass, step plan.Step) error {
	if err := r.confirmGenerations(ctx, pass); err != nil {
		return err
	}
	number, err := r.createGeneration(ctx, pass, numbersFrom(step.Number), func(number int64) (*corev1.Secret, error) {
		secret, ca, err := r.newGeneration(ctx, pass, step, number)
		if err == nil && step.Cause == v1alpha1.CauseLost {
			err = r.announce(ctx, pass, number, ca, v1alpha1.RoleNext)
		}
		return secret, err
	})
	if err == nil && step.Cause != v1alpha1.CauseInitial {
		pass.tell(corev1.EventTypeNormal, v1alpha1.ReasonGenerationMade,
			"generation %d was made (%s) and is delivered to everybody before it signs", number, step.Cause)
	}
	return err
}

// numbersFrom one on are those to try.
func numbersFrom(first int64) []int64 {
	numbers := make([]int64, maxNumbersTried)
	for i := range numbers {
		numbers[i] = first + int64(i)
	}
	return numbers
}

// createGeneration makes the Secret of a generation, and returns its number: the first whose name nobody else has.
func (r *AuthorityReconciler) createGeneration(ctx context.Context, pass *authorityPass, numbers []int64,
	generation func(number int64) (*corev1.Secret, error),
) (int64, error) {
	told := len(pass.events)
	for _, number := range numbers {
		secret, err := generation(number)
		if err != nil {
			return 0, err
		}
		err = r.Create(ctx, secret)
		if !apierrors.IsAlreadyExists(err) {
			return number, rejected(err, v1alpha1.ReasonCASecretRejected, secret.Name)
		}
		pass.events = append(pass.events, notice{
			corev1.EventTypeWarning, v1alpha1.ReasonCASecretConflict, "Create",
			fmt.Sprintf("Secret %q exists and isn't a CA of this authority: it is left alone, and the next number is taken",
				secret.Name),
		})
	}
	pass.events = pass.events[:told] // the condition tells the same
	name := pass.authority.Name
	return 0, mustAct(v1alpha1.ReasonCASecretConflict, "the names from %q to %q are all taken by Secrets that aren't CAs of this "+
		"authority: delete these, or give the authority another name",
		generationName(name, numbers[0]), generationName(name, numbers[len(numbers)-1]))
}

// newGeneration is the Secret of a new generation, with the facts that are known when it is made.
func (r *AuthorityReconciler) newGeneration(ctx context.Context, pass *authorityPass, step plan.Step, number int64,
) (*corev1.Secret, pki.Issuer, error) {
	ca, err := r.newCA(ctx, pass, number)
	if err != nil {
		return nil, pki.Issuer{}, err
	}
	data, err := generationData(ca)
	if err != nil {
		return nil, pki.Issuer{}, err
	}
	facts := map[string]string{
		v1alpha1.CauseAnnotation:        step.Cause,
		v1alpha1.CauseIDAnnotation:      step.CauseID,
		v1alpha1.SpecHashAnnotation:     pass.input.Wish.Hash,
		v1alpha1.RotateServedAnnotation: step.RotateServed,
	}
	if pass.authority.Spec.SignedBy != nil {
		facts[v1alpha1.SignedByAnnotation] = parentKey(pass.authority).String() + "/" + string(pass.parent.uid)
	}
	if step.Cause == v1alpha1.CauseInitial { // nobody trusts another one
		facts[v1alpha1.ActivatedAtAnnotation] = r.fact()
	}
	if facts[v1alpha1.EndorsedByAnnotation], err = r.endorse(ctx, pass, number, ca); err != nil {
		return nil, pki.Issuer{}, err
	}
	return newGenerationSecret(client.ObjectKeyFromObject(pass.authority), number, data, facts), ca.Issuer(), nil
}

// announce writes into the status that a generation is the authority's, before it is made: when no key is left to endorse it,
// nothing else tells it from one that somebody planted.
func (r *AuthorityReconciler) announce(ctx context.Context, pass *authorityPass, number int64, issuer pki.Issuer,
	role v1alpha1.GenerationRole,
) error {
	before := pass.authority
	after := before.DeepCopy()
	all := generationsStatus(pass.input.Lineage) // of a restored authority they aren't in the status yet
	for _, known := range before.Status.Generations {
		if _, live := pass.input.Lineage.Find(known.Number); !live {
			all = append(all, known)
		}
	}
	after.Status.Generations = append(slices.DeleteFunc(all, func(g v1alpha1.GenerationStatus) bool {
		return g.Number == number
	}), generationStatus(plan.Generation{
		Number: number, SecretName: generationName(before.Name, number), Issuer: issuer,
	}, role))
	pass.authority = after
	return r.patchStatus(ctx, before, after, !equal(before.Status, after.Status))
}

// newCA makes the CA, or takes the imported one.
func (r *AuthorityReconciler) newCA(ctx context.Context, pass *authorityPass, number int64) (*pki.Authority, error) {
	if pass.input.Wish.ImportedSecret != "" {
		if pass.imported == nil { // it was there when the plan was made
			return nil, stale(pass.input.Wish.ImportedSecret)
		}
		return pass.imported, nil
	}
	fields := pass.input.Wish.Fields
	fields.Generation = number
	request, err := pki.NewAuthorityRequest(fields)
	if err != nil {
		return nil, mustAct(v1alpha1.ReasonInvalidSpec, "%s", specProblems(err))
	}
	if pass.authority.Spec.SignedBy == nil {
		return pki.SelfSign(request, r.clock.Now())
	}
	ca, err := r.issuer.SignAuthority(ctx, pass.parent.key.Namespace, pass.parent.signer, request, r.clock.Now())
	if fields, ok := errors.AsType[pki.FieldErrors](err); ok {
		return nil, mustAct(v1alpha1.ReasonParentRefuses, "%s", specProblems(fields))
	}
	return ca, err
}

// endorse has the signer say that the new CA is the authority's; nothing when there is no signer.
func (r *AuthorityReconciler) endorse(ctx context.Context, pass *authorityPass, number int64, ca *pki.Authority) (string, error) {
	signer, found := pass.input.Lineage.Signer()
	if !found {
		return "", nil
	}
	return r.issuer.Endorse(ctx, pass.authority.Namespace, signer, pki.Endorsement{
		Authority:   client.ObjectKeyFromObject(pass.authority).String(),
		Number:      number,
		Fingerprint: ca.Issuer().Fingerprint(),
	})
}

// adopt keeps the certificate of a CA whose key is lost, so that what it signed stays trusted while it is replaced.
func (r *AuthorityReconciler) adopt(ctx context.Context, pass *authorityPass, lost plan.LostRoot) error {
	if err := r.confirmGenerations(ctx, pass); err != nil {
		return err
	}
	numbers := numbersFrom(pass.input.Lineage.Free(max(pass.input.Highest, pass.input.Lineage.Newest())))
	if lost.Number > 0 {
		numbers = append([]int64{lost.Number}, numbers...)
	}
	number, err := r.createGeneration(ctx, pass, numbers, func(number int64) (*corev1.Secret, error) {
		pemText := lost.Issuer.Bundle().PEM()
		secret := newGenerationSecret(client.ObjectKeyFromObject(pass.authority), number,
			map[string][]byte{v1alpha1.CertificateKey: pemText, v1alpha1.BundleKey: pemText},
			map[string]string{v1alpha1.CauseAnnotation: v1alpha1.CauseLost, v1alpha1.ActivatedAtAnnotation: r.fact()})
		secret.Immutable = nil // so that "kubectl apply" of a backup puts the key back
		return secret, r.announce(ctx, pass, number, lost.Issuer, v1alpha1.RoleRetiring)
	})
	if err != nil {
		return err
	}
	pass.tell(corev1.EventTypeWarning, v1alpha1.ReasonCALost, "the key of generation %d is lost: its certificate is kept in "+
		"Secret %q, so that what it signed stays trusted while it is replaced", number, generationName(pass.authority.Name, number))
	return nil
}

// activate lets a generation sign. From here on it can only be withdrawn.
func (r *AuthorityReconciler) activate(ctx context.Context, pass *authorityPass, step plan.Step) error {
	if err := r.confirmConsumers(ctx, pass); err != nil {
		return err
	}
	facts := map[string]string{v1alpha1.ActivatedAtAnnotation: r.fact()}
	if step.RotateServed != "" {
		facts[v1alpha1.RotateServedAnnotation] = step.RotateServed
	}
	if err := r.recordFacts(ctx, pass.secrets[step.Number], facts); err != nil {
		return err
	}
	pass.tell(corev1.EventTypeNormal, v1alpha1.ReasonGenerationSigns,
		"everybody trusts generation %d, and it signs from now on", step.Number)
	return nil
}

// withdraw forbids a generation to sign.
func (r *AuthorityReconciler) withdraw(ctx context.Context, pass *authorityPass, step plan.Step) error {
	if step.For == v1alpha1.WithdrawnOutdated {
		if err := r.confirmGenerations(ctx, pass); err != nil {
			return err
		}
	}
	err := r.recordFacts(ctx, pass.secrets[step.Number], map[string]string{
		v1alpha1.WithdrawnAtAnnotation:  r.fact(),
		v1alpha1.WithdrawnForAnnotation: step.For,
	})
	if err != nil {
		return err
	}
	kind := corev1.EventTypeNormal
	if step.For == v1alpha1.WithdrawnOutdated {
		kind = corev1.EventTypeWarning
	}
	pass.tell(kind, v1alpha1.ReasonGenerationWithdrawn, "generation %d is withdrawn (%s)", step.Number, step.For)
	return nil
}

// retire records that a generation is no more. This is the point of no return: from here on it is trusted by nobody new,
// also when its Secret comes back from a backup.
func (r *AuthorityReconciler) retire(ctx context.Context, pass *authorityPass, step plan.Step) error {
	if err := r.confirmConsumers(ctx, pass); err != nil {
		return err
	}
	signer, _ := pass.input.Lineage.Signer()
	facts := map[string]string{
		v1alpha1.RetiredAnnotation:   pass.input.Lineage.Retired.With(step.Number).String(),
		v1alpha1.RetiredAtAnnotation: r.fact(),
	}
	if len(step.AbortedCauses) > 0 {
		facts[v1alpha1.AbortedCauseAnnotation] = strings.Join(slices.Concat(signer.AbortedCauses, step.AbortedCauses), "\n")
	}
	if step.RotateServed != "" {
		facts[v1alpha1.RotateServedAnnotation] = step.RotateServed
	}
	if err := r.recordFacts(ctx, pass.secrets[signer.Number], facts); err != nil {
		return err
	}
	pass.tell(corev1.EventTypeNormal, v1alpha1.ReasonGenerationRetired, "generation %d isn't trusted any more", step.Number)
	return nil
}

// fact is the time of an event that is recorded now.
func (s shared) fact() string { return s.clock.Now().UTC().Format(time.RFC3339) }
