package controllers

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// certificatesOfCA wakes the certificates of the authority that a Secret is a generation of, and of those below: their roots
// may have changed.
func (o *operator) certificatesOfCA(ctx context.Context, object client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, authority := range o.authoritiesUnder(ctx, object) {
		requests = append(requests, o.certificatesOf(ctx, authority.NamespacedName)...)
	}
	return requests
}

// authoritiesUnder are the authority that a Secret is a generation of, and those below it.
func (o *operator) authoritiesUnder(ctx context.Context, object client.Object) []reconcile.Request {
	secret, ok := object.(*corev1.Secret)
	if !ok || generationOf(secret) == "" {
		return nil
	}
	key := types.NamespacedName{Namespace: secret.Namespace, Name: generationOf(secret)}
	requests := []reconcile.Request{{NamespacedName: key}}
	below, err := authoritiesBelow(ctx, o.cache, key)
	if err != nil { // the cache cannot fail but at the end of the process
		logf.FromContext(ctx).Error(err, "cannot tell what a change is of interest to")
	}
	for _, authority := range below {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(authority)})
	}
	return requests
}

// authoritiesOfSecret wakes the authority that a Secret is a generation of, or that wants its name for one, and those above
// and below: these may wait for it. And those that import it: a copy of a generation is imported with our label on it.
func (o *operator) authoritiesOfSecret(ctx context.Context, object client.Object) []reconcile.Request {
	requests := append(o.authoritiesUnder(ctx, object), o.authoritiesImporting(ctx, object)...)
	for _, request := range o.authorityOfSecret(ctx, object) {
		requests = append(requests, request)
		requests = append(requests, o.above(ctx, request.NamespacedName)...)
	}
	return requests
}

// authoritiesBeside wakes the authorities right above and below one.
func (o *operator) authoritiesBeside(ctx context.Context, object client.Object) []reconcile.Request {
	authority := object.(*v1alpha1.MTLSAuthority)
	requests := o.find(ctx, &v1alpha1.MTLSAuthorityList{},
		client.MatchingFields{bySigner: client.ObjectKeyFromObject(authority).String()})
	if authority.Spec.SignedBy != nil {
		requests = append(requests, reconcile.Request{NamespacedName: parentKey(authority)})
	}
	return requests
}

// above are the authorities above one, the nearest first.
func (o *operator) above(ctx context.Context, key types.NamespacedName) []reconcile.Request {
	var requests []reconcile.Request
	for range maxDepth {
		authority := &v1alpha1.MTLSAuthority{}
		if err := o.cache.Get(ctx, key, authority); err != nil || authority.Spec.SignedBy == nil {
			return requests
		}
		key = parentKey(authority)
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

// authoritiesWatching wakes the authorities that wait for a consumer of theirs to change: the one that a certificate or its
// Secret is of, and those above.
func (o *operator) authoritiesWatching(ctx context.Context, object client.Object) []reconcile.Request {
	var key types.NamespacedName
	switch object := object.(type) {
	case *v1alpha1.MTLSCertificate:
		key = authorityKey(object)
	default:
		key = issuedBy(object)
	}
	if key.Name == "" || !o.rotations.any() {
		return nil
	}
	return slices.DeleteFunc(append([]reconcile.Request{{NamespacedName: key}}, o.above(ctx, key)...),
		func(request reconcile.Request) bool { return !o.rotations.watching(request.NamespacedName) })
}

// soonDelay has an authority look once at what changes in a second, and not at each of thousands of changes.
const soonDelay = time.Second

// soon wakes what wait for changes that may come by the thousand.
func soon(mapped handler.MapFunc) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, request := range mapped(ctx, object) {
			queue.AddAfter(request, soonDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.ObjectOld, q)
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
	}
}

// rootsChanged passes what may have certificates need other roots: that a generation is trusted which wasn't, or the reverse.
// That one may sign now changes no certificate: they are issued again in turn.
func rootsChanged() predicate.Predicate {
	facts := []string{
		v1alpha1.RetiredAnnotation, v1alpha1.WithdrawnAtAnnotation, v1alpha1.AuthorityLabel, v1alpha1.GenerationLabel,
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld, e.ObjectNew
		return slices.ContainsFunc(facts, func(fact string) bool {
			return before.GetAnnotations()[fact] != after.GetAnnotations()[fact] || before.GetLabels()[fact] != after.GetLabels()[fact]
		})
	}}
}
