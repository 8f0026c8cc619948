package controllers

import (
	"maps"
	"math"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// A tenant stops the operator from repairing its Secret, and has the Secret say that a CA of the tenant's signed last.
func TestATenantCannotHaveItsCATakenForALostOne(t *testing.T) {
	for sentence, number := range map[string]int64{"a number to come": 999, "the highest number": math.MaxInt64} {
		t.Run(sentence, func(t *testing.T) {
			r := newRotating(t, "tenant", "other")
			theirs := makeCA(t, "theirs", nil, nil)
			leaf := makeCA(t, "leaf", theirs, nil)
			edit(r.world, r.certificates[0], noServer)
			r.round()
			r.editSecret("tenant", func(s *corev1.Secret) {
				s.Labels[v1alpha1.GenerationLabel] = strconv.FormatInt(number, 10)
				maps.Copy(s.Data, leaf.secret())
				s.Data[v1alpha1.BundleKey] = theirs.certificatePEM()
			})
			for range 4 {
				r.later(time.Minute)
				r.round()
			}
			r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			if got := r.roots("other"); got != "my-ca" {
				t.Errorf("others trust %q", got)
			}
			r.wantReady(r.certificates[0], "False", v1alpha1.ReasonInvalidSpec, "")
			if got := r.certificates[0].Status.Certificate.AuthorityUID; got != "" {
				t.Errorf("status says that authority %q signed it", got)
			}
			r.ask("now")
			r.round()
			if !r.exists("my-ca-ca-2") {
				t.Error("no other CA can be made")
			}
		})
	}
}

// A Secret of another type isn't one of ours, whatever it says of itself.
func TestATenantCannotHoldUpARotationWithASecretOfAnotherType(t *testing.T) {
	r := newRotating(t, "tenant", "other")
	mine := r.secret("tenant")
	r.check(r.admin.Delete(r.ctx, mine))
	theirs := &corev1.Secret{Data: mine.Data}
	theirs.Namespace, theirs.Name, theirs.Labels, theirs.Annotations = mine.Namespace, mine.Name, mine.Labels, mine.Annotations
	r.check(r.admin.Create(r.ctx, theirs))
	r.eventually("the cache has it", func() bool {
		seen := &corev1.Secret{}
		return r.client.Get(r.ctx, keyOf(theirs), seen) == nil && seen.UID == theirs.UID
	})
	r.ask("now")
	r.finish()
	r.wantReady(r.certificates[0], "False", v1alpha1.ReasonSecretConflict, "")
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	r.wantStage(v1alpha1.StageStable, "")
	if got := r.roots("other"); got != "my-ca G2" {
		t.Errorf("others trust %q", got)
	}
}
