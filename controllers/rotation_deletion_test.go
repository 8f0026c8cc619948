package controllers

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// The garbage collector deletes what an object that is deleted in the foreground owns, whatever finalizers hold that one. So
// the authority owns no key; and as long as it is in use its rotation goes on.
func TestARotationGoesOnWhileItsAuthorityIsDeletedInTheForeground(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	r.round()
	r.check(r.admin.Delete(r.ctx, r.authority, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	r.seesDeletion(r.authority)
	for _, name := range []string{"my-ca-ca-1", "my-ca-ca-2"} {
		if owners := r.secret(name).OwnerReferences; len(owners) > 0 {
			t.Errorf("Secret %q is owned by %v", name, owners)
		}
	}
	for range 3 {
		r.later(6 * time.Minute)
		r.round()
		r.wantCondition(r.authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonInUse, `"a"`)
		r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "")
	}
	r.wantIssuer("my-ca G2")
	r.wantRoots("my-ca G2")

	r.removeCertificate(r.certificates[0])
	r.reconcileAuthority(r.authority)
	if r.exists("my-ca-ca-2") {
		t.Error("the key of the CA is still there")
	}
	if slices.Contains(r.authority.Finalizers, v1alpha1.AuthorityFinalizer) {
		t.Error("the authority is still held")
	}
}

func TestANamespaceThatIsDeletedInTheMiddleOfARotation(t *testing.T) {
	w := newWorld(t)
	home := w.newNamespace("", nil)
	authority := w.authority("my-ca", forAll, func(a *v1alpha1.MTLSAuthority) { a.Namespace = home })
	r := &rotating{world: w, authority: authority}
	web := w.issued("web", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = home, nil, "web"
	})
	r.certificates = append(r.certificates, web)
	r.ask("now")
	r.round()
	before := w.secret("web")
	w.check(w.admin.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}))
	w.deleteAuthority(authority) // the namespace controller does
	w.reconcileAuthority(authority)
	w.wantGone(authority)
	left := &corev1.SecretList{}
	w.check(w.admin.List(w.ctx, left, client.InNamespace(home)))
	for _, secret := range left.Items {
		t.Errorf("Secret %q holds the namespace: %q", secret.Name, secret.Finalizers)
	}
	w.eventually("the cache sees that the authority is gone", func() bool {
		return w.client.Get(w.ctx, keyOf(authority), &v1alpha1.MTLSAuthority{}) != nil
	})
	w.reconcileCertificate(web)
	w.wantUntouched(before)
}

// another is a second process of the operator, which sees the same cluster.
func (w *world) another() *world {
	w.t.Helper()
	second := &world{t: w.t, ctx: w.ctx, admin: w.admin, clock: w.clock, namespace: w.namespace}
	second.restart()
	w.t.Cleanup(func() { second.stop() })
	return second
}

// begins is a pass of a process that has made up its mind and hasn't acted.
func (w *world) begins(authority *v1alpha1.MTLSAuthority, want plan.StepKind) func() error {
	w.t.Helper()
	current := &v1alpha1.MTLSAuthority{}
	w.check(w.admin.Get(w.ctx, keyOf(authority), current))
	pass := &authorityPass{authority: current, memory: w.rotations.of(keyOf(authority))}
	decision, err := w.authorities.decide(w.ctx, pass)
	w.check(err)
	if decision.Step.Kind != want {
		w.t.Fatalf("the step is %+v, want %s", decision.Step, want)
	}
	return func() error { return w.authorities.act(w.ctx, pass, decision) }
}

// One process lets the next CA sign while another one throws it away, as a person wants: one of them wins.
func TestTwoProcessesDoNotActivateAndAbort(t *testing.T) {
	for sentence, abortFirst := range map[string]bool{"the abort comes first": true, "the activation comes first": false} {
		t.Run(sentence, func(t *testing.T) {
			r := newRotating(t, "a")
			r.ask("now")
			r.round()
			second := r.another()
			r.later(6 * time.Minute)
			activate := r.begins(r.authority, plan.StepActivate)
			r.annotate(v1alpha1.AbortAnnotation, "2")
			second.eventually("the other process hears of the abort", func() bool {
				cached := &v1alpha1.MTLSAuthority{}
				return second.client.Get(r.ctx, keyOf(r.authority), cached) == nil && cached.Annotations[v1alpha1.AbortAnnotation] == "2"
			})
			abort := second.begins(r.authority, plan.StepWithdraw)
			first, late := abort, activate
			if !abortFirst {
				first, late = activate, abort
			}
			r.check(first())
			if err := late(); !apierrors.IsConflict(err) {
				t.Errorf("the late one gets %v, want a conflict", err)
			}
			for range 4 {
				r.round()
				r.soundLeaf("a")
				r.later(6 * time.Minute)
			}
			r.wantIssuer("my-ca")
			r.wantRoots("my-ca")
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

// Both processes want the next CA at a time: one is made.
func TestTwoProcessesMakeOneGeneration(t *testing.T) {
	r := newRotating(t, "a")
	second := r.another()
	r.ask("now")
	second.eventually("the other process hears of the request", func() bool {
		cached := &v1alpha1.MTLSAuthority{}
		err := second.client.Get(r.ctx, keyOf(r.authority), cached)
		return err == nil && cached.Annotations[v1alpha1.RotateRequestedAtAnnotation] != ""
	})
	one, other := r.begins(r.authority, plan.StepMint), second.begins(r.authority, plan.StepMint)
	r.check(one())
	if err := other(); !apierrors.IsConflict(err) {
		t.Errorf("the other one gets %v, want a conflict", err)
	}
	if r.exists("my-ca-ca-3") {
		t.Error("two generations were made")
	}
	r.finish()
	r.wantIssuer("my-ca G2")
}
