package plan_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// pair is the data of a Secret with a certificate for the key, and the hash it says it was written with.
func pair(t testing.TB, keyType pki.KeyType, encoding pki.KeyEncoding) (map[string][]byte, string) {
	t.Helper()
	key := keyOf(t, keyType)
	ca := newCA(t, year, noon)
	leaf, err := ca.Sign(wishOf(t).Request, key.Public(), ca.Issuer().LeafValidity(noon, day), ca.Issuer().Bundle())
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := pki.EncodeKey(key, encoding)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{v1alpha1.CertificateKey: pki.EncodeCertificates(leaf), v1alpha1.PrivateKeyKey: encoded}
	return data, pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey])
}

func TestAPairThatFitsIsToldByItsEncoding(t *testing.T) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyECDSAP384, pki.KeyRSA2048, pki.KeyED25519} {
		for _, encoding := range []pki.KeyEncoding{pki.EncodingPKCS8, pki.EncodingPKCS1} {
			if keyType == pki.KeyED25519 && encoding == pki.EncodingPKCS1 {
				continue // there is none
			}
			t.Run(string(keyType)+" in "+string(encoding), func(t *testing.T) {
				data, hash := pair(t, keyType, encoding)
				for sentence, written := range map[string]string{
					"with its hash": hash, "without a hash": "", "with another hash": strings.Repeat("0", len(hash)),
				} {
					state := plan.ObserveKey(data, written)
					if got, fits := state.Encoding(); !fits || got != encoding {
						t.Errorf("%s: got %q, want %s", sentence, state, encoding)
					}
				}
			})
		}
	}
}

func TestTheStateOfAKey(t *testing.T) {
	good, hash := pair(t, pki.KeyECDSAP256, pki.EncodingPKCS8)
	other, _ := pair(t, pki.KeyED25519, pki.EncodingPKCS8)
	traditional, _ := pair(t, pki.KeyECDSAP256, pki.EncodingPKCS1)
	for sentence, c := range map[string]struct {
		key, certificate []byte // nil: the good one
		want             plan.KeyState
	}{
		"empty":                              {[]byte{}, nil, plan.KeyMissing},
		"no PEM":                             {[]byte("secret"), nil, plan.KeyMalformed},
		"white space":                        {[]byte("\n"), nil, plan.KeyMalformed},
		"cut off":                            {good[v1alpha1.PrivateKeyKey][:80], nil, plan.KeyMalformed},
		"of another type":                    {other[v1alpha1.PrivateKeyKey], nil, plan.KeyMismatch},
		"encrypted":                          {encrypted(t), nil, plan.KeyMalformed},
		"encrypted, by its type":             {retyped(t, good, "ENCRYPTED PRIVATE KEY"), nil, plan.KeyMalformed},
		"a certificate":                      {good[v1alpha1.CertificateKey], nil, plan.KeyMalformed},
		"there twice":                        {append(clone(good), good[v1alpha1.PrivateKeyKey]...), nil, plan.KeyMalformed},
		"right, beside no certificate":       {nil, []byte{}, plan.KeyMismatch},
		"right, beside a damaged one":        {nil, good[v1alpha1.CertificateKey][:100], plan.KeyMismatch},
		"right, beside another's":            {nil, other[v1alpha1.CertificateKey], plan.KeyMismatch},
		"right, in its other form":           {traditional[v1alpha1.PrivateKeyKey], nil, "PKCS1"},
		"right, with a comment before it":    {append([]byte("my key\n"), good[v1alpha1.PrivateKeyKey]...), nil, "PKCS8"},
		"right, with Windows' ends of lines": {[]byte(strings.ReplaceAll(string(clone(good)), "\n", "\r\n")), nil, "PKCS8"},
	} {
		t.Run(sentence, func(t *testing.T) {
			data := maps.Clone(good)
			if c.key != nil {
				data[v1alpha1.PrivateKeyKey] = c.key
			}
			if c.certificate != nil {
				data[v1alpha1.CertificateKey] = c.certificate
			}
			// The hash is that of the good pair: an edited one doesn't pass for it.
			if got := plan.ObserveKey(data, hash); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			_, fits := c.want.Encoding()
			if got, _ := c.want.Encoding(); fits != (got != "") {
				t.Errorf("%q fits: %t, with encoding %q", c.want, fits, got)
			}
		})
	}
	if got := plan.ObserveKey(nil, hash); got != plan.KeyMissing {
		t.Errorf("without data: %q, want %q", got, plan.KeyMissing)
	}
	if _, fits := plan.KeyState("").Encoding(); fits {
		t.Error("a key nobody looked at fits")
	}
}

// A cache of 10,000 Secrets is filled without parsing a key: what has its hash may be anything.
func TestAPairWithItsHashIsNotParsed(t *testing.T) {
	data := map[string][]byte{
		v1alpha1.CertificateKey: []byte("not a certificate"),
		v1alpha1.PrivateKeyKey:  []byte("-----BEGIN PRIVATE KEY-----\nnot a key"),
	}
	hash := pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey])
	if got := plan.ObserveKey(data, hash); got != "PKCS8" {
		t.Errorf("got %q, want PKCS8 without a look", got)
	}
	if got := plan.ObserveKey(data, ""); got != plan.KeyMalformed {
		t.Errorf("without its hash: %q, want %q", got, plan.KeyMalformed)
	}
	// A hash doesn't make a key of what the operator never writes.
	data[v1alpha1.PrivateKeyKey] = []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nnot a key")
	hash = pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey])
	if got := plan.ObserveKey(data, hash); got != plan.KeyMalformed {
		t.Errorf("an encrypted key with its hash: %q, want %q", got, plan.KeyMalformed)
	}
}

func clone(data map[string][]byte) []byte {
	return append([]byte(nil), data[v1alpha1.PrivateKeyKey]...)
}

// retyped writes the key's PEM block as another type.
func retyped(t testing.TB, data map[string][]byte, blockType string) []byte {
	t.Helper()
	block, _ := pem.Decode(data[v1alpha1.PrivateKeyKey])
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: block.Bytes})
}

// encrypted is a key as "openssl ec -aes256" wrote it for a long time.
func encrypted(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,0123456789ABCDEF0123456789ABCDEF"}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: headers, Bytes: der})
}
