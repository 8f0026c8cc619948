package controllers

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// foreignSecretsOf everybody else, by name.
var foreignSecretsOf = map[string]corev1.Secret{
	"a-persons":         {Data: map[string][]byte{"password": []byte("x")}},
	"a-persons-pair":    {Type: corev1.SecretTypeTLS, Data: tlsData},
	"that-is-immutable": {Data: map[string][]byte{"password": []byte("x")}, Immutable: new(true)},
	"helms": {
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"owner": "helm", "status": "deployed"}},
		Type:       "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("x")},
	},
	"of-a-registry": {Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{".dockercfg": []byte("{}")}},
	"of-another-operator": {
		ObjectMeta: metav1.ObjectMeta{
			Labels:          map[string]string{"controller.cert-manager.io/fao": "true"},
			Annotations:     map[string]string{"cert-manager.io/certificate-name": "web"},
			OwnerReferences: controlledBy("cert-manager.io/v1", "Certificate", "web"),
		},
		Type: corev1.SecretTypeTLS, Data: tlsData,
	},
	"with-our-label":               {ObjectMeta: metav1.ObjectMeta{Labels: ourLabel}, Data: tlsData},
	"with-our-label-and-a-pair":    {ObjectMeta: metav1.ObjectMeta{Labels: ourLabel}, Type: corev1.SecretTypeTLS, Data: tlsData},
	"with-our-label-and-no-number": {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.GenerationLabel: "x"}}},
	"with-both-our-labels": {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
		v1alpha1.GenerationLabel: "1", v1alpha1.AuthorityLabel: "my-ca",
	}}},
	"of-another-certificate": {
		ObjectMeta: metav1.ObjectMeta{
			Labels: ourLabel, Annotations: otherOnes,
			OwnerReferences: controlledBy(v1alpha1.GroupVersion.String(), "MTLSCertificate", "other"),
		},
		Type: corev1.SecretTypeTLS, Data: tlsData,
	},
	"retained-by-another": {
		ObjectMeta: metav1.ObjectMeta{Labels: ourLabel, Annotations: otherOnes}, Type: corev1.SecretTypeTLS, Data: tlsData,
	},
	"another-authoritys-ca-1": {
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			v1alpha1.GenerationLabel: "1", v1alpha1.AuthorityLabel: "another-authoritys",
		}},
		Type: v1alpha1.AuthoritySecretType,
	},
	"my-ca-ca-1": {Data: map[string][]byte{"password": []byte("of somebody who has the name of a CA")}},
}

// A whole life of the operator in a namespace full of other Secrets, each of them in the way of something.
func TestASecretOfSomebodyElseIsNeverWritten(t *testing.T) {
	onBothPaths(t, func(t *testing.T, w *world) {
		for name, secret := range foreignSecretsOf {
			secret := secret.DeepCopy()
			secret.Namespace, secret.Name = w.namespace, name
			w.check(w.admin.Create(w.ctx, secret))
			w.seesSecret(secret)
		}
		before := w.secretVersions()

		authority := w.authority("my-ca")
		w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 2")
		certificates := []*v1alpha1.MTLSCertificate{w.issued("web")}
		for _, name := range slices.Sorted(maps.Keys(foreignSecretsOf)) {
			if strings.HasSuffix(name, "-ca-1") {
				continue // a secretName that the schema refuses
			}
			certificate := w.certificate("wants-one", func(c *v1alpha1.MTLSCertificate) {
				c.Name, c.Spec.SecretName = "wants-"+name, name
			})
			w.reconcileCertificate(certificate)
			w.wantReady(certificate, "False", v1alpha1.ReasonSecretConflict, name)
			certificates = append(certificates, certificate)
		}
		for range 2 { // a process that has seen all that, and one that begins with it
			w.later(time.Hour)
			for _, certificate := range certificates {
				edit(w, certificate, func(c *v1alpha1.MTLSCertificate) {
					c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: w.clock.Now().String()}
				})
				w.reconcileCertificate(certificate)
			}
			w.reconcileAuthority(authority)
			foreign := w.certificates.foreign
			w.restart()
			if _, isBlind := foreign.(blind); isBlind {
				w.certificates.foreign = foreign
			}
		}
		for _, certificate := range certificates {
			w.removeCertificate(certificate)
			w.reconcileCertificate(certificate)
		}
		w.check(w.client.Delete(w.ctx, authority))
		w.reconcileAuthority(authority)
		w.wantNoSecret("my-ca-ca-2")

		after := w.secretVersions()
		delete(after, "web") // ours: the garbage collector would take it
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("Secrets of others (-before +after):\n%s", diff)
		}
	})
}
