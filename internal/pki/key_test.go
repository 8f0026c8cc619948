package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryKeyTypeOfTheTable(t *testing.T) {
	for _, keyType := range KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			key := keyFor(t, "table", keyType)
			t.Run("is recognized, and by its own row only", func(t *testing.T) {
				var rows []KeyType
				for _, a := range algorithms {
					if a.matches(key.Public()) {
						rows = append(rows, a.name)
					}
				}
				if diff := cmp.Diff([]KeyType{keyType}, rows); diff != "" {
					t.Error(diff)
				}
			})
			t.Run("survives PKCS #8", func(t *testing.T) {
				wantSameAfterEncoding(t, key, EncodingPKCS8)
			})
			t.Run("survives its traditional form, if it has one", func(t *testing.T) {
				if keyType == KeyED25519 {
					_, err := EncodeKey(key, EncodingPKCS1)
					wantText(t, err, "has no traditional form: use the encoding PKCS8")
					return
				}
				wantSameAfterEncoding(t, key, EncodingPKCS1)
			})
			t.Run("is another one each time", func(t *testing.T) {
				if strings.HasPrefix(string(keyType), "RSA") {
					t.Skip("takes long")
				}
				other, err := GenerateKey(keyType)
				wantNoError(t, err)
				if SameKey(key.Public(), other.Public()) {
					t.Error("the same key was made twice")
				}
			})
			t.Run("has a key identifier of 160 bits", func(t *testing.T) {
				id, err := keyID(key.Public())
				wantNoError(t, err)
				if len(id) != 20 {
					t.Errorf("%d bytes", len(id))
				}
			})
		})
	}
}

func wantSameAfterEncoding(t *testing.T, key crypto.Signer, encoding KeyEncoding) {
	t.Helper()
	read, has, err := ParseKey(encodeKey(t, key, encoding))
	wantNoError(t, err)
	if has != encoding {
		t.Errorf("read as %s", has)
	}
	if !SameKey(read.Public(), key.Public()) {
		t.Error("another key came back")
	}
}

func TestKeyTypesAreThoseOfTheAPI(t *testing.T) {
	source, err := os.ReadFile("../../api/v1alpha1/shared_types.go")
	wantNoError(t, err)
	marker := regexp.MustCompile(`Enum=([A-Z0-9;]+)\ntype KeyType `).FindSubmatch(source)
	if marker == nil {
		t.Fatal("the API has no enum KeyType")
	}
	var own []string
	for _, keyType := range KeyTypes() {
		own = append(own, string(keyType))
	}
	if diff := cmp.Diff(strings.Split(string(marker[1]), ";"), own); diff != "" {
		t.Error(diff)
	}
}

func TestKeyTypesCanNotBeChangedFromOutside(t *testing.T) {
	KeyTypes()[0] = "changed"
	if KeyTypes()[0] != KeyECDSAP256 {
		t.Error("the table changed")
	}
}

func TestUsageOfALeafByKeyTypeAndUsages(t *testing.T) {
	const signature, both = x509.KeyUsageDigitalSignature, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	for _, a := range algorithms {
		server := signature
		if strings.HasPrefix(string(a.name), "RSA") {
			server = both
		}
		for _, test := range []struct {
			usages []Usage
			want   x509.KeyUsage
		}{
			{[]Usage{UsageServer}, server},
			{[]Usage{UsageClient}, signature},
			{bothUsages, server},
		} {
			if has := a.usage(test.usages); has != test.want {
				t.Errorf("%s as %s: %b, want %b", a.name, test.usages, has, test.want)
			}
		}
	}
}

func TestGenerateKeyOfUnknownType(t *testing.T) {
	for _, keyType := range []KeyType{"", "RSA1024", "ecdsap256", KeyType(strings.Repeat("x", 1000))} {
		key, err := GenerateKey(keyType)
		wantText(t, err, "use one of ECDSAP256, ECDSAP384, ECDSAP521, RSA2048, RSA3072, RSA4096, ED25519")
		if key != nil || len(err.Error()) > 300 {
			t.Errorf("%v, %v", key, err)
		}
	}
}

