package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlsauthorities,verbs=get;list;watch;patch;issue
// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlsauthorities/status,verbs=patch

// maxNumbersTried bounds the search for a free name when others hold those of the first generations.
const maxNumbersTried = 8

// AuthorityReconciler makes the CA of each MTLSAuthority and tells about it.
type AuthorityReconciler struct{ shared }

func (o *operator) watchAuthorities(mgr ctrl.Manager, options controller.Options) error {
	setup := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MTLSAuthority{}, builder.WithPredicates(specOrMarkChanged())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(o.authorityOfSecret)).
		Watches(&v1alpha1.MTLSCertificate{}, handler.EnqueueRequestsFromMapFunc(o.authorityLeft),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Kind(o.foreign, client.Object(secretMetadata()),
			handler.EnqueueRequestsFromMapFunc(o.authoritiesOfForeign))).
		WithOptions(options)
	if len(o.options.Namespaces) == 0 {
		setup = setup.WatchesMetadata(metadataOf("Namespace"), handler.EnqueueRequestsFromMapFunc(o.authoritiesLeftIn),
			builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return setup.Complete(o.authorities)
}

// authorityPass is what a pass over one authority has found out.
type authorityPass struct {
	authority *v1alpha1.MTLSAuthority
	input     plan.AuthorityInput
	imported  *pki.Authority // the pair that a user keeps, when it can be a CA
}

// Reconcile makes one pass.
func (r *AuthorityReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	authority := &v1alpha1.MTLSAuthority{}
	if err := r.Get(ctx, request.NamespacedName, authority); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !authority.DeletionTimestamp.IsZero() {
		released, inUse, err := r.release(ctx, authority)
		if err != nil || released {
			return retry(err)
		}
		return r.pass(ctx, authority, inUse)
	}
	if err := r.claim(ctx, authority); err != nil {
		return retry(err)
	}
	return r.pass(ctx, authority, plan.Verdict{})
}

// pass observes, plans, acts and reports. inUse is what holds an authority that is being deleted, if it is.
func (r *AuthorityReconciler) pass(ctx context.Context, authority *v1alpha1.MTLSAuthority, inUse plan.Verdict,
) (ctrl.Result, error) {
	pass := &authorityPass{authority: authority}
	if err := r.observe(ctx, pass); err != nil {
		return retry(err)
	}
	decision := plan.Authority(pass.input, r.clock.Now())
	if decision.Mint > 0 || decision.NotReady.Reason == v1alpha1.ReasonCALost {
		if err := r.confirmNone(ctx, pass); err != nil {
			return retry(err)
		}
	}
	if decision.Mint > 0 {
		if err := r.mint(ctx, pass, decision.Mint); err != nil {
			return r.reportMint(ctx, pass, err)
		}
		decision = plan.Authority(pass.input, r.clock.Now())
	}
	if decision.Signer != nil {
		if err := r.mark(ctx, pass.authority); err != nil {
			return retry(err)
		}
	}
	if inUse.Reason != "" {
		decision.Stalled = inUse
	}
	return r.report(ctx, pass, decision)
}

// observe reads all that the plan needs.
func (r *AuthorityReconciler) observe(ctx context.Context, pass *authorityPass) error {
	var err error
	key := client.ObjectKeyFromObject(pass.authority)
	pass.input.Restored, pass.input.FirstSecret = plan.Restored(pass.authority), generationName(key.Name, 1)
	if pass.input.Generations, err = r.generations(ctx, key); err != nil {
		return err
	}
	for _, generation := range pass.authority.Status.Generations {
		pass.input.Known = append(pass.input.Known, generation.Number)
	}
	pass.input.Wish, pass.input.WishErr = plan.NewAuthorityWish(pass.authority)
	if pass.input.WishErr != nil {
		pass.input.WishErr = errors.New(specProblems(pass.input.WishErr))
	}
	if name := pass.input.Wish.ImportedSecret; name != "" {
		pass.input.Imported, pass.imported, err = r.importedPair(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name})
	}
	return err
}

// importedPair reads the pair that a user keeps: live, since no cache holds keys.
func (r *AuthorityReconciler) importedPair(ctx context.Context, key types.NamespacedName,
) (plan.ImportedPair, *pki.Authority, error) {
	secret := &corev1.Secret{}
	if err := r.live.Get(ctx, key, secret); err != nil {
		return plan.ImportedPair{Missing: true}, nil, client.IgnoreNotFound(err)
	}
	if secret.Type == corev1.SecretTypeServiceAccountToken || secret.Type == v1alpha1.AuthoritySecretType {
		return plan.ImportedPair{Problem: fmt.Sprintf("a Secret of type %q cannot be imported", secret.Type)}, nil, nil
	}
	authority, err := pki.ImportAuthority(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey],
		secret.Data[v1alpha1.BundleKey], r.clock.Now())
	if err != nil {
		return plan.ImportedPair{Problem: cut(err.Error()), Begins: begins(secret.Data, r.clock.Now())}, nil, nil
	}
	return plan.ImportedPair{Fingerprint: authority.Issuer().Fingerprint()}, authority, nil
}

// begins is when the next of a pair's certificates begins to be valid, zero when none is to begin.
func begins(pair map[string][]byte, now time.Time) time.Time {
	var next time.Time
	for _, name := range []string{v1alpha1.CertificateKey, v1alpha1.BundleKey} {
		certificates, _ := pki.ParseCertificates(pair[name]) // none, when they cannot be read
		for _, certificate := range certificates {
			begin := certificate.NotBefore
			if begin.After(now) && (next.IsZero() || begin.Before(next)) {
				next = begin
			}
		}
	}
	return next
}

