package controllers

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// state describes all objects of the namespace so that two states can be compared in which the same happened: keys,
// serial numbers and all that follows from these is replaced by what it ought to be, or left as it is when it isn't. before
// are the Secrets that there were: whether their keys and certificates were kept is told.
func (w *world) state(before []corev1.Secret) map[string]any {
	w.t.Helper()
	authorities, certificates := &v1alpha1.MTLSAuthorityList{}, &v1alpha1.MTLSCertificateList{}
	w.check(w.admin.List(w.ctx, authorities, client.InNamespace(w.namespace)))
	w.check(w.admin.List(w.ctx, certificates, client.InNamespace(w.namespace)))
	secrets := w.allSecrets()

	random := []string{w.namespace, "<namespace>"}
	objects := map[string]client.Object{}
	for i := range authorities.Items {
		objects["authority "+authorities.Items[i].Name] = &authorities.Items[i]
	}
	for i := range certificates.Items {
		objects["certificate "+certificates.Items[i].Name] = &certificates.Items[i]
		// It follows from the UID.
		if issued := certificates.Items[i].Status.Certificate; issued != nil && issued.RenewalTime != nil {
			random = append(random, issued.RenewalTime.UTC().Format(time.RFC3339), "<renewal time>")
		}
	}
	for name, object := range objects {
		random = append(random, string(object.GetUID()), "<UID of "+name+">")
	}
	for i := range secrets {
		objects["Secret "+secrets[i].Name] = &secrets[i]
		random = append(random, randomOf(&secrets[i])...)
		describeData(&secrets[i], before)
	}
	replace := strings.NewReplacer(random...)
	state := map[string]any{}
	for name, object := range objects {
		object.SetResourceVersion("")
		object.SetUID("")
		object.SetManagedFields(nil)
		object.SetCreationTimestamp(metav1.Time{})
		text, err := json.Marshal(object)
		w.check(err)
		var tree any
		w.check(json.Unmarshal([]byte(replace.Replace(string(text))), &tree))
		state[name] = tree
	}
	return state
}

// randomOf are the texts that follow from the keys of a Secret, each with a name for it.
func randomOf(secret *corev1.Secret) []string {
	certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey])
	if err != nil {
		return nil
	}
	var all []string
	if endorsement := secret.Annotations[v1alpha1.EndorsedByAnnotation]; endorsement != "" {
		all = append(all, endorsement, "<endorsement of "+secret.Name+">")
	}
	for name, text := range map[string]string{
		"serial number": pki.SerialNumber(certificates[0]),
		"fingerprint":   pki.Fingerprint(certificates[0]),
		"key ID":        hex.EncodeToString(certificates[0].SubjectKeyId),
		"pair hash":     pki.PairHash(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey]),
	} {
		all = append(all, text, "<"+name+" of "+secret.Name+">")
	}
	if roots, err := pki.ParseCertificates(secret.Data[v1alpha1.BundleKey]); err == nil {
		all = append(all, pki.NewBundle(roots...).Hash(), "<bundle hash>")
	}
	return all
}

// describeData replaces the data of a Secret by words about it.
func describeData(secret *corev1.Secret, before []corev1.Secret) {
	described := map[string]string{"problem": inconsistency(secret)}
	for key, value := range secret.Data {
		described[key] = "new"
		for i := range before {
			if before[i].Name == secret.Name && bytes.Equal(before[i].Data[key], value) {
				described[key] = "kept"
			}
		}
	}
	if certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey]); err == nil {
		leaf := certificates[0]
		described["certificate"] = fmt.Sprintf("%s of %s for %q from %s to %s", pki.SubjectText(leaf), leaf.Issuer, leaf.DNSNames,
			leaf.NotBefore, leaf.NotAfter)
	}
	secret.Data, secret.StringData = nil, described
}

// wantConsistentSecrets checks that the key of every Secret of the namespace is its certificate's and that its roots verify
// it, unless a test spoiled these.
func (w *world) wantConsistentSecrets() {
	w.t.Helper()
	for _, secret := range w.allSecrets() {
		if problem := inconsistency(&secret); problem != "" {
			w.t.Errorf("Secret %q: %s", secret.Name, problem)
		}
	}
}

// inconsistency tells what is wrong with the pair and the roots of a Secret, nothing when it can be used.
func inconsistency(secret *corev1.Secret) string {
	certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey])
	if err != nil {
		return err.Error()
	}
	key, _, err := pki.ParseKey(secret.Data[v1alpha1.PrivateKeyKey])
	if err != nil {
		return err.Error()
	}
	if !pki.SameKey(key.Public(), certificates[0].PublicKey) {
		return fmt.Sprintf("the key isn't that of %s", pki.SubjectText(certificates[0]))
	}
	roots, err := pki.ParseCertificates(secret.Data[v1alpha1.BundleKey])
	if err != nil {
		return "" // an imported pair has none, or a test spoiled them
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err = certificates[0].Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: intermediates,
		CurrentTime:   certificates[0].NotBefore,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err.Error()
	}
	return ""
}
