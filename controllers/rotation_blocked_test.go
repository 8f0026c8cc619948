package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// newBlocked is a rotation whose next generation waits for nothing but a pod.
func newBlocked(t *testing.T) *rotating {
	t.Helper()
	r := newRotating(t, "a")
	r.pod("stuck", r.node(true), stuckRows[0].pod)
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.wantBlocker("Pod", "stuck", "restart it after")
	return r
}

func TestBlockersCanBeIgnored(t *testing.T) {
	r := newBlocked(t)
	for _, other := range []string{"1", "3", "yes", ""} {
		r.annotate(v1alpha1.IgnoreBlockersAnnotation, other)
		r.round()
		r.wantIssuer("my-ca")
	}
	r.told.take()
	r.annotate(v1alpha1.IgnoreBlockersAnnotation, "2")
	r.reconcileAuthority(r.authority)
	r.wantTold("Normal "+v1alpha1.ReasonGenerationSigns,
		fmt.Sprintf("Warning %s: generation 2 didn't wait for Pod %s/stuck: container", v1alpha1.ReasonRanOver, r.namespace))
	r.round()
	r.wantIssuer("my-ca G2")

	r.annotate(v1alpha1.IgnoreBlockersAnnotation, "")
	r.later(6 * time.Minute) // the one that goes waits as well
	r.round()
	r.wantStage(v1alpha1.StageRetiring, "")
	r.wantBlocker("Pod", "stuck", "restart it after")
	r.told.take()
	r.annotate(v1alpha1.IgnoreBlockersAnnotation, "2")
	r.round()
	r.wantTold("Normal "+v1alpha1.ReasonGenerationRetired, "Warning "+v1alpha1.ReasonRanOver+": generation 1 didn't wait for Pod")
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
	r.wantNoWrites(func() { r.round() })
}

// jump lets weeks go by, with a look at everything each day.
func (r *rotating) jump(until time.Time) {
	r.t.Helper()
	for next := r.clock.Now().Add(24 * time.Hour); next.Before(until); next = next.Add(24 * time.Hour) {
		r.clock.SetTime(next)
		for _, certificate := range r.certificates {
			r.reconcileCertificate(certificate)
		}
	}
	r.clock.SetTime(until)
	r.round()
}

// The API server stamps what is made with the real time, so that is when the CA must be due.
func TestBlockersAreWaitedForUntilTheDeadline(t *testing.T) {
	w := newWorld(t)
	w.later(-8760 * time.Hour * 2 / 3)
	r := &rotating{world: w, authority: w.authority("my-ca")}
	r.certificates = append(r.certificates, w.issued("a"))
	r.pod("stuck", r.node(true), stuckRows[0].pod)
	r.jump(start())
	r.later(6 * time.Minute)
	r.round()
	r.wantBlocker("Pod", "stuck", "restart it after")

	made, end := r.secret("my-ca-ca-2").CreationTimestamp.Time, r.leaf("my-ca-ca-1").NotAfter
	deadline := end.Add(-8760 * time.Hour / 10)
	half := made.Add(deadline.Sub(made) / 2)
	r.jump(half.Add(-time.Hour))
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
	r.told.take()
	r.later(2 * time.Hour)
	r.round()
	says := "Pod " + r.namespace + "/stuck. It is waited for until " + deadline.UTC().Format(time.RFC3339)
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonRotationBlocked, says)
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	r.wantTold("Warning " + v1alpha1.ReasonRotationBlocked + ": " + says)
	r.wantNoWrites(func() { r.round() })

	r.jump(deadline.Add(-time.Hour))
	r.wantIssuer("my-ca")
	r.told.take()
	r.later(2 * time.Hour)
	r.reconcileAuthority(r.authority)
	r.wantTold("Normal "+v1alpha1.ReasonGenerationSigns, "Warning "+v1alpha1.ReasonRanOver+": generation 2 didn't wait for Pod")
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
	r.round()
	r.wantIssuer("my-ca G2")

	r.jump(end.Add(-time.Hour)) // the old one is trusted until its end, since that costs nothing
	r.wantRoots("my-ca, my-ca G2")
	r.later(2 * time.Hour)
	r.round()
	r.wantRoots("my-ca G2")
}

// noServer has a certificate ask for what can't be: its Secret keeps the one it has.
func noServer(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames, c.Spec.CommonName = nil, "no server" }

// keptRows are the ways in which a certificate comes to be kept that can't be issued again. Its Secret still gets the roots.
var keptRows = map[string]struct {
	change func(*rotating)
	reason string
	says   string
}{
	"its duration isn't allowed any more": {func(r *rotating) {
		edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.MaxLeafDuration = "24h" })
	}, v1alpha1.ReasonDenied, "duration"},
	"its spec is invalid": {func(r *rotating) {
		edit(r.world, r.certificates[1], noServer)
	}, v1alpha1.ReasonInvalidSpec, "spec.dnsNames"},
}