// confirmNone makes sure that the cache misses no generation, before one is made or called lost. One that lost its labels,
// by which the cache selects, gets them back.
func (r *AuthorityReconciler) confirmNone(ctx context.Context, pass *authorityPass) error {
	live, err := r.liveGenerations(ctx, client.ObjectKeyFromObject(pass.authority))
	if err != nil {
		return err
	}
	for i := range live {
		if relabelled, err := r.relabelGeneration(ctx, &live[i]); err != nil || relabelled {
			return cmp.Or(err, stale(live[i].Name))
		}
	}
	if len(live) > len(pass.input.Generations) {
		return stale(live[0].Name)
	}
	return nil
}

// mint makes a CA generation. Creating its Secret is the lock: of two that try, one succeeds.
func (r *AuthorityReconciler) mint(ctx context.Context, pass *authorityPass, number int64) error {
	var taken []notice
	for last := number + maxNumbersTried; number < last; number++ {
		secret, err := r.newGeneration(pass, number)
		if err != nil {
			return err
		}
		err = r.Create(ctx, secret)
		if err == nil {
			_, _ = dropKey(secret)
			pass.input.Generations = []plan.Generation{observedGeneration(secret)}
			r.emit(pass.authority, taken...)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return rejected(err, v1alpha1.ReasonCASecretRejected, secret.Name)
		}
		taken = append(taken, notice{
			corev1.EventTypeWarning, v1alpha1.ReasonCASecretConflict, "Create",
			fmt.Sprintf("Secret %q exists and isn't a CA of this authority: it is left alone, and the next number is taken",
				secret.Name),
		})
	}
	return mustAct(v1alpha1.ReasonCASecretConflict, "the names from %q to %q are all taken by Secrets that aren't CAs of this "+
		"authority: delete these, or give the authority another name",
		generationName(pass.authority.Name, number-maxNumbersTried), generationName(pass.authority.Name, number-1))
}

// newGeneration makes the CA, or takes the imported one.
func (r *AuthorityReconciler) newGeneration(pass *authorityPass, number int64) (*corev1.Secret, error) {
	ca, now := pass.imported, r.clock.Now()
	if ca == nil {
		fields := pass.input.Wish.Fields
		fields.Generation = number
		request, err := pki.NewAuthorityRequest(fields)
		if err != nil {
			return nil, mustAct(v1alpha1.ReasonInvalidSpec, "%s", specProblems(err))
		}
		if ca, err = pki.SelfSign(request, now); err != nil {
			return nil, err
		}
	}
	return newGenerationSecret(pass.authority, number, ca, pass.input.Wish.Hash, now)
}

// reportMint tells why there is no CA.
func (r *AuthorityReconciler) reportMint(ctx context.Context, pass *authorityPass, err error) (ctrl.Result, error) {
	found, ok := errors.AsType[*problem](err)
	if !ok {
		return retry(err)
	}
	verdict := plan.Verdict{Reason: found.reason, Message: found.message}
	decision := plan.AuthorityPlan{NotReady: verdict}
	if found.stalled {
		decision.Stalled = verdict
	}
	if found.retryAfter > 0 {
		decision.Next = r.clock.Now().Add(found.retryAfter)
	}
	return r.report(ctx, pass, decision)
}

// report writes the status, if it changed, and then warns of what is new.
func (r *AuthorityReconciler) report(ctx context.Context, pass *authorityPass, decision plan.AuthorityPlan,
) (ctrl.Result, error) {
	before := pass.authority
	after := before.DeepCopy()
	after.Status = v1alpha1.MTLSAuthorityStatus{
		ObservedGeneration: before.Generation,
		Generations:        generationsStatus(pass.input.Generations),
	}
	ready := plan.Verdict{Reason: v1alpha1.ReasonSigning}
	if signer := decision.Signer; signer != nil {
		validity := signer.Issuer.Validity()
		after.Status.Expires = new(metav1.NewTime(validity.NotAfter))
		after.Status.TrustBundleHash = signer.Issuer.Bundle().Hash()
		ready.Message = fmt.Sprintf("generation %d signs%s%s", signer.Number, pass.remarks(*signer), r.blindness(before))
	} else if decision.NotReady.Reason == v1alpha1.ReasonCALost {
		after.Status.Generations = before.Status.Generations // what is lost must not be forgotten
	}
	after.Status.Conditions = r.conditions(before.Status.Conditions, before.Generation, ready, decision.NotReady, decision.Stalled)
	if err := r.patchStatus(ctx, before, after, !equal(before.Status, after.Status)); err != nil {
		return retry(err)
	}
	r.emit(before, transition(before.Status.Conditions, v1alpha1.ConditionStalled, decision.Stalled, "Issue")...)
	return r.requeueAt(decision.Next), nil
}

// remarks on a CA that signs and that somebody may still want to know of.
func (p *authorityPass) remarks(signer plan.Generation) string {
	switch {
	case p.input.Imported.Missing:
		return fmt.Sprintf(". Secret %q, which it was imported from, is gone; it isn't needed any more",
			p.input.Wish.ImportedSecret)
	case signer.Issuer.Certificate().KeyUsage == 0:
		return ". Its certificate has no key usage, so programs that verify strictly (openssl -x509_strict, Python from 3.13) " +
			"refuse it"
	default:
		return ""
	}
}
