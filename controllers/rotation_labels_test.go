package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// unlabel takes our labels from a Secret, as tools do that replace all of them.
func (r *rotating) unlabel(name string) {
	r.t.Helper()
	secret := r.secret(name)
	secret.Labels = nil
	r.check(r.admin.Update(r.ctx, secret))
	r.eventually("the cache doesn't see "+name, func() bool {
		return apierrors.IsNotFound(r.client.Get(r.ctx, keyOf(secret), &corev1.Secret{}))
	})
}

// The cache selects Secrets by label. A generation that lost its labels must not be taken for one that is gone: its root
// would be taken from everybody, or an older CA would sign again.
func TestAGenerationWithoutItsLabelsIsMissedAndNotForgotten(t *testing.T) {
	for sentence, c := range map[string]struct {
		lost          string
		roots, issuer string
	}{
		"the one that signs":   {"my-ca-ca-2", "my-ca, my-ca G2", "my-ca G2"},
		"the one that retires": {"my-ca-ca-1", "my-ca, my-ca G2", "my-ca G2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newRotating(t, "a")
			r.ask("now")
			r.round()
			r.later(6 * time.Minute)
			r.round()
			r.wantStage(v1alpha1.StageRetiring, "")
			r.unlabel(c.lost)

			r.wantNoWrites(func() { r.reconcileCertificate(r.certificates[0]) })
			r.wantRoots(c.roots)
			r.reconcileAuthority(r.authority)
			r.round()

			r.wantRoots(c.roots)
			r.wantIssuer(c.issuer)
			r.wantStage(v1alpha1.StageRetiring, "")
			if r.secret(c.lost).Labels[v1alpha1.AuthorityLabel] != "my-ca" {
				t.Error("the labels weren't put back")
			}
		})
	}
}
