package controllers

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// retained makes a certificate and deletes it: its Secret stays.
func (w *world) retained(name string) *corev1.Secret {
	w.t.Helper()
	certificate := w.issued(name, func(c *v1alpha1.MTLSCertificate) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	edit(w, w.secret(name), func(s *corev1.Secret) {
		s.Annotations[v1alpha1.IssuedByAnnotation] = w.namespace + "/my-ca"
	})
	w.check(w.client.Delete(w.ctx, certificate))
	return w.secret(name)
}

// wantRoots checks that a Secret has these roots since a time, and that all the rest of it is as before.
func (w *world) wantRoots(before *corev1.Secret, bundle pki.Bundle, since time.Time) {
	w.t.Helper()
	after := w.secret(before.Name)
	if !bytes.Equal(after.Data["ca.crt"], bundle.PEM()) {
		w.t.Errorf("roots are %q", after.Data["ca.crt"])
	}
	want := before.DeepCopy()
	want.Data["ca.crt"] = bundle.PEM()
	want.Annotations["mtls-operator.io/bundle-hash"] = bundle.Hash()
	want.Annotations["mtls-operator.io/bundle-since"] = since.Format(time.RFC3339)
	want.ResourceVersion, want.ManagedFields = after.ResourceVersion, after.ManagedFields
	if diff := cmp.Diff(want, after); diff != "" {
		w.t.Errorf("the Secret (-want +got):\n%s", diff)
	}
}

func TestASecretThatOutlivedItsCertificateGetsOtherRoots(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca")
	secret := w.retained("hello")
	w.wantTrustAtRest(authority)

	more, now := w.withAnotherRoot(authority), w.afterwards(time.Hour)
	w.requests.reset()
	w.delivers(authority, more)
	w.wantWrites("PATCH secrets")
	w.wantRoots(secret, more, now)
	w.afterwards(time.Hour)
	w.requests.reset()
	w.delivers(authority, more)
	w.wantWrites()
	w.wantRoots(secret, more, now)

	edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("x") })
	now = w.afterwards(time.Hour)
	w.delivers(authority, more)
	w.wantRoots(secret, more, now)
}

func TestOnlySecretsThatOutlivedTheirCertificateGetOtherRoots(t *testing.T) {
	for sentence, change := range map[string]func(*world){
		"one that has its certificate again": func(w *world) {
			w.certificate("again", func(c *v1alpha1.MTLSCertificate) { c.Spec.SecretName = "hello" })
		},
		"one whose certificate ended": func(w *world) {
			w.clock.SetTime(w.leaf("hello").NotAfter.Add(time.Second))
		},
		"one of another authority": func(w *world) {
			edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Annotations[v1alpha1.IssuedByAnnotation] = w.namespace + "/other" })
		},
		"one with a certificate that the authority didn't sign": func(w *world) {
			w.authority("other")
			w.issued("other", func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "other" })
			other := w.secret("other")
			edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Data = other.Data })
		},
		"one that can't be read": func(w *world) {
			edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("x") })
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := onlyTrust(t)
			authority := w.authority("my-ca")
			w.retained("hello")
			change(w)
			before := w.secret("hello")
			more := w.withAnotherRoot(authority)
			w.delivers(authority, more)
			w.wantUntouched(before)
			consumers, err := w.trust.trustConsumers(w.ctx, authority, lineageOnly(w.roots(authority)), more)
			w.check(err)
			if len(consumers) > 0 {
				t.Errorf("consumers are %v", consumers)
			}
		})
	}
}

func TestASecretThatWasMadeImmutableIsAProblem(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca")
	w.retained("hello")
	w.told.take()
	edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Immutable = new(true) })
	more := w.withAnotherRoot(authority)
	result := w.delivers(authority, more)
	w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected, `Secret "`+w.namespace+`/hello"`, "immutable")
	w.wantEvents("Warning " + v1alpha1.ReasonTrustBundleRejected)
	if result.RequeueAfter != rejectedDelay {
		t.Errorf("it is tried again after %s", result.RequeueAfter)
	}
	w.requests.reset()
	w.delivers(authority, more)
	w.wantWrites()
	w.wantEvents()
}
