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
	"encoding/pem"
	"os"
	"regexp"
	"slices"
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

func TestParseKeyRefuses(t *testing.T) {
	ec := encodeKey(t, keyFor(t, "parse", KeyECDSAP256), EncodingPKCS8)
	sec1 := encodeKey(t, keyFor(t, "parse", KeyECDSAP256), EncodingPKCS1)
	rsaKey := encodeKey(t, keyFor(t, "table", KeyRSA2048), EncodingPKCS1)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing": {nil, "no PEM block"},
		"a PEM block that isn't finished": {
			ec[:len(ec)-10], "PEM block 1 is damaged",
		},
		"base64 with a bit missing": {
			bytes.Replace(ec, []byte("\n"), []byte("\n*"), 1), "PEM block 1 is damaged",
		},
		"a damaged block before a good one": {
			join([]byte("-----BEGIN PRIVATE KEY-----\n"), ec), "PEM block 1 is damaged",
		},
		"two keys":              {join(ec, rsaKey), "2 PEM blocks: there must be exactly one"},
		"a certificate":         {EncodeCertificates(root(t).issuer.certificate), `type "CERTIFICATE"`},
		"a public key":          {block("PUBLIC KEY", "x"), `type "PUBLIC KEY"`},
		"a key of OpenSSH":      {block("OPENSSH PRIVATE KEY", "x"), `type "OPENSSH PRIVATE KEY"`},
		"a key after the CA":    {join(EncodeCertificates(root(t).issuer.certificate), ec), "2 PEM blocks"},
		"text after the key":    {join(ec, []byte("the end")), "something follows PEM block 1"},
		"half a line before it": {join([]byte("key: "), ec), "something before PEM block 1"},
		"the wrong PEM type": {
			bytes.ReplaceAll(ec, []byte("PRIVATE KEY"), []byte("RSA PRIVATE KEY")), "holds no private key",
		},
		"SEC 1 named PKCS #1": {
			bytes.ReplaceAll(sec1, []byte("EC PRIVATE"), []byte("RSA PRIVATE")), "holds no private key",
		},
		"rubbish in a good block":      {block("PRIVATE KEY", "rubbish"), "holds no private key"},
		"parameters without a key":     {block("EC PARAMETERS", "x"), `type "EC PARAMETERS"`},
		"parameters after the key":     {join(sec1, block("EC PARAMETERS", "x")), "2 PEM blocks"},
		"parameters twice":             {join(block("EC PARAMETERS", "x"), block("EC PARAMETERS", "x"), sec1), "2 PEM blocks"},
		"an encrypted PKCS #8 key":     {block("ENCRYPTED PRIVATE KEY", "x"), "is encrypted with a password"},
		"more than fits into a Secret": {bytes.Repeat([]byte("x"), maxPEM+1), "1048577 bytes"},
		"a traditionally encrypted key": {
			pem.EncodeToMemory(&pem.Block{
				Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
				Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
			}), "is encrypted with a password",
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, encoding, err := ParseKey(test.data)
			wantText(t, err, test.want)
			if key != nil || encoding != "" {
				t.Error("something came back beside the error")
			}
			wantNoKeyIn(t, err.Error(), test.data)
		})
	}
}

// wantNoKeyIn fails when a text has part of a line of base64 in it.
func wantNoKeyIn(t testing.TB, text string, data []byte) {
	t.Helper()
	const telling = 12
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, []byte("-----")) || len(line) < telling {
			continue
		}
		for start := 0; start+telling <= len(line); start++ {
			if strings.Contains(text, string(line[start:start+telling])) {
				t.Fatalf("%q contains %q", text, line[start:start+telling])
			}
		}
	}
}

func TestParseKeyReadsWhatOpensslWrites(t *testing.T) {
	for name, test := range map[string]struct {
		line     string
		encoding KeyEncoding
		keyType  KeyType
	}{
		"genrsa":                  {"genrsa -out key 2048", EncodingPKCS8, KeyRSA2048},
		"genrsa -traditional":     {"genrsa -traditional -out key 2048", EncodingPKCS1, KeyRSA2048},
		"ecparam with parameters": {"ecparam -name prime256v1 -genkey -out key", EncodingPKCS1, KeyECDSAP256},
		"ecparam without them":    {"ecparam -name secp384r1 -genkey -noout -out key", EncodingPKCS1, KeyECDSAP384},
		"genpkey EC": {
			"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key", EncodingPKCS8, KeyECDSAP521,
		},
		"genpkey ED25519": {"genpkey -algorithm ED25519 -out key", EncodingPKCS8, KeyED25519},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			w.run(test.line)
			key, encoding, err := ParseKey(w.read("key"))
			wantNoError(t, err)
			keyType, err := KeyTypeOf(key.Public())
			wantNoError(t, err)
			if encoding != test.encoding || keyType != test.keyType {
				t.Errorf("%s in %s", keyType, encoding)
			}
		})
	}
}

func TestParseKeyNamesEncryptionByOpenssl(t *testing.T) {
	for name, line := range map[string]string{
		"PKCS #8": "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -aes256 -pass pass:secret -out key",
		"PKCS #1": "genrsa -traditional -aes256 -passout pass:secret -out key 2048",
		"SEC 1":   "ec -in plain -aes256 -passout pass:secret -out key",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			w.write("plain", encodeKey(t, keyFor(t, "parse", KeyECDSAP256), EncodingPKCS1))
			w.run(line)
			_, _, err := ParseKey(w.read("key"))
			wantText(t, err, `decrypt it first, with "openssl pkey`)
			wantNoKeyIn(t, err.Error(), w.read("key"))
		})
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

func TestPairHashDependsOnBothParts(t *testing.T) {
	hashes := []string{
		PairHash([]byte("ab"), []byte("c")), PairHash([]byte("a"), []byte("bc")),
		PairHash([]byte("ab"), nil), PairHash(nil, []byte("ab")),
	}
	slices.Sort(hashes)
	if len(slices.Compact(hashes)) != 4 {
		t.Error("two different pairs have the same hash")
	}
	if PairHash([]byte("ab"), []byte("c")) != PairHash([]byte("ab"), []byte("c")) {
		t.Error("the same pair has two hashes")
	}
}

func TestEncodingOfTellsWhatEncodeKeyWrote(t *testing.T) {
	for _, keyType := range KeyTypes() {
		for _, encoding := range []KeyEncoding{EncodingPKCS8, EncodingPKCS1} {
			key, err := EncodeKey(keyFor(t, "table", keyType), encoding)
			if err != nil {
				continue // no such form, which another test asserts
			}
			if has, known := EncodingOf(key); has != encoding || !known {
				t.Errorf("%s: %s %t, want %s", keyType, has, known, encoding)
			}
		}
	}
	for _, other := range []string{"", "-----BEGIN CERTIFICATE-----\n", "key"} {
		if has, known := EncodingOf([]byte(other)); known {
			t.Errorf("%q: %s", other, has)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, keyType := range []KeyType{KeyECDSAP256, KeyED25519} {
		f.Add(encodeKey(f, keyFor(f, "fuzz", keyType), EncodingPKCS8))
	}
	f.Add(join(block("EC PARAMETERS", "x"), encodeKey(f, keyFor(f, "fuzz", KeyECDSAP256), EncodingPKCS1)))
	f.Add(block("ENCRYPTED PRIVATE KEY", "secret"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, encoding, err := ParseKey(data)
		if err != nil {
			wantNoKeyIn(t, err.Error(), data)
			return
		}
		wantSameAfterEncoding(t, key, encoding)
	})
}
