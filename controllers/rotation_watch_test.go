package controllers

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// newTree is a root that has an authority below it, which has another one below it; each has a certificate. Beside them is an
// authority with a certificate of its own.
func newTree(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.authority("root", func(a *v1alpha1.MTLSAuthority) { a.Spec.MaxPathLength = new(int32(2)) })
	w.authority("middle", signedBy("", "root"), func(a *v1alpha1.MTLSAuthority) {
		a.Spec.MaxPathLength, a.Spec.Duration = new(int32(1)), "4000h"
	})
	w.authority("low", signedBy("", "middle"), func(a *v1alpha1.MTLSAuthority) { a.Spec.Duration = "3000h" })
	w.authority("other")
	for _, name := range []string{"root", "middle", "low", "other"} {
		w.issued("of-"+name, func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = name })
	}
	return w
}

func (w *world) authorityIn(name string) *v1alpha1.MTLSAuthority {
	w.t.Helper()
	authority := &v1alpha1.MTLSAuthority{}
	w.check(w.admin.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name}, authority))
	return authority
}

func (w *world) certificateIn(name string) *v1alpha1.MTLSCertificate {
	w.t.Helper()
	certificate := &v1alpha1.MTLSCertificate{}
	w.check(w.admin.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name}, certificate))
	return certificate
}

func TestWhoIsWokenByARotation(t *testing.T) {
	w := newTree(t)
	above := func(name string) func() []reconcile.Request {
		return func() []reconcile.Request {
			w.catchUp()
			return w.above(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name})
		}
	}
	for _, test := range []struct {
		sentence string
		rotating string // the authority that watches its consumers
		woken    func() []reconcile.Request
		want     []string
	}{
		{
			"the certificates of a CA and of those below it", "", w.by(w.certificatesOfCA, w.secret("root-ca-1")),
			[]string{"of-low", "of-middle", "of-root"},
		},
		{"not those of the one above", "", w.by(w.certificatesOfCA, w.secret("middle-ca-1")), []string{"of-low", "of-middle"}},
		{"none by a leaf Secret", "", w.by(w.certificatesOfCA, w.secret("of-root")), nil},
		{"none by a foreign Secret", "", w.by(w.certificatesOfCA, foreign(w.namespace, "root-ca-2")), nil},
		{"the authorities under a CA", "", w.by(w.authoritiesUnder, w.secret("root-ca-1")), []string{"low", "middle", "root"}},
		{"the authority alone that has none below it", "", w.by(w.authoritiesUnder, w.secret("low-ca-1")), []string{"low"}},

		{"the authorities above and below one", "", w.by(w.authoritiesBeside, w.authorityIn("middle")), []string{"low", "root"}},
		{"not the one above the one above", "", w.by(w.authoritiesBeside, w.authorityIn("low")), []string{"middle"}},
		{"nobody beside one that stands alone", "", w.by(w.authoritiesBeside, w.authorityIn("other")), nil},

		{"those above, the nearest first", "", above("low"), []string{"middle", "root"}},
		{"nobody above a root", "", above("root"), nil},
		{"nobody above what there isn't", "", above("none"), nil},

		{"nobody by a certificate while none rotates", "", w.by(w.authoritiesWatching, w.certificateIn("of-low")), nil},
		{"its authority by a certificate", "low", w.by(w.authoritiesWatching, w.certificateIn("of-low")), []string{"low"}},
		{"the root by a certificate two below", "root", w.by(w.authoritiesWatching, w.certificateIn("of-low")), []string{"root"}},
		{"the root by a Secret two below", "root", w.by(w.authoritiesWatching, w.secret("of-low")), []string{"root"}},
		{"not the one below by a certificate of the one above", "low", w.by(w.authoritiesWatching, w.certificateIn("of-root")), nil},
		{"nobody by a Secret that tells of no issuer", "root", w.by(w.authoritiesWatching, ours(w.namespace, "x")), nil},
		{"nobody by a CA's Secret", "root", w.by(w.authoritiesWatching, w.secret("root-ca-1")), nil},
	} {
		for _, name := range []string{"root", "middle", "low", "other"} {
			w.rotations.forget(types.NamespacedName{Namespace: w.namespace, Name: name})
		}
		if test.rotating != "" {
			w.rotations.of(types.NamespacedName{Namespace: w.namespace, Name: test.rotating})
		}
		var got []string
		for _, request := range test.woken() {
			got = append(got, request.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: wakes %q, want %q", test.sentence, got, test.want)
		}
	}
}

