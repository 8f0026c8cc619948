package controllers

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// rotationCrashes are rotations in which a crash must not matter: what people do, and how long it takes.
var rotationCrashes = map[string]func(*rotating){
	"to the end": func(r *rotating) {
		for range 5 {
			r.calm()
			r.later(6 * time.Minute)
		}
	},
	"that is aborted": func(r *rotating) {
		r.calm()
		r.abort("2")
		r.calm()
		for range 2 {
			r.later(6 * time.Minute)
			r.calm()
		}
	},
	"that is rolled back": func(r *rotating) {
		r.calm()
		for _, wait := range []time.Duration{6 * time.Minute, 100 * time.Second} {
			r.later(wait)
			r.calm()
		}
		r.abort("2")
		for range 4 {
			r.calm()
			r.later(6 * time.Minute)
		}
		r.calm()
	},
}

// calm makes passes over everything until there is nothing more to do now. A pass that fails is made again, by a new process.
func (r *rotating) calm() {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		before := len(r.requests.writes())
		again := r.attempt(r.authorities.Reconcile, r.authority)
		for _, certificate := range r.certificates {
			again = r.attempt(r.operator.certificates.Reconcile, certificate) || again
		}
		r.wantConsistentSecrets()
		if !again && len(r.requests.writes()) == before {
			return
		}
	}
	r.t.Fatal("the operator doesn't come to rest")
}

func TestACrashBetweenAnyTwoWritesOfARotationDoesNotMatter(t *testing.T) {
	for sentence, goesOn := range rotationCrashes {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			base := start()
			run := func(number int, after bool) (state map[string]any, crashed bool) {
				w.clock.SetTime(base)
				w.namespace = w.newNamespace("", nil)
				r := &rotating{world: w, authority: w.authority("my-ca")}
				r.certificates = append(r.certificates, w.issued("a"))
				r.ask("now")
				before := w.allSecrets()
				process := w.requests
				process.breakWrite(number, after)
				goesOn(r)
				defer w.clear()
				return timeless(w, w.state(before)), w.requests != process
			}
			undisturbed, _ := run(0, false)
			for number := 1; ; number++ {
				for _, after := range []bool{false, true} {
					state, crashed := run(number, after)
					if diff := cmp.Diff(undisturbed, state); diff != "" {
						t.Errorf("write %d failed (after it was carried out: %t) (-without +with the crash):\n%s", number, after, diff)
					}
					if !crashed {
						return // there are no more writes
					}
				}
			}
		})
	}
}

// abort as a person does, with requests of their own.
func (r *rotating) abort(number string) {
	r.t.Helper()
	before := r.authorityIn(r.authority.Name)
	after := before.DeepCopy()
	after.Annotations[v1alpha1.AbortAnnotation] = number
	r.check(r.admin.Patch(r.ctx, after, client.MergeFrom(before)))
	r.eventually("the operator hears of it", func() bool {
		cached := &v1alpha1.MTLSAuthority{}
		return r.client.Get(r.ctx, keyOf(after), cached) == nil && cached.Annotations[v1alpha1.AbortAnnotation] == number
	})
}

var anyTime = regexp.MustCompile(`20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| \+0000 UTC)`)

// timeless is a state without its times: a process that begins anew looks for a while before it takes a step that can't be
// taken back, so all that comes after is later.
func timeless(w *world, state map[string]any) (without map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(state)
	w.check(err)
	w.check(json.Unmarshal(anyTime.ReplaceAll(text, []byte("<time>")), &without))
	return without
}

// attempt a pass, and tell whether it has to be made again.
func (r *rotating) attempt(pass func(context.Context, ctrl.Request) (ctrl.Result, error), object client.Object) bool {
	broken := r.requests.hasBroken()
	r.catchUp()
	result, err := pass(r.ctx, ctrl.Request{NamespacedName: keyOf(object)})
	if !broken && r.requests.hasBroken() {
		r.restart()
		return true
	}
	return err != nil || result.RequeueAfter == conflictDelay
}

// breakWrite has the write with a number, from 1, fail before or after it is carried out.
func (r *requests) breakWrite(number int, after bool) {
	r.breakRequest(number, after)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writesOnly = true
}

// writesPerLeaf counts the writes of Secrets and of statuses.
func writesPerLeaf(writes []string) (secrets, statuses int) {
	for _, write := range writes {
		switch {
		case strings.HasSuffix(write, " secrets"):
			secrets++
		case strings.HasSuffix(write, "mtlscertificates/status"):
			statuses++
		}
	}
	return secrets, statuses
}

// Of a rotation a certificate sees three writes of its Secret: the root comes, the certificate is replaced, the old root goes;
// and one of its status. At rest there are none.
func TestWhatARotationWrites(t *testing.T) {
	const leaves = 6
	r := newRotating(t, "a", "b", "c", "d", "e", "f")
	r.ask("now")
	var secrets, statuses, authority int
	certificates := func() {
		t.Helper()
		r.requests.reset()
		for range 2 {
			for _, certificate := range r.certificates {
				r.reconcileCertificate(certificate)
			}
		}
		s, st := writesPerLeaf(r.requests.writes())
		secrets, statuses = secrets+s, statuses+st
	}
	for range 6 {
		for range 4 { // as each change of a certificate would wake it
			r.requests.reset()
			r.reconcileAuthority(r.authority)
			authority += len(r.requests.writes())
			certificates()
			r.later(2 * time.Second)
		}
		r.later(6 * time.Minute)
	}
	r.wantStage(v1alpha1.StageStable, "")
	r.wantIssuer("my-ca G2")
	if secrets != 3*leaves || statuses != leaves {
		t.Errorf("%d writes of Secrets and %d of statuses for %d certificates, want 3 and 1 each", secrets, statuses, leaves)
	}
	if authority > 20 {
		t.Errorf("%d writes for the authority", authority)
	}
	t.Logf("%d writes for the authority and its generations", authority)
	r.wantNoWrites(func() { r.round() })
}

// Each step is told once, also when processes follow each other.
func TestARotationIsToldOnce(t *testing.T) {
	r := newRotating(t, "a")
	r.told.take()
	r.ask("now")
	var told []string
	for range 4 {
		for _, ends := range []bool{true, false} {
			r.round()
			told = append(told, r.told.take()...)
			if ends {
				r.restart()
			}
		}
		r.later(6 * time.Minute)
	}
	for i, want := range []string{
		"Normal GenerationMade: generation 2 was made (RotationRequested)", "Normal GenerationSigns: everybody trusts generation 2",
		"Normal IssuerChanged: issued certificate", "Normal GenerationRetired: generation 1 isn't trusted any more",
	} {
		if i >= len(told) || !strings.HasPrefix(told[i], want) {
			t.Fatalf("events: %q, want %q at %d", told, want, i)
		}
	}
	if len(told) > 4 {
		t.Errorf("more events than steps: %q", told)
	}
}
