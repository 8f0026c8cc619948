// Package output renders what was issued into the data of a Secret: pure, and the same bytes for the same input.
package output

import (
	"crypto"
	"crypto/x509"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Leaf is an issued certificate with all that goes with it.
type Leaf struct {
	Certificate *x509.Certificate
	// Sent are the intermediates that follow it.
	Sent     []*x509.Certificate
	Key      crypto.Signer
	Encoding pki.KeyEncoding
	Bundle   pki.Bundle
}

// Render returns the data of a Secret of type kubernetes.io/tls: all of it, since kubelet changes the files of one Secret
// together.
func Render(leaf Leaf) (map[string][]byte, error) {
	key, err := pki.EncodeKey(leaf.Key, leaf.Encoding)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		v1alpha1.CertificateKey: pki.EncodeCertificates(append([]*x509.Certificate{leaf.Certificate}, leaf.Sent...)...),
		v1alpha1.PrivateKeyKey:  key,
		v1alpha1.BundleKey:      leaf.Bundle.PEM(),
	}, nil
}
