package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// turnsAtATime is how many certificates are issued again at a time because of a new CA. With one look at a rotation in a
// second that is as fast as an API server takes it, and new certificates hardly wait.
const turnsAtATime = 250

// grantTurns has the next certificates issued again by the generation that signs.
func (r *AuthorityReconciler) grantTurns(ctx context.Context, pass *authorityPass, waiting []plan.Consumer) {
	turns := make([]types.NamespacedName, 0, r.batch)
	for _, consumer := range waiting[:min(len(waiting), r.batch)] {
		turns = append(turns, types.NamespacedName{Namespace: consumer.Namespace, Name: consumer.Name})
	}
	for _, secret := range r.rotations.grant(pass.memory, turns) {
		certificates := &v1alpha1.MTLSCertificateList{}
		err := r.List(ctx, certificates, client.InNamespace(secret.Namespace), client.MatchingFields{bySecretName: secret.Name},
			client.UnsafeDisableDeepCopy)
		if err != nil {
			return // the cache cannot fail but at the end of the process
		}
		for i := range certificates.Items {
			select {
			case r.wake <- event.GenericEvent{Object: &certificates.Items[i]}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// afterOthers queues what can wait behind what came by itself: new certificates, and those that are due.
func afterOthers() handler.EventHandler {
	return late(func(_ context.Context, object client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(object)}}
	})
}

// late wakes what a change concerns by the thousand, behind what came by itself.
func late(mapped handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(ctx context.Context, object client.Object, q queue) {
		for _, request := range mapped(ctx, object) {
			addLate(q, request)
		}
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, e.Object, q) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, e.ObjectNew, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { add(ctx, e.Object, q) },
	}
}

func addLate(queue workqueue.TypedRateLimitingInterface[reconcile.Request], request reconcile.Request) {
	if byPriority, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
		return
	}
	queue.Add(request)
}
