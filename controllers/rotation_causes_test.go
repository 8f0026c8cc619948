package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// finish a rotation that nothing holds up, from its beginning.
func (r *rotating) finish() {
	r.t.Helper()
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.wantStage(v1alpha1.StageStable, "")
	r.wantConsistentSecrets()
}

// annotate an authority as a person does.
func (r *rotating) annotate(name, value string) {
	r.t.Helper()
	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Annotations[name] = value })
}

func TestARequestIsServedOnce(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("first")
	r.finish()
	r.wantIssuer("my-ca G2")
	r.wantNoWrites(func() { r.later(time.Hour); r.round() })

	r.annotate(v1alpha1.RotateRequestedAtAnnotation, "second")
	r.finish()
	r.wantIssuer("my-ca G3")
}

func TestAnotherKeyAlgorithmIsRotatedTo(t *testing.T) {
	r := newRotating(t, "a")
	for i, algorithm := range []v1alpha1.KeyType{"RSA2048", "ED25519"} {
		r.later(time.Hour)
		edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) {
			a.Spec.PrivateKey = &v1alpha1.AuthorityPrivateKey{Type: algorithm}
		})
		r.finish()
		r.wantIssuer([]string{"my-ca G2", "my-ca G3"}[i])
	}
}

func TestAChangeThatIsUndoneIssuesNothing(t *testing.T) {
	r := newRotating(t, "a")
	r.later(time.Hour)
	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.CommonName = "other" })
	r.round()
	r.wantStage(v1alpha1.StageDistributing, "1/1")

	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.CommonName = "" })
	r.round()
	r.wantStage(v1alpha1.StageStable, "")
	r.wantRoots("my-ca")
	if r.exists("my-ca-ca-2") {
		t.Error("the generation that nobody wants is still there")
	}
}

func TestADueCAIsReplaced(t *testing.T) {
	r := newRotating(t, "a")
	r.later(8760*time.Hour*2/3 - time.Minute)
	r.round()
	r.wantStage(v1alpha1.StageStable, "")
	r.later(2 * time.Minute)
	r.finish()
	r.wantIssuer("my-ca G2")
}

func TestADeletedSecretOfACAIsAWishForAnother(t *testing.T) {
	r := newRotating(t, "a")
	r.later(time.Minute)
	r.deleteGeneration("my-ca-ca-1")
	r.round()
	r.wantReady(r.authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "generation 1 signs")
	r.finish()
	r.wantIssuer("my-ca G2")
	if r.exists("my-ca-ca-1") {
		t.Error("the Secret that was deleted is still there")
	}
}

// deleteGeneration asks for the end of a generation Secret, as a person does. Its finalizer holds it.
func (r *rotating) deleteGeneration(name string) {
	r.t.Helper()
	secret := r.secret(name)
	r.check(r.admin.Delete(r.ctx, secret))
	r.eventually("the cache sees that the Secret is deleted", func() bool {
		r.check(r.client.Get(r.ctx, keyOf(secret), secret))
		return secret.DeletionTimestamp != nil
	})
}

// loseKey takes a generation Secret away, finalizer and all.
func (r *rotating) loseKey(name string) {
	r.t.Helper()
	secret := r.secret(name)
	secret.Finalizers = nil
	r.check(r.admin.Update(r.ctx, secret))
	r.check(r.admin.Delete(r.ctx, secret))
	r.eventually("the cache sees that the Secret is gone", func() bool {
		return apierrors.IsNotFound(r.client.Get(r.ctx, keyOf(secret), &corev1.Secret{}))
	})
}

func TestWhatALostKeySignedStaysTrustedWhileItIsReplaced(t *testing.T) {
	r := newRotating(t, "a", "b")
	r.later(time.Minute)
	r.loseKey("my-ca-ca-1")
	r.round()
	r.wantReady(r.authority, metav1.ConditionFalse, v1alpha1.ReasonCALost, "the Secret with the CA's key is gone")
	r.wantStage(v1alpha1.StageLost, "2/2")
	r.wantRoots("my-ca, my-ca G2")
	r.wantIssuer("my-ca")

	r.later(6 * time.Minute)
	r.round()
	r.wantReady(r.authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "generation 2 signs")
	r.wantIssuer("my-ca G2")
	r.later(6 * time.Minute)
	r.round()
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
}

func TestAnAbortedRotationIsNotBegunAgain(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	r.round()
	r.annotate(v1alpha1.AbortAnnotation, "2")
	r.round()
	r.wantStage(v1alpha1.StageStable, "")
	r.wantRoots("my-ca")
	r.wantNoWrites(func() { r.later(time.Hour); r.round() })
}

func TestTheOneBeforeSignsAgainWhileItIsTrusted(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.wantIssuer("my-ca G2")
	r.annotate(v1alpha1.AbortAnnotation, "2")
	r.round()
	r.wantIssuer("my-ca")
	r.wantRoots("my-ca, my-ca G2")
	r.later(6 * time.Minute)
	r.round()
	r.wantRoots("my-ca")
	r.wantStage(v1alpha1.StageStable, "")
	r.wantNoWrites(func() { r.later(time.Hour); r.round() })
}

func TestACompromisedCAIsReplacedSoon(t *testing.T) {
	r := newRotating(t, "a")
	r.later(time.Hour)
	r.annotate(v1alpha1.CompromisedAnnotation, "1")
	r.round()
	r.wantRoots("my-ca, my-ca G2")
	r.later(91 * time.Second)
	r.round()
	r.wantIssuer("my-ca G2")
	r.later(91 * time.Second)
	r.round()
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
}
