package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Every Secret of ours goes through this when the operator starts, and each time it changes.
func BenchmarkDropKey(b *testing.B) {
	data, err := generationData(newCA(b, "my-ca", time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	secret := corev1.Secret{Data: data}
	secret.Annotations = map[string]string{
		v1alpha1.PairHashAnnotation: pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey]),
	}
	b.ReportAllocs()
	for b.Loop() {
		received := secret
		if _, err := dropKey(&received); err != nil {
			b.Fatal(err)
		}
	}
}
