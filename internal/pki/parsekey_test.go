package pki

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
)

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
		"rubbish in a good block":  {block("PRIVATE KEY", "rubbish"), "holds no private key"},
		"parameters without a key": {block("EC PARAMETERS", "x"), `type "EC PARAMETERS"`},
		"parameters after the key": {join(sec1, block("EC PARAMETERS", "x")), "2 PEM blocks"},
		"parameters twice": {
			join(block("EC PARAMETERS", "x"), block("EC PARAMETERS", "x"), sec1), "2 PEM blocks",
		},
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
