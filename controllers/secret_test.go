package controllers

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func TestALeafSecretHasItsFactsFromTheStart(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.SecretName = "hello-tls" })
	w.requests.reset()
	w.reconcileCertificate(certificate)

	w.wantWrites("POST secrets", "PATCH mtlscertificates/status")
	secret, now := w.secret("hello-tls"), w.clock.Now().Format(time.RFC3339)
	leaf := w.soundLeaf("hello-tls") // looks at both hashes too
	if diff := cmp.Diff(map[string]string{"mtls-operator.io/generation": "1"}, secret.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	delete(secret.Annotations, "mtls-operator.io/pair-hash")
	delete(secret.Annotations, "mtls-operator.io/bundle-hash")
	want := map[string]string{
		"mtls-operator.io/certificate":  "hello",
		"mtls-operator.io/issued-by":    w.namespace + "/my-ca",
		"mtls-operator.io/bundle-since": now,
		"mtls-operator.io/issuer-since": now,
	}
	if diff := cmp.Diff(want, secret.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	owner := controlledBy("mtls-operator.io/v1alpha1", "MTLSCertificate", "hello")
	owner[0].UID = certificate.UID
	if diff := cmp.Diff(owner, secret.OwnerReferences); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if secret.Type != corev1.SecretTypeTLS || len(secret.Data) != 3 {
		t.Errorf("type %q with %d keys", secret.Type, len(secret.Data))
	}
	if len(secret.Finalizers) > 0 || secret.Immutable != nil {
		t.Errorf("finalizers %q, immutable %v", secret.Finalizers, secret.Immutable)
	}
	ca := w.secret("my-ca-ca-1")
	if !bytes.Equal(secret.Data["ca.crt"], ca.Data["tls.crt"]) {
		t.Error("ca.crt isn't the root")
	}
	status := certificate.Status
	if status.SecretName != "hello-tls" || !status.Expires.Equal(&status.Certificate.NotAfter) ||
		!slices.Equal(status.Certificate.DNSNames, leaf.DNSNames) || status.Certificate.AuthorityGeneration != 1 {
		t.Errorf("status is %+v", status)
	}
}

func TestAGenerationSecretHasItsFactsFromTheStart(t *testing.T) {
	w := newWorld(t)
	w.authority("maker")
	w.foreignCopy("maker-ca-1", "walk-through")
	for _, test := range []struct {
		sentence string
		spec     func(*v1alpha1.MTLSAuthority)
		cause    string // its ID
	}{
		{"made here", func(*v1alpha1.MTLSAuthority) {}, ""},
		{"imported", imports("walk-through"), fingerprint(t, w.secret("walk-through"))},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			name := test.sentence[:4] + "-x"
			w.requests.reset()
			authority := w.authority(name, test.spec)

			w.wantWrites("POST mtlsauthorities", "PATCH mtlsauthorities", "POST secrets", "PATCH mtlsauthorities/status")
			secret := w.secret(name + "-ca-1")
			labels := map[string]string{"mtls-operator.io/authority": name, "mtls-operator.io/generation": "1"}
			if diff := cmp.Diff(labels, secret.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			want := map[string]string{
				"mtls-operator.io/cause":        "Initial",
				"mtls-operator.io/spec-hash":    secret.Annotations["mtls-operator.io/spec-hash"],
				"mtls-operator.io/activated-at": w.clock.Now().Format(time.RFC3339),
				"mtls-operator.io/pair-hash":    pki.PairHash(secret.Data["tls.crt"], secret.Data["tls.key"]),
			}
			if test.cause != "" {
				want["mtls-operator.io/cause-id"] = test.cause
			}
			if diff := cmp.Diff(want, secret.Annotations); diff != "" || len(want["mtls-operator.io/spec-hash"]) < 64 {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if secret.Type != "mtls-operator.io/ca" || secret.Immutable == nil || !*secret.Immutable ||
				!slices.Equal(secret.Finalizers, []string{"mtls-operator.io/ca-key"}) || len(secret.OwnerReferences) > 0 {
				t.Errorf("type %q, immutable %v, finalizers %q, owners %v",
					secret.Type, secret.Immutable, secret.Finalizers, secret.OwnerReferences)
			}
			generations := authority.Status.Generations
			if len(generations) != 1 || generations[0].SecretName != name+"-ca-1" || generations[0].Role != "Signing" ||
				generations[0].FingerprintSHA256 != fingerprint(t, secret) || generations[0].Number != 1 {
				t.Errorf("generations in status: %+v", generations)
			}
		})
	}
}

func fingerprint(t *testing.T, secret *corev1.Secret) string {
	t.Helper()
	certificates, err := pki.ParseCertificates(secret.Data["tls.crt"])
	if err != nil {
		t.Fatal(err)
	}
	return pki.Fingerprint(certificates[0])
}

func TestANameThatIsTakenGivesTheNextNumber(t *testing.T) {
	w := newWorld(t)
	before := w.foreignSecret("my-ca-ca-1")
	authority := w.authority("my-ca")

	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	w.wantOneEvent("Warning "+v1alpha1.ReasonCASecretConflict, `Secret "my-ca-ca-1" exists and isn't a CA|left alone`)
	w.wantUntouched(before)
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })

	certificate := w.issued("hello")
	w.soundLeaf("hello")
	if certificate.Status.Certificate.AuthorityGeneration != 2 {
		t.Errorf("status: %+v", certificate.Status.Certificate)
	}
	if label := w.secret("hello").Labels["mtls-operator.io/generation"]; label != "2" {
		t.Errorf("the label says generation %q", label)
	}
	w.wantCertificateAtRest(certificate)
}

