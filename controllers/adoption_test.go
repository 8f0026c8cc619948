package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestTheDeletionPolicyIsTheOwnerOfTheSecret(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello")
	if owner := metav1.GetControllerOf(w.secret("hello")); owner == nil || owner.UID != certificate.UID {
		t.Errorf("with Delete the owner is %v", owner)
	}
	theirs := metav1.OwnerReference{
		APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", UID: "3f0a2a5c-0000-4000-8000-000000000001",
	}
	w.editSecret("hello", func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, theirs) })
	for _, step := range []struct {
		policy v1alpha1.DeletionPolicy
		owners int
	}{{v1alpha1.DeletionRetain, 1}, {v1alpha1.DeletionDelete, 2}} {
		edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.DeletionPolicy = step.policy })
		before := w.secret("hello")
		w.requests.reset()

		w.reconcileCertificate(certificate)

		w.wantWrites("PATCH secrets", "PATCH mtlscertificates/status") // which tells the observedGeneration
		w.wantOnlyChanged(before)
		w.soundLeaf("hello")
		secret := w.secret("hello")
		got := len(secret.OwnerReferences)
		if got != step.owners || metav1.IsControlledBy(secret, certificate) != (got == 2) {
			t.Errorf("with %s the owners are %v", step.policy, secret.OwnerReferences)
		}
		w.wantCertificateAtRest(certificate)
	}
}

func TestACertificateMadeAnewTakesItsSecretOver(t *testing.T) {
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete, v1alpha1.DeletionRetain} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			first := w.issued("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.DeletionPolicy = policy })
			before := w.secret("hello")
			w.removeCertificate(first)
			w.reconcileCertificate(first) // nothing to do for what is no more
			w.wantUntouched(before)

			second := w.certificate("hello") // deletionPolicy Delete
			w.requests.reset()
			w.reconcileCertificate(second)

			w.wantReady(second, "True", v1alpha1.ReasonIssued, "")
			w.wantWrites("PATCH secrets", "PATCH mtlscertificates/status")
			w.wantOnlyChanged(before)
			if !metav1.IsControlledBy(w.secret("hello"), second) || second.UID == first.UID {
				t.Errorf("owners are %v", w.secret("hello").OwnerReferences)
			}
			if second.Status.Certificate.SerialNumber != first.Status.Certificate.SerialNumber {
				t.Error("status doesn't tell of the certificate that was taken over")
			}
			if events := w.told.take(); len(events) > 0 {
				t.Errorf("events: %q", events)
			}
			w.wantCertificateAtRest(second)
		})
	}
}

func TestACertificateMadeAnewWithAnotherSpecIssuesInItsOldSecret(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	first := w.issued("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	w.removeCertificate(first)
	second := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"other"} })
	w.reconcileCertificate(second)
	w.wantOneEvent("Normal "+v1alpha1.ReasonSpecChanged, `"other"`)
	w.soundLeaf("hello")
	w.wantCertificateAtRest(second)
}

func TestOfTwoCertificatesWithOneSecretTheFirstHasIt(t *testing.T) {
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete, v1alpha1.DeletionRetain} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			shared := func(c *v1alpha1.MTLSCertificate) {
				c.Spec.SecretName, c.Spec.DeletionPolicy = "shared", policy
			}
			first := w.issued("first", shared)
			before := w.secret("shared")
			second := w.certificate("second", shared)

			w.reconcileCertificate(second)

			w.wantReady(second, "False", v1alpha1.ReasonSecretConflict, `"shared"|MTLSCertificate "first"|secretName`)
			w.wantNoWrites(func() { w.reconcileCertificate(second) })
			w.wantUntouched(before)
			w.wantCertificateAtRest(first)

			w.removeCertificate(first)
			w.removeSecret("shared") // as the garbage collector does, or a person
			w.reconcileCertificate(second)
			w.wantReady(second, "True", v1alpha1.ReasonIssued, "")
			w.soundLeaf("shared")
			w.wantCertificateAtRest(second)
		})
	}
}

// removeCertificate deletes an MTLSCertificate and waits until the operator's cache sees it.
func (w *world) removeCertificate(certificate *v1alpha1.MTLSCertificate) {
	w.t.Helper()
	w.check(w.admin.Delete(w.ctx, certificate))
	w.eventually("the cache sees that the certificate is gone", func() bool {
		return w.client.Get(w.ctx, keyOf(certificate), &v1alpha1.MTLSCertificate{}) != nil
	})
}
