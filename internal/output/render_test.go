package output_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/internal/output"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

var (
	keysLock sync.Mutex
	keys     = map[pki.KeyType]crypto.Signer{}
)

// keyOf returns the one key there is for a type: RSA keys take their time.
func keyOf(t testing.TB, keyType pki.KeyType) crypto.Signer {
	t.Helper()
	keysLock.Lock()
	defer keysLock.Unlock()
	if keys[keyType] == nil {
		key, err := pki.GenerateKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		keys[keyType] = key
	}
	return keys[keyType]
}

func newCA(t testing.TB) *pki.Authority {
	t.Helper()
	request, err := pki.NewAuthorityRequest(pki.AuthorityFields{
		Subject: pki.Subject{CommonName: "my-ca"}, KeyType: pki.KeyECDSAP256, Duration: 24 * time.Hour, Generation: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.SelfSign(request, noon)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newLeaf is a certificate of the CA with all that goes with it.
func newLeaf(t testing.TB, ca *pki.Authority, keyType pki.KeyType, encoding pki.KeyEncoding) output.Leaf {
	t.Helper()
	key := keyOf(t, keyType)
	request, err := pki.NewRequest(pki.Names{DNSNames: []string{"localhost"}}, []pki.Usage{pki.UsageServer})
	if err != nil {
		t.Fatal(err)
	}
	issuer := ca.Issuer()
	leaf, err := ca.Sign(request, key.Public(), issuer.LeafValidity(noon, time.Hour), issuer.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	return output.Leaf{Certificate: leaf, Sent: issuer.Sent(), Key: key, Encoding: encoding, Bundle: issuer.Bundle()}
}

func render(t testing.TB, leaf output.Leaf) map[string][]byte {
	t.Helper()
	data, err := output.Render(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEveryKeyInEveryEncodingMakesASecretThatWorks(t *testing.T) {
	ca := newCA(t)
	for _, keyType := range pki.KeyTypes() {
		for _, encoding := range []pki.KeyEncoding{pki.EncodingPKCS8, pki.EncodingPKCS1} {
			if keyType == pki.KeyED25519 && encoding == pki.EncodingPKCS1 {
				continue // there is none: see below
			}
			t.Run(string(keyType)+" in "+string(encoding), func(t *testing.T) {
				leaf := newLeaf(t, ca, keyType, encoding)
				data := render(t, leaf)
				want := []string{"ca.crt", "tls.crt", "tls.key"}
				if diff := cmp.Diff(want, slices.Sorted(maps.Keys(data))); diff != "" {
					t.Error(diff)
				}
				pair, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
				if err != nil {
					t.Fatalf("a server cannot load it: %v", err)
				}
				roots := x509.NewCertPool()
				if !roots.AppendCertsFromPEM(data["ca.crt"]) {
					t.Fatal("ca.crt has no roots")
				}
				options := x509.VerifyOptions{Roots: roots, CurrentTime: noon, DNSName: "localhost"}
				if _, err := pair.Leaf.Verify(options); err != nil {
					t.Errorf("a client refuses it: %v", err)
				}
				if got, _ := pki.EncodingOf(data["tls.key"]); got != encoding {
					t.Errorf("the key is in %s", got)
				}
			})
		}
	}
}

func TestTheSameLeafMakesTheSameBytes(t *testing.T) {
	leaf := newLeaf(t, newCA(t), pki.KeyECDSAP256, pki.EncodingPKCS8)
	leaf.Bundle = leaf.Bundle.Union(newCA(t).Issuer().Bundle())
	if diff := cmp.Diff(render(t, leaf), render(t, leaf)); diff != "" {
		t.Error(diff)
	}
}

func TestIntermediatesFollowTheLeafAndRootsDoNot(t *testing.T) {
	ca := newCA(t)
	leaf := newLeaf(t, ca, pki.KeyECDSAP256, pki.EncodingPKCS8)
	alone := render(t, leaf)
	if !bytes.Equal(alone["tls.crt"], pki.EncodeCertificates(leaf.Certificate)) {
		t.Errorf("tls.crt of a leaf of a root isn't the leaf alone:\n%s", alone["tls.crt"])
	}
	first, second := newCA(t).Issuer().Certificate(), newCA(t).Issuer().Certificate()
	leaf.Sent = []*x509.Certificate{first, second}
	data := render(t, leaf)
	if !bytes.Equal(data["tls.crt"], pki.EncodeCertificates(leaf.Certificate, first, second)) {
		t.Errorf("tls.crt isn't the leaf, the first and the second:\n%s", data["tls.crt"])
	}
	if !bytes.Equal(data["ca.crt"], pki.EncodeCertificates(ca.Issuer().Certificate())) {
		t.Errorf("ca.crt isn't the root alone:\n%s", data["ca.crt"])
	}
}

// Sent is the caller's: a slice with room behind its end isn't written to.
func TestRenderChangesNothing(t *testing.T) {
	leaf := newLeaf(t, newCA(t), pki.KeyECDSAP256, pki.EncodingPKCS8)
	first, second := newCA(t).Issuer().Certificate(), newCA(t).Issuer().Certificate()
	sent := []*x509.Certificate{first, second}
	leaf.Sent = sent[:1]
	render(t, leaf)
	if sent[0] != first || sent[1] != second {
		t.Error("the certificates that are sent were changed")
	}
}

func TestAKeyThatCannotBeWritten(t *testing.T) {
	for sentence, c := range map[string]struct {
		keyType  pki.KeyType
		encoding pki.KeyEncoding
		want     string
	}{
		"has no traditional form":   {pki.KeyED25519, pki.EncodingPKCS1, "has no traditional form: use the encoding PKCS8"},
		"has an unknown encoding":   {pki.KeyECDSAP256, "JWK", `"JWK"`},
		"has no encoding named yet": {pki.KeyECDSAP256, "", "use PKCS8 or PKCS1"},
	} {
		t.Run(sentence, func(t *testing.T) {
			leaf := newLeaf(t, newCA(t), c.keyType, pki.EncodingPKCS8)
			leaf.Encoding = c.encoding
			data, err := output.Render(leaf)
			if err == nil || !strings.Contains(err.Error(), c.want) || data != nil {
				t.Errorf("got %d keys and error %v; want none and %q", len(data), err, c.want)
			}
		})
	}
}
