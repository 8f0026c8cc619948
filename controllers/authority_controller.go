package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlsauthorities,verbs=get;list;watch;patch;issue
// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlsauthorities/status,verbs=patch

// AuthorityReconciler makes the CA of each MTLSAuthority and tells about it.
type AuthorityReconciler struct {
	shared

	issuer    *Issuer
	rotations *rotationMemories
	// wake has certificates looked at again.
	wake chan<- event.GenericEvent
	// batch is how many turns are granted at a time.
	batch int
}

func (o *operator) watchAuthorities(mgr ctrl.Manager, options controller.Options) error {
	setup := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MTLSAuthority{}, builder.WithPredicates(specOrOrderChanged())).
		Watches(&v1alpha1.MTLSAuthority{}, handler.EnqueueRequestsFromMapFunc(o.authoritiesBeside),
			builder.WithPredicates(predicate.Or(abilityChanged(), deletionChanged()))).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(o.authoritiesOfSecret)).
		Watches(&corev1.Secret{}, soon(o.authoritiesWatching)).
		Watches(&v1alpha1.MTLSCertificate{}, soon(o.authoritiesWatching)).
		Watches(&corev1.ConfigMap{}, soon(o.authoritiesWatching)).
		WatchesRawSource(source.Channel(o.trust.published.changed, &handler.EnqueueRequestForObject{})).
		Watches(&v1alpha1.MTLSCertificate{}, handler.EnqueueRequestsFromMapFunc(o.authorityLeft),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Kind(o.foreign, client.Object(secretMetadata()),
			handler.EnqueueRequestsFromMapFunc(o.authoritiesOfForeign))).
		WithOptions(options)
	if len(o.options.Namespaces) == 0 {
		setup = setup.WatchesMetadata(metadataOf("Namespace"), handler.EnqueueRequestsFromMapFunc(o.authoritiesOfNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return setup.Complete(o.authorities)
}

// authorityPass is what a pass over one authority has found out.
type authorityPass struct {
	authority *v1alpha1.MTLSAuthority
	input     plan.AuthorityInput
	secrets   map[int64]*corev1.Secret // of the generations, without their keys
	roots     pki.Bundle               // that everybody is to trust
	imported  *pki.Authority           // the pair that a user keeps, when it can be a CA
	parent    parentCA                 // the CA above, for an authority that is signed by another
	memory    *rotationMemory
	observed  bool // the consumers were
	inUse     plan.Verdict
	events    []notice
}

// Reconcile makes one pass.
func (r *AuthorityReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	authority := &v1alpha1.MTLSAuthority{}
	if err := r.Get(ctx, request.NamespacedName, authority); err != nil {
		if apierrors.IsNotFound(err) {
			r.rotations.forget(request.NamespacedName)
			r.lineages.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	pass := &authorityPass{authority: authority, memory: r.rotations.of(request.NamespacedName)}
	if authority.DeletionTimestamp.IsZero() {
		if err := r.claim(ctx, authority); err != nil {
			return retry(err)
		}
	} else {
		released, inUse, err := r.release(ctx, authority)
		if err != nil || released {
			return retry(err)
		}
		pass.inUse = inUse
	}
	decision, err := r.pass(ctx, pass)
	return r.report(ctx, pass, decision, err)
}

// mostSteps of one pass. A rotation has no more of them one after the other without waiting.
const mostSteps = 8

// pass observes, plans and acts, until there is nothing more to do now.
func (r *AuthorityReconciler) pass(ctx context.Context, pass *authorityPass) (plan.AuthorityPlan, error) {
	for range mostSteps {
		decision, err := r.decide(ctx, pass)
		if err != nil {
			return decision, err
		}
		if decision.Step.Kind == "" && decision.Adopt == nil {
			return decision, r.settle(ctx, pass, decision)
		}
		if err := r.act(ctx, pass, decision); err != nil {
			return decision, err
		}
	}
	return plan.AuthorityPlan{}, stale(pass.authority.Name) // so many steps one after the other happen in no cluster
}

// decide observes, and plans; again with the pods, when nothing but these may be in the way.
func (r *AuthorityReconciler) decide(ctx context.Context, pass *authorityPass) (plan.AuthorityPlan, error) {
	if err := r.observe(ctx, pass); err != nil {
		return plan.AuthorityPlan{}, err
	}
	if misses(pass.authority, pass.input.Lineage) {
		if err := r.confirmGenerations(ctx, pass); err != nil {
			return plan.AuthorityPlan{}, err
		}
	}
	decision := plan.Authority(pass.input, r.clock.Now())
	if decision.WantsPods {
		var err error
		if decision, err = r.planWithPods(ctx, pass); err != nil {
			return decision, err
		}
	}
	pass.memory.hold(decision.Holding, r.clock.Now())
	if decision.NotReady.Reason == v1alpha1.ReasonCALost {
		return decision, r.confirmGenerations(ctx, pass)
	}
	return decision, nil
}

// settle does what follows from a decision with no step: the CA can only be the authority's own, and certificates have their
// turns.
func (r *AuthorityReconciler) settle(ctx context.Context, pass *authorityPass, decision plan.AuthorityPlan) error {
	r.grantTurns(ctx, pass, decision.Reissue)
	if decision.Signer == nil {
		return nil
	}
	if err := r.releaseRetired(ctx, pass); err != nil {
		return err
	}
	return r.mark(ctx, pass.authority)
}

// observe reads all that the plan needs.
func (r *AuthorityReconciler) observe(ctx context.Context, pass *authorityPass) error {
	key := client.ObjectKeyFromObject(pass.authority)
	in := plan.AuthorityInput{Restored: plan.Restored(pass.authority), FirstSecret: generationName(key.Name, 1)}
	secrets, err := r.generationSecrets(ctx, key)
	if err != nil {
		return err
	}
	pass.secrets = make(map[int64]*corev1.Secret, len(secrets))
	for i := range secrets {
		number := generationNumber(&secrets[i])
		if secrets[i].Name == generationName(key.Name, number) { // others may say that they have the number
			pass.secrets[number] = &secrets[i]
		}
	}
	in.Lineage = r.lineages.of(pass.authority, secrets)
	in.Orders = plan.NewOrders(pass.authority.Annotations)
	in.Held = pass.memory.holding(r.clock)
	for _, generation := range pass.authority.Status.Generations {
		in.Known = append(in.Known, generation.Number)
		in.Highest = max(in.Highest, generation.Number)
		if generation.Role != v1alpha1.RoleNext {
			in.Signed = max(in.Signed, generation.Number)
		}
	}
	pass.input = in
	for _, observe := range []func(context.Context, *authorityPass) error{
		r.observeWish, r.observeParent, r.observeTrust, r.observeCertificates, r.observeLost,
	} {
		if err := observe(ctx, pass); err != nil {
			return err
		}
	}
	return nil
}

func (r *AuthorityReconciler) observeWish(ctx context.Context, pass *authorityPass) error {
	var err error
	pass.input.Wish, pass.input.WishErr = plan.NewAuthorityWish(pass.authority, r.options.MinPropagationDelay)
	if pass.input.WishErr != nil {
		pass.input.WishErr = errors.New(specProblems(pass.input.WishErr))
	}
	if name := pass.input.Wish.ImportedSecret; name != "" {
		key := types.NamespacedName{Namespace: pass.authority.Namespace, Name: name}
		pass.input.Imported, pass.imported, err = r.importedPair(ctx, key)
	}
	return err
}

// observeTrust looks at who has which roots, while that is about to change or isn't known.
func (r *AuthorityReconciler) observeTrust(ctx context.Context, pass *authorityPass) error {
	var err error
	pass.roots, err = r.roots(ctx, pass.authority, pass.input.Lineage, maxDepth)
	if err != nil {
		return err
	}
	pass.observed = pass.input.Lineage.Rotating() || !distributed(pass.authority, pass.roots)
	if !pass.observed {
		return nil
	}
	return r.consumers(ctx, pass)
}

// distributed tells whether status says that everybody has these roots.
func distributed(authority *v1alpha1.MTLSAuthority, roots pki.Bundle) bool {
	return authority.Status.TrustBundleHash == roots.Hash() &&
		meta.IsStatusConditionTrue(authority.Status.Conditions, v1alpha1.ConditionTrustDistributed)
}

// observeCertificates finds the highest number of a generation that a certificate was signed by. The operator alone writes
// it, and it is kept with the certificates: of a CA that was restored from an old backup it tells that there was a newer one.
func (r *AuthorityReconciler) observeCertificates(ctx context.Context, pass *authorityPass) error {
	certificates := &v1alpha1.MTLSCertificateList{}
	key := client.MatchingFields{byAuthority: client.ObjectKeyFromObject(pass.authority).String()}
	if err := r.List(ctx, certificates, key, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range certificates.Items {
		issued := certificates.Items[i].Status.Certificate
		if issued != nil && plan.IsOrWas(pass.authority, types.UID(issued.AuthorityUID)) {
			pass.input.Highest = max(pass.input.Highest, issued.AuthorityGeneration)
			pass.input.Signed = max(pass.input.Signed, issued.AuthorityGeneration)
		}
	}
	return nil
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
	return plan.ImportedPair{Issuer: authority.Issuer()}, authority, nil
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
