package plan

import (
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// KeyState is what is known of the private key of a Secret after the key itself was dropped: its encoding when it fits
// the certificate, or what is wrong with it.
type KeyState string

// States of a key. A KeyState that is none of these is the pki.KeyEncoding of a key that fits.
const (
	KeyMissing   KeyState = "missing"
	KeyMalformed KeyState = "malformed"
	KeyMismatch  KeyState = "mismatch"
)

// Encoding of the key, and whether it fits its certificate.
func (s KeyState) Encoding() (pki.KeyEncoding, bool) {
	switch s {
	case KeyMissing, KeyMalformed, KeyMismatch, "":
		return "", false
	default:
		return pki.KeyEncoding(s), true
	}
}

// ObserveKey looks at the pair in the data of a Secret. writtenHash is the pki.PairHash the Secret says it was written
// with: when it is right nothing is parsed, since a pair is checked before it is written. This runs for every Secret that
// enters the cache, one after the other.
func ObserveKey(data map[string][]byte, writtenHash string) KeyState {
	certificate, key := data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey]
	if len(key) == 0 {
		return KeyMissing
	}
	if encoding, known := pki.EncodingOf(key); known && pki.PairHash(certificate, key) == writtenHash {
		return KeyState(encoding)
	}
	signer, encoding, err := pki.ParseKey(key)
	if err != nil {
		return KeyMalformed
	}
	certificates, err := pki.ParseCertificates(certificate)
	if err != nil {
		return KeyMismatch // whatever is in there, it isn't the key's
	}
	if !pki.SameKey(signer.Public(), certificates[0].PublicKey) {
		return KeyMismatch
	}
	return KeyState(encoding)
}

// LeafSecret is what was observed of the Secret of a certificate.
type LeafSecret struct {
	Certificate []byte // tls.crt
	Bundle      []byte // ca.crt
	Key         KeyState
	// RenewServed is the renewal token that was served last.
	RenewServed string
	// BundleSince and IssuerSince are facts recorded in the Secret; zero when they are missing or unreadable.
	BundleSince, IssuerSince time.Time
}