// unsupportedKeys are keys that Go knows and the table doesn't.
func unsupportedKeys(t testing.TB) map[string]any {
	t.Helper()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	wantNoError(t, err)
	odd, err := rsa.GenerateKey(rand.Reader, 2056)
	wantNoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	wantNoError(t, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	wantNoError(t, err)
	return map[string]any{
		"an RSA key of 1024 bits":      small,
		"an RSA key of 2056 bits":      odd,
		"an ECDSA key on curve P-224":  p224,
		"no private key of a supporte": x25519,
	}
}

func TestUnsupportedKeysAreNamedAndRefused(t *testing.T) {
	for text, key := range unsupportedKeys(t) {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		wantNoError(t, err)
		_, _, err = ParseKey(block("PRIVATE KEY", string(der)))
		wantText(t, err, text)
		if signer, ok := key.(crypto.Signer); ok {
			_, err := KeyTypeOf(signer.Public())
			wantText(t, err, text)
			wantText(t, err, "use one of ECDSAP256")
		}
	}
	_, err := KeyTypeOf("no key at all")
	wantText(t, err, "a key of this algorithm isn't supported")
}

func TestEncodeKeyOfUnknownEncoding(t *testing.T) {
	_, err := EncodeKey(keyFor(t, "table", KeyECDSAP256), "DER")
	wantText(t, err, `unknown encoding "DER" of a private key: use PKCS8 or PKCS1`)
}

// opaque is a signer whose key isn't in this process.
type opaque struct{ crypto.Signer }

func TestEncodeKeyOfASignerWithoutAKey(t *testing.T) {
	for _, encoding := range []KeyEncoding{EncodingPKCS8, EncodingPKCS1} {
		if _, err := EncodeKey(opaque{keyFor(t, "table", KeyECDSAP256)}, encoding); err == nil {
			t.Errorf("%s: no error", encoding)
		}
	}
}

func TestOpensslReadsWhatEncodeKeyWrites(t *testing.T) {
	w := newWorkshop(t)
	for _, keyType := range KeyTypes() {
		for _, encoding := range []KeyEncoding{EncodingPKCS8, EncodingPKCS1} {
			key, err := EncodeKey(keyFor(t, "table", keyType), encoding)
			if keyType == KeyED25519 && encoding == EncodingPKCS1 {
				continue
			}
			wantNoError(t, err)
			w.write("key", key)
			w.run("pkey -in key -noout -check")
		}
	}
}

func TestSameKey(t *testing.T) {
	one, other := keyFor(t, "table", KeyECDSAP256).Public(), keyFor(t, "parse", KeyECDSAP256).Public()
	edwards := keyFor(t, "table", KeyED25519).Public()
	for name, test := range map[string]struct {
		a, b any
		want bool
	}{
		"the key itself":       {one, one, true},
		"another key":          {one, other, false},
		"another algorithm":    {one, edwards, false},
		"nothing":              {one, nil, false},
		"nothing and nothing":  {nil, nil, false},
		"something that isn't": {"key", "key", false},
	} {
		t.Run(name, func(t *testing.T) {
			if SameKey(test.a, test.b) != test.want || SameKey(test.b, test.a) != test.want {
				t.Errorf("want %t both ways", test.want)
			}
		})
	}
}

func TestKeyIDIsTheOneOfRFC7093(t *testing.T) {
	// What crypto/x509 puts into the certificate of a CA that brings none along.
	key := keyFor(t, "table", KeyECDSAP256)
	without := forgeFor(t, nil, "without", key, func(c *x509.Certificate) { c.SubjectKeyId = nil })
	id, err := keyID(key.Public())
	wantNoError(t, err)
	if !bytes.Equal(id, without.certificate.SubjectKeyId) {
		t.Errorf("%x, want %x", id, without.certificate.SubjectKeyId)
	}
	if _, err := keyID("no key"); err == nil {
		t.Error("an identifier for what isn't a key")
	}
}
