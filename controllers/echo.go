package controllers

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// echoes are the versions of leaf Secrets that passes of this process wrote, until an event tells of them. That event is no
// reason for a pass: the one that wrote the Secret left it as it is to be, or failed and is made again.
type echoes struct {
	mu      sync.Mutex
	written map[types.UID]string // the resourceVersion by the Secret's UID
}

func newEchoes() *echoes { return &echoes{written: map[types.UID]string{}} }

// wrote remembers a Secret as the API server returned it. When its event came first, that is remembered until the next one.
func (e *echoes) wrote(secret metav1.Object) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.written[secret.GetUID()] = secret.GetResourceVersion()
}

// heard tells whether an event tells of what was written last, and forgets it: no event after it does.
func (e *echoes) heard(secret metav1.Object) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	version, known := e.written[secret.GetUID()]
	delete(e.written, secret.GetUID())
	return known && version == secret.GetResourceVersion()
}

// news passes the events that tell of anything but this process's own writes.
func (e *echoes) news() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(ev event.CreateEvent) bool { return !e.heard(ev.Object) },
		UpdateFunc: func(ev event.UpdateEvent) bool { return !e.heard(ev.ObjectNew) },
		DeleteFunc: func(ev event.DeleteEvent) bool {
			e.heard(ev.Object)
			return true
		},
	}
}
