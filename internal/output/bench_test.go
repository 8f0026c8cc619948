package output_test

import (
	"testing"

	"github.com/mtls-operator/mtls-operator/internal/output"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// What is left of making a Secret once its certificate is signed.
func BenchmarkRender(b *testing.B) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyRSA2048} {
		b.Run(string(keyType), func(b *testing.B) {
			leaf := newLeaf(b, newCA(b), keyType, pki.EncodingPKCS8)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := output.Render(leaf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