func TestACertificateThatIsKeptGetsTheRootsAndIsWaitedForUntilItsEnd(t *testing.T) {
	for sentence, row := range keptRows {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			r := &rotating{world: w, authority: w.authority("my-ca")}
			for name, duration := range map[string]v1alpha1.Duration{"good": "24h", "kept": "48h"} {
				r.certificates = append(r.certificates, w.issued(name, func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration = duration }))
			}
			slices.SortFunc(r.certificates, func(a, b *v1alpha1.MTLSCertificate) int { return strings.Compare(a.Name, b.Name) })
			row.change(r)
			r.ask("now")
			r.round()
			r.wantReady(r.certificates[1], "False", row.reason, row.says)
			r.wantRoots("my-ca, my-ca G2")
			r.later(6 * time.Minute)
			r.round()
			r.later(6 * time.Minute)
			r.round()
			if good, kept := r.issuerOf("good"), r.issuerOf("kept"); good != "my-ca G2" || kept != "my-ca" {
				t.Errorf("the issuers are %q and %q", good, kept)
			}
			r.wantRoots("my-ca, my-ca G2")
			r.wantStage(v1alpha1.StageReissuing, "1/2")
			r.wantBlocker("Secret", "kept", "generation 1 is valid until|isn't issued again|"+row.says)
			r.wantNoWrites(func() { r.round() })

			end := r.leaf("kept").NotAfter
			r.jump(end.Add(-time.Minute))
			r.wantRoots("my-ca, my-ca G2")
			r.later(2 * time.Minute)
			r.round()
			r.later(2 * time.Minute)
			r.round()
			if got := r.roots("good"); got != "my-ca G2" {
				t.Errorf("the good one trusts %q", got)
			}
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

func TestACertificateThatIsNotPermittedAnyMoreGetsTheRoots(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca", forAll)
	r := &rotating{world: w, authority: authority}
	home := w.namespace
	w.namespace = w.newNamespace("", nil)
	tenant := w.issued("tenant", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = home, nil, "tenant"
	})
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.AllowedNamespaces = nil })
	r.ask("now")
	w.reconcileAuthority(authority)
	w.reconcileCertificate(tenant)
	w.reconcileAuthority(authority)
	w.wantReady(tenant, "False", v1alpha1.ReasonAuthorityNotPermitted, "")
	if got := r.roots("tenant"); got != "my-ca, my-ca G2" {
		t.Errorf("it trusts %q", got)
	}
	r.later(6 * time.Minute)
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	w.reconcileCertificate(tenant)
	w.reconcileAuthority(authority)
	if got := r.issuerOf("tenant"); got != "my-ca" {
		t.Errorf("it was issued by %q", got)
	}
	r.wantBlocker("Secret", "tenant", "isn't issued again|permits certificates from namespace")
}

// Certificates of three generations are in use, and the next has to wait for them, unless it can't; the one after it has to.
func TestThereAreNoMoreThanFourGenerations(t *testing.T) {
	r := newRotating(t, "a", "b", "c")
	rotated := func() {
		for range 4 {
			r.later(6 * time.Minute)
			r.round()
		}
	}
	for i := range 2 {
		edit(r.world, r.certificates[i], noServer) // is kept
		edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.CommonName = fmt.Sprintf("name %d", i) })
		rotated()
	}
	edit(r.world, r.certificates[2], noServer)
	r.round()
	r.told.take()
	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.CommonName = "one more" })
	rotated()
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonTooManyGenerations,
		"the spec asks for another CA|3 generations are still needed|status.rotation")
	r.wantTold("Warning " + v1alpha1.ReasonTooManyGenerations)

	r.deleteGeneration("my-ca-ca-3")
	rotated()
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 4 signs")
	r.deleteGeneration("my-ca-ca-4")
	rotated()
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonTooManyGenerations,
		`Secret "my-ca-ca-4" was deleted|4 generations are still needed|status.rotation`)
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 4 signs")
	if r.exists("my-ca-ca-5") {
		t.Error("there is a fifth that is live")
	}
	r.wantNoWrites(func() { r.round() })
}

// Ready is True all the time, so that nothing that waits for it is held up; TrustDistributed tells of the roots.
func TestTheConditionsDuringARotation(t *testing.T) {
	r := newRotating(t, "a", "b")
	want := func(stage v1alpha1.RotationStage, trusted metav1.ConditionStatus, reason string) {
		t.Helper()
		r.check(r.admin.Get(r.ctx, keyOf(r.authority), r.authority))
		if got := r.authority.Status.Rotation.Stage; got != stage {
			t.Errorf("the stage is %s, want %s", got, stage)
		}
		r.wantCondition(r.authority, v1alpha1.ConditionTrustDistributed, trusted, reason, "")
		r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "")
		r.wantCondition(r.authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "nobody needs to act")
		for _, certificate := range r.certificates {
			r.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
			r.wantCondition(certificate, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
		}
		if got := r.authority.Status.ObservedGeneration; got != r.authority.Generation {
			t.Errorf("observedGeneration is %d of %d", got, r.authority.Generation)
		}
	}
	certificates := func() {
		for _, certificate := range r.certificates {
			r.reconcileCertificate(certificate)
		}
	}
	want(v1alpha1.StageStable, "True", v1alpha1.ReasonDistributed)
	before := meta.FindStatusCondition(r.authority.Status.Conditions, v1alpha1.ConditionReady).LastTransitionTime
	r.ask("now")
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageDistributing, "False", v1alpha1.ReasonDistributing)
	certificates()
	r.later(6 * time.Second)
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageDistributing, "True", v1alpha1.ReasonDistributed)
	r.later(6 * time.Minute)
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageReissuing, "True", v1alpha1.ReasonDistributed)
	certificates()
	r.later(6 * time.Second)
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageRetiring, "True", v1alpha1.ReasonDistributed)
	r.later(6 * time.Minute)
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageStable, "False", v1alpha1.ReasonDistributing)
	certificates()
	r.later(6 * time.Second)
	r.reconcileAuthority(r.authority)
	want(v1alpha1.StageStable, "True", v1alpha1.ReasonDistributed)
	after := meta.FindStatusCondition(r.authority.Status.Conditions, v1alpha1.ConditionReady)
	if !after.LastTransitionTime.Equal(&before) {
		t.Error("Ready changed meanwhile")
	}
}