func TestASecretTemplateIsKept(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.SecretTemplate = &v1alpha1.SecretTemplate{
			Labels:      map[string]v1alpha1.LabelValue{"team": "shop", "app.kubernetes.io/part-of": "x"},
			Annotations: map[string]v1alpha1.AnnotationValue{"example.com/note": "hi"},
		}
	})
	w.editSecret("hello", func(s *corev1.Secret) {
		s.Labels["theirs"], s.Annotations["example.com/theirs"] = "stays", "stays"
		s.Labels["team"] = "drifted"
		delete(s.Annotations, "example.com/note")
	})
	for _, step := range []struct {
		sentence            string
		template            *v1alpha1.SecretTemplate
		labels, annotations map[string]string // without ours
	}{
		{
			"drift is repaired, and what others added stays", certificate.Spec.SecretTemplate,
			map[string]string{"team": "shop", "app.kubernetes.io/part-of": "x", "theirs": "stays"},
			map[string]string{"example.com/note": "hi", "example.com/theirs": "stays"},
		},
		{
			"what is taken from the template is taken from the Secret",
			&v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"team": "cart"}},
			map[string]string{"team": "cart", "theirs": "stays"},
			map[string]string{"example.com/theirs": "stays"},
		},
		{
			"the same labels with another annotation",
			&v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{"example.com/theirs": "ours"}},
			map[string]string{"theirs": "stays"},
			map[string]string{"example.com/theirs": "ours"},
		},
		{
			"without a template nothing of it is left", nil,
			map[string]string{"theirs": "stays"},
			map[string]string{},
		},
	} {
		edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.SecretTemplate = step.template })
		before := w.secret("hello")
		w.requests.reset()

		w.reconcileCertificate(certificate)

		w.soundLeaf("hello")
		w.wantOnlyChanged(before)
		if writes := w.requests.writes(); len(writes) == 0 || writes[0] != "PATCH secrets" {
			t.Errorf("%s: writes are %q", step.sentence, writes)
		}
		secret := w.secret("hello")
		for _, compare := range []struct{ got, want map[string]string }{
			{withoutOurs(secret.Labels), step.labels}, {withoutOurs(secret.Annotations), step.annotations},
		} {
			if diff := cmp.Diff(compare.want, compare.got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.sentence, diff)
			}
		}
		w.wantCertificateAtRest(certificate)
	}
	if _, found := w.secret("hello").Annotations["mtls-operator.io/template-keys"]; found {
		t.Error("the record of a template that is no more is left")
	}
}

func withoutOurs(all map[string]string) map[string]string {
	theirs := map[string]string{}
	for key, value := range all {
		if len(key) < 17 || key[:17] != "mtls-operator.io/" {
			theirs[key] = value
		}
	}
	return theirs
}