// Two authorities that name each other as the one above are looked at, and not for ever.
func TestACircleOfAuthorities(t *testing.T) {
	w := newWorld(t)
	a, b := w.authority("a", signedBy("", "b")), w.authority("b", signedBy("", "a"))
	w.reconcileAuthority(a)
	w.wantReady(a, "False", v1alpha1.ReasonParentNotReady, `"b" cannot sign now`)
	w.wantReady(b, "False", v1alpha1.ReasonParentNotReady, `"a" cannot sign now`)
	if got := len(w.above(w.ctx, keyOf(a))); got > maxDepth {
		t.Errorf("%d authorities are above it", got)
	}
	if below, err := authoritiesBelow(w.ctx, w.cache, keyOf(a)); err != nil || len(below) != 1 {
		t.Errorf("%d authorities are below it, %v", len(below), err)
	}
}

// added records what is put into a queue, and after which time.
type added struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]

	names []string
	waits map[time.Duration]bool
}

func (a *added) Add(request reconcile.Request) { a.names = append(a.names, request.Name) }

func (a *added) AddAfter(request reconcile.Request, wait time.Duration) {
	a.Add(request)
	a.waits[wait] = true
}

func TestChangesByTheThousandAreLookedAtOnceInASecond(t *testing.T) {
	mapped := func(_ context.Context, object client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: keyOf(object)}}
	}
	before, after := ours("shop", "before"), ours("shop", "after")
	queue := &added{waits: map[time.Duration]bool{}}
	events := soon(mapped)
	events.Create(t.Context(), event.CreateEvent{Object: before}, queue)
	events.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, queue)
	events.Delete(t.Context(), event.DeleteEvent{Object: after}, queue)
	if want := []string{"before", "before", "after", "after"}; !slices.Equal(queue.names, want) {
		t.Errorf("%q are woken, want %q", queue.names, want)
	}
	if got := slices.Collect(maps.Keys(queue.waits)); !slices.Equal(got, []time.Duration{soonDelay}) {
		t.Errorf("they are woken after %v", got)
	}
}

// prioritized is a queue that remembers with what priority it was added to.
type prioritized struct {
	priorityqueue.PriorityQueue[reconcile.Request]

	added map[string]int
}

func (p *prioritized) AddWithOpts(o priorityqueue.AddOpts, all ...reconcile.Request) {
	for _, request := range all {
		p.added[request.Name] = *o.Priority
	}
}

// Of a change that concerns all certificates there are as many passes as certificates: a new one doesn't wait for them.
func TestWhatConcernsAllCertificatesComesAfterNewOnes(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	w.issued("a")
	for sentence, wakes := range map[string]func(*prioritized){
		"its authority": func(q *prioritized) {
			w.backlog.handler(w.certificatesOfAuthority).Update(w.ctx, event.UpdateEvent{ObjectOld: authority, ObjectNew: authority}, q)
		},
		"its CA": func(q *prioritized) {
			w.backlog.handler(w.certificatesOfCA).Delete(w.ctx, event.DeleteEvent{Object: w.secret("my-ca-ca-1")}, q)
		},
		"its namespace": func(q *prioritized) {
			w.backlog.handler(w.certificatesIn).Create(w.ctx, event.CreateEvent{Object: namespaceNamed(w.namespace)}, q)
		},
	} {
		queue := &prioritized{added: map[string]int{}}
		wakes(queue)
		w.backlog.done(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: "a"}})
		if got, found := queue.added["a"]; !found || got != handler.LowPriority || len(queue.added) > 1 {
			t.Errorf("by %s it is queued as %v", sentence, queue.added)
		}
	}
}

// Those that wait for an authority, or for the labels of their namespace, come as if they were new.
func TestCertificatesThatWaitDoNotWaitBehindOthers(t *testing.T) {
	w := newWorld(t)
	w.reconcileCertificate(w.certificate("waits"))
	w.certificate("new")
	authority := w.authority("my-ca")
	w.issued("has-one")
	for by, woken := range map[string]func() []reconcile.Request{
		"the authority": w.by(w.certificatesWaitingFor, authority),
		"the namespace": w.by(w.certificatesWaitingIn, namespaceNamed(w.namespace)),
	} {
		var got []string
		for _, request := range woken() {
			got = append(got, request.Name)
		}
		slices.Sort(got)
		if want := []string{"new", "waits"}; !slices.Equal(got, want) {
			t.Errorf("by %s %q are woken, want %q", by, got, want)
		}
	}
}

