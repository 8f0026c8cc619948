package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func requestNamed(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
}

func TestAFewOfThousandsAreLookedAtAtATime(t *testing.T) {
	var all []reconcile.Request
	for i := range 6 {
		all = append(all, requestNamed(fmt.Sprintf("%d", i)))
	}
	b, queue := newBacklog(16), &added{}
	concerned := b.handler(func(context.Context, client.Object) []reconcile.Request { return all })
	concerned.Update(t.Context(), event.UpdateEvent{ObjectOld: ours("a", "a"), ObjectNew: ours("a", "a")}, queue)
	want := func(sentence string, names ...string) {
		t.Helper()
		if !slices.Equal(queue.names, names) {
			t.Errorf("%s: %q are in the queue, want %q", sentence, queue.names, names)
		}
	}
	want("two of sixteen workers are for them", "0", "1")
	b.done(requestNamed("of another cause"))
	want("another pass makes no room", "0", "1")
	b.done(all[1])
	want("a pass that ends lets the next one in", "0", "1", "2")
	concerned.Delete(t.Context(), event.DeleteEvent{Object: ours("a", "a")}, queue)
	for range 2 {
		for _, request := range all {
			b.done(request)
		}
	}
	want("what happens while one is looked at has it looked at again", "0", "1", "2", "3", "4", "5", "0", "1", "2")
}

// A CA that is replaced in a hurry would otherwise stand still behind the certificates of one that isn't.
func TestCausesHaveTheirTurns(t *testing.T) {
	b, queue := newBacklog(1), &added{}
	concern := func(cause client.Object, names ...string) {
		mapped := func(context.Context, client.Object) []reconcile.Request {
			var all []reconcile.Request
			for _, name := range names {
				all = append(all, requestNamed(name))
			}
			return all
		}
		b.handler(mapped).Create(t.Context(), event.CreateEvent{Object: cause}, queue)
	}
	concern(generation("shop", "my-ca"), "a1", "a2", "a3", "a4")
	concern(authorityNamed("shop", "other-ca"), "b1", "b2", "a4")
	concern(namespaceNamed("shop"), "c1")
	concern(namespaceNamed("payments"), "c2")
	concern(authorityNamed("shop", "my-ca"), "a5") // the same cause as by its generation
	for begun := 0; len(b.begun) > 0; begun++ {
		b.done(requestNamed(queue.names[begun]))
	}
	want := []string{"a1", "a2", "b1", "c1", "a3", "b2", "c2", "a4", "a4", "a5"} // a4 once for each of its causes
	if !slices.Equal(queue.names, want) {
		t.Errorf("they are looked at in the order %q, want %q", queue.names, want)
	}
	if len(b.lines)+len(b.causes)+len(b.begun) > 0 {
		t.Errorf("it goes on remembering %v, %v", b.causes, b.begun)
	}
}

// Whatever comes and ends in whatever order, nothing is forgotten and the bound holds.
func TestABacklogForgetsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 40).Draw(t, "workers")
		b, queue := newBacklog(workers), &added{}
		seen := 0 // of what is in the queue
		owed := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if running := len(queue.names) - seen; running > max(workers/8, 1) {
				t.Fatalf("%d are looked at by %d workers", running, workers)
			}
			if rapid.Bool().Draw(t, "comes") {
				name := fmt.Sprintf("%d", rapid.IntRange(0, 9).Draw(t, "name"))
				owed[name] = true
				cause := types.NamespacedName{Name: rapid.SampledFrom([]string{"my-ca", "other-ca", "shop"}).Draw(t, "cause")}
				b.add(queue, cause, []reconcile.Request{requestNamed(name)})
				continue
			}
			if seen < len(queue.names) {
				name := queue.names[seen]
				seen++
				delete(owed, name)
				b.done(requestNamed(name))
			}
		}
		for ; seen < len(queue.names); seen++ {
			delete(owed, queue.names[seen])
			b.done(requestNamed(queue.names[seen]))
		}
		if len(owed) > 0 {
			t.Fatalf("%v were never looked at", owed)
		}
	})
}

// An object that has to be looked at some day is in the queue until then, with the priority it had: whatever wakes it
// meanwhile takes that, and a place before all that came after it.
func TestANewObjectComesBeforeThoseThatAreDueSomeDay(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	result := w.reconcileCertificate(w.issued("old"))
	if result.RequeueAfter < time.Hour || result.Priority == nil {
		t.Fatalf("the next pass is %v", result)
	}
	queue := priorityqueue.New[reconcile.Request]("")
	defer queue.ShutDown()
	old, fresh := requestNamed("old"), requestNamed("new")
	queue.AddWithOpts(priorityqueue.AddOpts{After: result.RequeueAfter, Priority: result.Priority}, old)
	queue.AddWithOpts(priorityqueue.AddOpts{}, fresh)
	newBacklog(1).add(queue, types.NamespacedName{Name: "my-ca"}, []reconcile.Request{old})
	for _, want := range []reconcile.Request{fresh, old} {
		if got, _ := queue.Get(); got != want {
			t.Errorf("%s comes before %s", got.Name, want.Name)
		}
	}
}
