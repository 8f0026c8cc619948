package controllers

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// backlog is what is to be looked at because of a change that concerns objects by the thousand. It goes into the queue a few at
// a time, and there behind what came by itself: else the API server, busy with the thousands, has a new object wait.
type backlog struct {
	limit int

	mu      sync.Mutex
	queue   requestQueue // of the controller, once it has begun to watch
	waiting []reconcile.Request
	waits   sets.Set[reconcile.Request] // the same
	begun   sets.Set[reconcile.Request] // in the queue, or looked at
}

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// newBacklog of a controller leaves most of its workers to what came by itself.
func newBacklog(workers int) *backlog {
	return &backlog{limit: max(workers/8, 1), waits: sets.New[reconcile.Request](), begun: sets.New[reconcile.Request]()}
}

// handler puts into the backlog what an event concerns.
func (b *backlog) handler(mapped handler.MapFunc) handler.EventHandler {
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q requestQueue) { b.add(q, mapped(ctx, e.Object)) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q requestQueue) { b.add(q, mapped(ctx, e.ObjectNew)) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q requestQueue) { b.add(q, mapped(ctx, e.Object)) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q requestQueue) { b.add(q, mapped(ctx, e.Object)) },
	}
}

func (b *backlog) add(queue requestQueue, requests []reconcile.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = queue
	for _, request := range requests {
		if !b.waits.Has(request) { // also while it is looked at: that pass may have begun before the event
			b.waits.Insert(request)
			b.waiting = append(b.waiting, request)
		}
	}
	b.feed()
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

// feed the queue with those that wait longest. What has begun waits for its end.
func (b *backlog) feed() {
	for len(b.begun) < b.limit {
		next := slices.IndexFunc(b.waiting, func(r reconcile.Request) bool { return !b.begun.Has(r) })
		if next < 0 {
			return
		}
		request := b.waiting[next]
		b.waiting[next], b.waiting = b.waiting[0], b.waiting[1:]
		b.waits.Delete(request)
		b.begun.Insert(request)
		addLate(b.queue, request)
	}
}

// addLate puts a request behind all that have the usual priority.
func addLate(queue requestQueue, request reconcile.Request) {
	if byPriority, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
		return
	}
	queue.Add(request)
}