// A spec that changes twice has two CAs follow each other while certificates have their turns.
func TestATurnIsOfTheGenerationThatSigns(t *testing.T) {
	memories, authority := newRotationMemories(), types.NamespacedName{Namespace: "shop", Name: "my-ca"}
	a, b := requestNamed("a").NamespacedName, requestNamed("b").NamespacedName
	memory := memories.of(authority)
	for _, step := range []struct {
		signer      int64
		turns, want []types.NamespacedName
	}{
		{2, []types.NamespacedName{a}, []types.NamespacedName{a}},
		{2, []types.NamespacedName{a, b}, []types.NamespacedName{b}},
		{3, []types.NamespacedName{a, b}, []types.NamespacedName{a, b}},
		{3, []types.NamespacedName{b}, nil},
	} {
		if got := memories.grant(memory, step.signer, step.turns); !slices.Equal(got, step.want) {
			t.Errorf("of %v signed by generation %d now %v are woken, want %v", step.turns, step.signer, got, step.want)
		}
	}
	if memories.turn(authority, a) || !memories.turn(authority, b) {
		t.Error("turns are of those that were granted last")
	}
}

func TestCertificatesAreWokenWhenTheRootsMayChange(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	w.issued("a")
	plain := w.secret("my-ca-ca-1")
	with := func(change func(*corev1.Secret)) *corev1.Secret {
		secret := plain.DeepCopy()
		change(secret)
		return secret
	}
	fact := func(name string) *corev1.Secret {
		return with(func(s *corev1.Secret) { s.Annotations[name] = "2030-01-01T00:00:00Z" })
	}
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	woken, passes := w.backlog.handler(w.certificatesOfCA), predicate.And(sinceTheStart(), rootsChanged())
	events := handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if passes.Create(e) {
				woken.Create(ctx, e, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if passes.Update(e) {
				woken.Update(ctx, e, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			if passes.Delete(e) {
				woken.Delete(ctx, e, q)
			}
		},
	}
	for _, test := range []struct {
		sentence string
		happens  func(*added)
		want     bool
	}{
		{"a generation comes", func(q *added) { events.Create(w.ctx, event.CreateEvent{Object: plain}, q) }, true},
		{"a generation is there when the operator starts", func(q *added) {
			events.Create(w.ctx, event.CreateEvent{Object: plain, IsInInitialList: true}, q)
		}, false},
		{"a generation goes", func(q *added) { events.Delete(w.ctx, event.DeleteEvent{Object: plain}, q) }, true},
		{"one is withdrawn", update(w, events.Update, plain, fact(v1alpha1.WithdrawnAtAnnotation)), true},
		{"one is retired", update(w, events.Update, plain, fact(v1alpha1.RetiredAnnotation)), true},
		{"one gets its labels back", update(w, events.Update, with(func(s *corev1.Secret) {
			s.Labels[v1alpha1.GenerationLabel] = "7"
		}), plain), true},
		{"one may sign from now on", update(w, events.Update, plain, fact(v1alpha1.ActivatedAtAnnotation)), false},
		{"a note on one", update(w, events.Update, plain, fact("note")), false},
		{"one is to be deleted", update(w, events.Update, plain, with(func(s *corev1.Secret) {
			s.DeletionTimestamp = &s.CreationTimestamp
		})), false},
	} {
		queue := &added{waits: map[time.Duration]bool{}}
		test.happens(queue)
		w.backlog.done(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: "a"}})
		if woken := slices.Equal(queue.names, []string{"a"}); woken != test.want || !woken && len(queue.names) > 0 {
			t.Errorf("%s: wakes %q", test.sentence, queue.names)
		}
	}
}

func update(w *world, handle func(context.Context, event.UpdateEvent, workqueue.TypedRateLimitingInterface[reconcile.Request]),
	before, after client.Object,
) func(*added) {
	return func(queue *added) { handle(w.ctx, event.UpdateEvent{ObjectOld: before, ObjectNew: after}, queue) }
}
