//go:build e2e

package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeExpired makes a Secret with the certificate and key of another, but for its time, which is over. Only the key of
// its CA can: no object of ours is short-lived enough to wait for.
func (s *scene) makeExpired(t *testing.T, name, authority, of string) {
	t.Helper()
	ca, model := s.secret(t, authority), s.secret(t, of)
	issuer, key := parsePair(t, ca)
	leaf, leafKey := parsePair(t, model)
	leaf.NotBefore, leaf.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, leafKey.Public(), key)
	must(t, err)
	data := model.Data
	data["tls.crt"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, cluster.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Data: data,
	}))
}

func parsePair(t *testing.T, secret *corev1.Secret) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	block, _ := pem.Decode(secret.Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	block, _ = pem.Decode(secret.Data["tls.key"])
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	return certificate, key.(crypto.Signer)
}
