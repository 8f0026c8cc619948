package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestWhatAPassWroteIsNoNews(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("a")
	news := w.certificates.echoes.news()
	first := w.secret("a")
	if news.Create(event.CreateEvent{Object: first}) {
		t.Error("the Secret that a pass made wakes its certificate")
	}
	if !news.Update(event.UpdateEvent{ObjectOld: first, ObjectNew: first}) {
		t.Error("the same version, told once more, wakes nobody: a look at everything now and then would find nothing")
	}

	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "example.com") })
	w.reconcileCertificate(certificate)
	second := w.secret("a")
	if news.Update(event.UpdateEvent{ObjectOld: first, ObjectNew: second}) {
		t.Error("the Secret that a pass patched wakes its certificate")
	}

	third := w.renewed(certificate)
	edited := third.DeepCopy()
	edit(w, edited, func(s *corev1.Secret) { s.Data[v1alpha1.CertificateKey] = []byte("mine") })
	if !news.Update(event.UpdateEvent{ObjectOld: second, ObjectNew: edited}) {
		t.Error("what a person wrote after a pass wakes nobody")
	}
	fourth := w.renewed(certificate)
	if !news.Delete(event.DeleteEvent{Object: fourth}) {
		t.Error("that it was deleted wakes nobody")
	}
	if left := len(w.certificates.echoes.written); left > 0 {
		t.Errorf("%d versions are remembered of no Secret", left)
	}
}

// renewed issues a certificate again and returns its Secret.
func (w *world) renewed(certificate *v1alpha1.MTLSCertificate) *corev1.Secret {
	w.t.Helper()
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: w.secret(c.Name).ResourceVersion}
	})
	w.reconcileCertificate(certificate)
	return w.secret(certificate.Name)
}
