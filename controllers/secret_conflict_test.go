package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// conflictRow is a Secret "hello" that isn't certificate "hello"'s.
type conflictRow struct {
	sentence string
	secret   corev1.Secret
	message  string
}

var (
	ourLabel  = map[string]string{"mtls-operator.io/generation": "1"}
	tlsData   = map[string][]byte{"tls.crt": {}, "tls.key": {}}
	otherOnes = map[string]string{"mtls-operator.io/certificate": "other"}
	helloOnes = map[string]string{"mtls-operator.io/certificate": "hello"}
)

func controlledBy(apiVersion, kind, name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: apiVersion, Kind: kind, Name: name, UID: "3f0a2a5c-0000-4000-8000-000000000000", Controller: new(true),
	}}
}

var conflictRows = []conflictRow{
	{
		"a person made it",
		corev1.Secret{Data: map[string][]byte{"password": []byte("of somebody else")}},
		"wasn't made by this operator",
	},
	{
		"a person made it, with our label",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: ourLabel}, Type: "kubernetes.io/tls", Data: tlsData},
		"wasn't made by this operator",
	},
	{
		"another certificate has it",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Labels: ourLabel, Annotations: otherOnes,
			OwnerReferences: controlledBy("mtls-operator.io/v1alpha1", "MTLSCertificate", "other"),
		}, Type: "kubernetes.io/tls", Data: tlsData},
		`belongs to MTLSCertificate "other"`,
	},
	{
		"another certificate retained it",
		corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Labels: ourLabel, Annotations: otherOnes},
			Type:       "kubernetes.io/tls", Data: tlsData,
		},
		`MTLSCertificate "other"`,
	},
	{
		"something else controls it",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			OwnerReferences: controlledBy("example.com/v1", "Vault", "hello"), Annotations: helloOnes,
		}, Type: "kubernetes.io/tls", Data: tlsData},
		`belongs to Vault "hello"`,
	},
	{
		"a kind of the same name in another group controls it",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			OwnerReferences: controlledBy("mtls-operator.example.com/v1", "MTLSCertificate", "hello"),
		}, Type: "kubernetes.io/tls", Data: tlsData},
		`belongs to MTLSCertificate "hello"`,
	},
	{
		"it is ours but for its type",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: ourLabel, Annotations: helloOnes}},
		`has type "Opaque"`,
	},
	{
		"it is a CA",
		corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: ourLabel}, Type: "mtls-operator.io/ca"},
		"wasn't made by this operator",
	},
}

func TestASecretInTheWayIsLeftAlone(t *testing.T) {
	for _, row := range conflictRows {
		t.Run(row.sentence, func(t *testing.T) {
			onBothPaths(t, func(_ *testing.T, w *world) {
				w.authority("my-ca")
				secret := row.secret.DeepCopy()
				secret.Namespace, secret.Name = w.namespace, "hello"
				w.check(w.admin.Create(w.ctx, secret))
				w.seesSecret(secret)
				before := w.secret("hello")
				certificate := w.certificate("hello")
				message := `Secret "hello" exists and |` + row.message + "|It is left alone: delete it|secretName"

				w.reconcileCertificate(certificate)

				w.wantReady(certificate, "False", v1alpha1.ReasonSecretConflict, message)
				w.wantCondition(certificate, "Stalled", "True", v1alpha1.ReasonSecretConflict, message)
				w.wantOneEvent("Warning "+v1alpha1.ReasonSecretConflict, message)
				w.wantUntouched(before)
				w.wantNoWrites(func() { w.reconcileCertificate(certificate) }, "POST secrets")
				w.wantUntouched(before)

				w.check(w.admin.Delete(w.ctx, before))
				w.missesSecret("hello")
				w.reconcileCertificate(certificate)
				w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
				w.soundLeaf("hello")
			})
		})
	}
}

// seesSecret waits until the operator's caches have a Secret; those of foreign ones, if they aren't blind.
func (w *world) seesSecret(secret *corev1.Secret) {
	w.t.Helper()
	if secret.Labels["mtls-operator.io/generation"] == "" {
		w.seesForeign(secret.Name)
		return
	}
	w.eventually("the cache has the Secret", func() bool {
		return w.client.Get(w.ctx, keyOf(secret), &corev1.Secret{}) == nil
	})
}

// missesSecret waits until no cache has a Secret.
func (w *world) missesSecret(name string) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.eventually("no cache has the Secret", func() bool {
		return w.client.Get(w.ctx, keyOf(secret), secret.DeepCopy()) != nil &&
			w.foreign.Get(w.ctx, keyOf(secret), secretMetadata()) != nil
	})
}
