package controllers

import (
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// backlog is what is to be looked at because of a change that concerns objects by the thousand. It goes into the queue a few at
// a time, and there behind what came by itself: else the API server, busy with the thousands, has a new object wait. Causes have
// their turns: a CA that is replaced in a hurry doesn't stand still behind the certificates of another one.
type backlog struct {
	limit int

	mu     sync.Mutex
	queue  requestQueue                   // of the controller, once it has begun to watch
	causes []types.NamespacedName         // whose requests wait, the next one first
	lines  map[types.NamespacedName]*line // of the same
	begun  sets.Set[reconcile.Request]    // in the queue, or looked at
}

// line is what waits because of one cause.
type line struct {
	requests []reconcile.Request
	has      sets.Set[reconcile.Request]
}

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// newBacklog of a controller leaves most of its workers to what came by itself.
func newBacklog(workers int) *backlog {
	return &backlog{
		limit: max(workers/8, 1),
		lines: map[types.NamespacedName]*line{},
		begun: sets.New[reconcile.Request](),
	}
}

// handler puts into the backlog what an event concerns.
func (b *backlog) handler(mapped handler.MapFunc) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, queue requestQueue) {
		b.add(queue, causeOf(object), mapped(ctx, object))
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q requestQueue) { add(ctx, e.Object, q) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q requestQueue) { add(ctx, e.ObjectNew, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q requestQueue) { add(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q requestQueue) { add(ctx, e.Object, q) },
	}
}

// causeOf an event about an object: the authority, if it is about that, one of its generations, or one of its certificates; all
// namespaces are one cause.
func causeOf(object client.Object) types.NamespacedName {
	switch object := object.(type) {
	case *corev1.Secret:
		return types.NamespacedName{Namespace: object.Namespace, Name: generationOf(object)}
	case *v1alpha1.MTLSCertificate:
		return authorityKey(object)
	case *v1alpha1.MTLSAuthority:
		return client.ObjectKeyFromObject(object)
	default:
		return types.NamespacedName{}
	}
}

func (b *backlog) add(queue requestQueue, cause types.NamespacedName, requests []reconcile.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = queue
	if len(requests) == 0 {
		return
	}
	waiting, found := b.lines[cause]
	if !found {
		waiting = &line{has: sets.New[reconcile.Request]()}
		b.lines[cause], b.causes = waiting, append(b.causes, cause)
	}
	waiting.add(requests)
	b.feed()
}

func (l *line) add(requests []reconcile.Request) {
	for _, request := range requests {
		if !l.has.Has(request) { // also while it is looked at: that pass may have begun before the event
			l.has.Insert(request)
			l.requests = append(l.requests, request)
		}
	}
}

// take the one that waits longest and hasn't begun.
func (l *line) take(begun sets.Set[reconcile.Request]) (reconcile.Request, bool) {
	next := slices.IndexFunc(l.requests, func(r reconcile.Request) bool { return !begun.Has(r) })
	if next < 0 {
		return reconcile.Request{}, false
	}
	request := l.requests[next]
	l.requests[next], l.requests = l.requests[0], l.requests[1:]
	l.has.Delete(request)
	return request, true
}

// done tells that a pass has ended, whatever it was for.
func (b *backlog) done(request reconcile.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun.Has(request) {
		b.begun.Delete(request)
		b.feed()
	}
}

// feed the queue with what may begin. What has begun waits for its end.
func (b *backlog) feed() {
	for len(b.begun) < b.limit {
		request, found := b.next()
		if !found {
			return
		}
		b.begun.Insert(request)
		addLate(b.queue, request)
	}
}

// next takes a request of the first cause that has one which may begin. That cause goes to the end.
func (b *backlog) next() (reconcile.Request, bool) {
	for i, cause := range b.causes {
		request, found := b.lines[cause].take(b.begun)
		if !found {
			continue
		}
		b.causes = slices.Delete(b.causes, i, i+1)
		if len(b.lines[cause].requests) > 0 {
			b.causes = append(b.causes, cause)
		} else {
			delete(b.lines, cause)
		}
		return request, true
	}
	return reconcile.Request{}, false
}

// addLate puts a request behind all that have the usual priority.
func addLate(queue requestQueue, request reconcile.Request) {
	if byPriority, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
		return
	}
	queue.Add(request)
}
