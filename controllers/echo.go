package controllers

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

// echoes are the versions of leaf Secrets that passes of this process wrote, until an event tells of them. That event is no
// reason for another pass over the certificate: the one that wrote the Secret left it as it is to be, or failed and is made
// again.
//
// It takes a next pass that sees what was written. With a cache for each of several namespaces a read waits for the newest
// event of any of them, and may miss the write: then nothing is remembered, and each write is looked at again.
type echoes struct {
	off bool

	mu      sync.Mutex
	written map[types.UID]string // the resourceVersion by the Secret's UID
}

func newEchoes(namespaces []string) *echoes {
	return &echoes{off: len(namespaces) > 1, written: map[types.UID]string{}}
}

// wrote remembers a Secret as the API server returned it, if that made it the target: a webhook may have made something else
// of it. When its event came first, it is remembered until the next one.
func (e *echoes) wrote(secret *corev1.Secret, target leafTarget) {
	if e.off || secretPatch(secret, target) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.written[secret.UID] = secret.ResourceVersion
}

// heard tells whether an event tells of what was written last, and forgets it: no event after it does.
func (e *echoes) heard(secret client.Object) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	version, known := e.written[secret.GetUID()]
	delete(e.written, secret.GetUID())
	return known && version == secret.GetResourceVersion()
}

// handler leaves the events that tell of this process's own writes to others, and all else to all.
func (e *echoes) handler(all, others handler.EventHandler) handler.EventHandler {
	of := func(secret client.Object) handler.EventHandler {
		if e.heard(secret) {
			return others
		}
		return all
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, ev event.CreateEvent, q requestQueue) { of(ev.Object).Create(ctx, ev, q) },
		UpdateFunc: func(ctx context.Context, ev event.UpdateEvent, q requestQueue) {
			if ev.ObjectOld.GetUID() != ev.ObjectNew.GetUID() { // deleted and made anew while nobody watched
				e.heard(ev.ObjectOld)
			}
			of(ev.ObjectNew).Update(ctx, ev, q)
		},
		DeleteFunc: func(ctx context.Context, ev event.DeleteEvent, q requestQueue) {
			e.heard(ev.Object)
			all.Delete(ctx, ev, q)
		},
	}
}
