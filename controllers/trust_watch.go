package controllers

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Indexes of the cache for what is published.
const (
	byPublisher = "publisher" // ConfigMaps with our label by namespace/name of the authority whose roots they have
	byRetainer  = "retainer"  // leaf Secrets that nobody owns by namespace/name of the authority that gives them roots
)

// trustSelector selects the ConfigMaps that the operator made.
func trustSelector() labels.Selector {
	requirement, err := labels.NewRequirement(v1alpha1.TrustBundleLabel, selection.Exists, nil)
	utilruntime.Must(err)
	return labels.NewSelector().Add(*requirement)
}

func indexTrust(ctx context.Context, indexer client.FieldIndexer) error {
	values := func(authority types.NamespacedName) []string {
		if authority.Name == "" {
			return nil
		}
		return []string{authority.String()}
	}
	err := indexer.IndexField(ctx, &corev1.ConfigMap{}, byPublisher, func(o client.Object) []string { return values(issuedBy(o)) })
	if err != nil {
		return err
	}
	return indexer.IndexField(ctx, &corev1.Secret{}, byRetainer, func(o client.Object) []string { return values(retainer(o)) })
}

func (o *operator) watchTrust(mgr ctrl.Manager, options controller.Options) error {
	setup := ctrl.NewControllerManagedBy(mgr).
		Named("trust").
		For(&v1alpha1.MTLSAuthority{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, rootsTold()))).
		Watches(&corev1.Secret{}, o.whenTrustSecretsChange()).
		Watches(&v1alpha1.MTLSCertificate{}, handler.EnqueueRequestsFromMapFunc(o.trustOfCertificate),
			builder.WithPredicates(retainedOnly())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(o.trustOfConfigMap)).
		WithOptions(options)
	if len(o.options.Namespaces) == 0 {
		setup = setup.WatchesMetadata(metadataOf("Namespace"), handler.EnqueueRequestsFromMapFunc(o.publishing),
			builder.WithPredicates(selectionChanged()))
	}
	trust, err := setup.Build(o.trust)
	if err != nil || len(o.options.Namespaces) > 0 {
		return err
	}
	bundles := source.Kind(mgr.GetCache(), client.Object(&certificatesv1.ClusterTrustBundle{}),
		handler.EnqueueRequestsFromMapFunc(o.trustOfBundle))
	// A watch of what isn't served would keep the others from beginning.
	o.trust.published.bundles.appeared = func() error { return trust.Watch(bundles) }
	o.trust.servesBundles()
	return nil
}

// trustOfSecret wakes the authorities whose roots may have changed with a CA generation, or the one that looks after a Secret
// that may have outlived its MTLSCertificate.
func (o *operator) trustOfSecret(ctx context.Context, object client.Object) []reconcile.Request {
	if secret, ok := object.(*corev1.Secret); ok && secret.Type == v1alpha1.AuthoritySecretType {
		return o.authoritiesUnder(ctx, secret)
	}
	return requestsFor(retainer(object))
}

// whenTrustSecretsChange wakes at once by a CA, and once in a second by leaf Secrets: with deletionPolicy Retain each one that
// is issued again may have outlived its MTLSCertificate, as far as the Secret tells.
func (o *operator) whenTrustSecretsChange() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	now, later := handler.EnqueueRequestsFromMapFunc(o.trustOfSecret), soon(o.trustOfSecret)
	of := func(object client.Object) handler.EventHandler {
		if secret, ok := object.(*corev1.Secret); ok && secret.Type == v1alpha1.AuthoritySecretType {
			return now
		}
		return later
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { of(e.Object).Create(ctx, e, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { of(e.ObjectNew).Update(ctx, e, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { of(e.Object).Delete(ctx, e, q) },
	}
}

// trustOfCertificate wakes the authority that has to look after the Secret of an MTLSCertificate that is no more.
func (o *operator) trustOfCertificate(ctx context.Context, object client.Object) []reconcile.Request {
	certificate := object.(*v1alpha1.MTLSCertificate)
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: certificate.Namespace, Name: secretName(certificate)}
	if err := o.cache.Get(ctx, key, secret, client.UnsafeDisableDeepCopy); err != nil {
		return nil // it has no Secret, or only a foreign one
	}
	return requestsFor(retainer(secret))
}

// trustOfConfigMap wakes the authority whose roots are in a ConfigMap, and those that it was in the way of.
func (o *operator) trustOfConfigMap(_ context.Context, object client.Object) []reconcile.Request {
	blocked := o.trust.published.blockedBy(configMapRef(object.GetNamespace(), object.GetName()))
	return requestsFor(append(blocked, issuedBy(object))...)
}

// trustOfBundle wakes the authority that a ClusterTrustBundle has the signer's name of.
func (o *operator) trustOfBundle(_ context.Context, object client.Object) []reconcile.Request {
	bundle := object.(*certificatesv1.ClusterTrustBundle)
	return requestsFor(authorityOfSigner(bundle.Spec.SignerName))
}

// publishing wakes the authorities that publish into namespaces. Which of them select one now, or did before, they find out.
func (o *operator) publishing(ctx context.Context, _ client.Object) []reconcile.Request {
	authorities := &v1alpha1.MTLSAuthorityList{}
	if err := o.cache.List(ctx, authorities, client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).Error(err, "cannot tell what a change is of interest to")
		return nil
	}
	var all []types.NamespacedName
	for i := range authorities.Items {
		if bundle := authorities.Items[i].Spec.TrustBundle; bundle != nil && bundle.ConfigMap != nil {
			all = append(all, client.ObjectKeyFromObject(&authorities.Items[i]))
		}
	}
	return requestsFor(all...)
}

func requestsFor(authorities ...types.NamespacedName) []reconcile.Request {
	var requests []reconcile.Request
	for _, authority := range authorities {
		if authority.Name != "" {
			requests = append(requests, reconcile.Request{NamespacedName: authority})
		}
	}
	return requests
}

// retainedOnly passes MTLSCertificates that are no more and left their Secret behind.
func retainedOnly() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool {
			return e.Object.(*v1alpha1.MTLSCertificate).Spec.DeletionPolicy == v1alpha1.DeletionRetain
		},
	}
}

// selectionChanged passes what may change whether a namespace is to have the roots: its labels, and that it goes.
func selectionChanged() predicate.Predicate {
	going := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetDeletionTimestamp().IsZero() && !e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
	return predicate.Or(predicate.LabelChangedPredicate{}, going)
}

// rootsTold passes authorities whose roots changed as far as status tells: it is by status that a CA is known again.
func rootsTold() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.MTLSAuthority), e.ObjectNew.(*v1alpha1.MTLSAuthority)
		return before.Status.TrustBundleHash != after.Status.TrustBundleHash
	}}
}
