package controllers

import (
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// What needs another certificate when a Secret was edited is among the issueRows.
func TestWhatSomebodyDidToASecretIsUndoneWithoutAnotherCertificate(t *testing.T) {
	for _, test := range []struct {
		sentence string
		edit     func(*world, *corev1.Secret)
		data     []string // changed back
		since    bool     // the roots count as new: programs may have read the wrong ones
	}{
		{"ca.crt has another root", func(w *world, s *corev1.Secret) {
			s.Data["ca.crt"] = w.secret("other-ca-ca-1").Data["ca.crt"]
		}, []string{"ca.crt"}, true},
		{"ca.crt has one root too many", func(w *world, s *corev1.Secret) {
			s.Data["ca.crt"] = append(s.Data["ca.crt"], w.secret("other-ca-ca-1").Data["ca.crt"]...)
		}, []string{"ca.crt"}, true},
		{"ca.crt is garbage", func(_ *world, s *corev1.Secret) { s.Data["ca.crt"] = []byte("?") }, []string{"ca.crt"}, true},
		{"ca.crt is gone", func(_ *world, s *corev1.Secret) { delete(s.Data, "ca.crt") }, []string{"ca.crt"}, true},
		{"the generation label is another", func(_ *world, s *corev1.Secret) {
			s.Labels["mtls-operator.io/generation"] = "7"
		}, nil, false},
		{"the generation label is no number", func(_ *world, s *corev1.Secret) {
			s.Labels["mtls-operator.io/generation"] = "first"
		}, nil, false},
		{"the certificate annotation is gone", func(_ *world, s *corev1.Secret) {
			delete(s.Annotations, "mtls-operator.io/certificate")
		}, nil, false},
		{"the certificate annotation is another's", func(_ *world, s *corev1.Secret) {
			s.Annotations["mtls-operator.io/certificate"] = "other"
		}, nil, false},
		{"the hash of the roots is wrong", func(_ *world, s *corev1.Secret) {
			s.Annotations["mtls-operator.io/bundle-hash"] = "0"
		}, nil, false},
		{"the owner is gone", func(_ *world, s *corev1.Secret) { s.OwnerReferences = nil }, nil, false},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			w.authority("other-ca")
			certificate := w.issued("hello")
			right := w.secret("hello")
			w.later(time.Hour)
			w.editSecret("hello", func(s *corev1.Secret) { test.edit(w, s) })
			edited := w.secret("hello")
			w.requests.reset()

			w.reconcileCertificate(certificate)

			w.wantWrites("PATCH secrets")
			w.wantOnlyChanged(edited, test.data...)
			w.wantOnlyChanged(right)
			w.soundLeaf("hello")
			w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
			if events := w.told.take(); len(events) > 0 {
				t.Errorf("events: %q", events)
			}
			want := right.DeepCopy()
			if test.since {
				want.Annotations["mtls-operator.io/bundle-since"] = w.clock.Now().Format(time.RFC3339)
			}
			got := w.secret("hello")
			if !maps.Equal(got.Annotations, want.Annotations) || !maps.Equal(got.Labels, want.Labels) ||
				!equal(got.OwnerReferences, want.OwnerReferences) {
				t.Errorf("metadata is %+v\nwant %+v", got.ObjectMeta, want.ObjectMeta)
			}
			w.wantCertificateAtRest(certificate)
		})
	}
}

func TestALostFactIsRecordedAnew(t *testing.T) {
	for _, fact := range []string{"mtls-operator.io/bundle-since", "mtls-operator.io/issuer-since"} {
		for _, value := range []string{"", "yesterday"} {
			w := newWorld(t)
			w.authority("my-ca")
			certificate := w.issued("hello")
			w.later(time.Hour)
			w.editSecret("hello", func(s *corev1.Secret) { s.Annotations[fact] = value })
			w.reconcileCertificate(certificate)
			if got, want := w.secret("hello").Annotations[fact], w.clock.Now().Format(time.RFC3339); got != want {
				t.Errorf("%s is %q, want %q", fact, got, want)
			}
			w.wantCertificateAtRest(certificate)
		}
	}
}

func TestOurLabelIsPutBack(t *testing.T) {
	onBothPaths(t, func(t *testing.T, w *world) {
		w.authority("my-ca")
		certificate := w.issued("hello")
		before := w.secret("hello")
		w.editSecret("hello", func(s *corev1.Secret) { delete(s.Labels, "mtls-operator.io/generation") })
		w.requests.reset()

		if wait := w.reconcileCertificate(certificate).RequeueAfter; wait != conflictDelay {
			t.Errorf("the next pass is in %v", wait)
		}
		w.eventually("the cache has the Secret again", func() bool {
			return w.client.Get(w.ctx, keyOf(before), &corev1.Secret{}) == nil
		})
		w.reconcileCertificate(certificate)

		if label := w.secret("hello").Labels["mtls-operator.io/generation"]; label != "1" {
			t.Errorf("the label is %q", label)
		}
		w.wantOnlyChanged(before)
		w.soundLeaf("hello")
		w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
		w.wantCertificateAtRest(certificate)
	})
}

func TestALabelPutBackBecomesRightWhateverTheGeneration(t *testing.T) {
	w := newWorld(t)
	w.foreignSecret("my-ca-ca-1")
	w.authority("my-ca") // its first generation has number 2
	certificate := w.issued("hello")
	w.editSecret("hello", func(s *corev1.Secret) { delete(s.Labels, "mtls-operator.io/generation") })
	w.reconcileCertificate(certificate)
	w.reconcileCertificate(certificate)
	if label := w.secret("hello").Labels["mtls-operator.io/generation"]; label != "2" {
		t.Errorf("the label is %q", label)
	}
	if certificate.Status.Certificate.AuthorityGeneration != 2 {
		t.Errorf("status is %+v", certificate.Status.Certificate)
	}
	w.wantCertificateAtRest(certificate)
}

func TestASecretMadeImmutableIsToldOfAndHealedByDeletingIt(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello")
	w.editSecret("hello", func(s *corev1.Secret) { s.Immutable = new(true) })
	w.wantCertificateAtRest(certificate) // nothing to write yet

	before := w.secret("hello")
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"other"} })
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, "False", v1alpha1.ReasonSecretRejected,
		`the API server refuses Secret "hello"|immutable|delete it|keeps its certificate, valid until`)
	w.wantUntouched(before)
	w.wantNoWrites(func() { w.reconcileCertificate(certificate) }, "PATCH secrets")

	w.removeSecret("hello")
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
	if leaf := w.soundLeaf("hello"); leaf.DNSNames[0] != "other" {
		t.Errorf("names are %q", leaf.DNSNames)
	}
}

func TestAValidPairThatSomebodyElsePutThereStays(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello")
	spare := w.issued("spare")
	w.copyData("spare", "hello")

	w.reconcileCertificate(certificate)

	w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
	if certificate.Status.Certificate.SerialNumber != spare.Status.Certificate.SerialNumber {
		t.Error("status doesn't tell of the certificate that is there")
	}
	secret := w.secret("hello")
	hash := pki.PairHash(secret.Data["tls.crt"], secret.Data["tls.key"])
	if secret.Annotations["mtls-operator.io/pair-hash"] == hash {
		t.Error("the hash of the pair says that we wrote it")
	}
	w.wantCertificateAtRest(certificate)
}
