package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// importTest is the data of a Secret that isn't taken, and what must be said of which key.
type importTest struct {
	certificates, key, roots []byte
	wrong, want              string
}

func runImportTests(t *testing.T, tests map[string]importTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			authority, err := ImportAuthority(test.certificates, test.key, test.roots, noon)
			wantImportError(t, err, test.wrong, test.want)
			wantNoKeyIn(t, err.Error(), join(forge(t, nil, "import top", nil).keyPEM(t), test.key))
			if authority != nil {
				t.Error("an authority came back beside the error")
			}
		})
	}
}

func TestImportRefusesWhatIsInTheWrongPlace(t *testing.T) {
	top, other := forge(t, nil, "import top", nil), forge(t, nil, "import other", nil)
	runImportTests(t, map[string]importTest{
		"nothing at all": {nil, nil, nil, "tls.crt", "is missing or empty: put the CA's certificate there, in PEM"},
		"no certificate": {[]byte("\n"), top.keyPEM(t), nil, "tls.crt", "is missing or empty"},
		"no key": {
			top.certificatePEM(), nil, nil, "tls.key", "is missing or empty: put the CA's private key there, in PEM",
		},
		"key and certificate the wrong way round": {
			top.keyPEM(t), top.certificatePEM(), nil, "tls.crt", "PEM block 1: a private key among certificates: remove it",
		},
		"the key in tls.crt too": {
			join(top.certificatePEM(), top.keyPEM(t)), top.keyPEM(t), nil, "tls.crt", "PEM block 2: a private key among certificates",
		},
		"the certificate in tls.key too": {
			top.certificatePEM(), join(top.certificatePEM(), top.keyPEM(t)), nil, "tls.key", "2 PEM blocks: there must be exactly one",
		},
		"another key": {
			top.certificatePEM(), other.keyPEM(t), nil, "tls.key",
			`isn't the key of the certificate in tls.crt, "CN=import top": put the two that belong together there`,
		},
	})
}

func TestImportRefusesChainsThatDoNotHold(t *testing.T) {
	top, other := forge(t, nil, "import top", nil), forge(t, nil, "import other", nil)
	middle := forge(t, top, "import middle", nil)
	bottom := forge(t, middle, "import bottom", nil)
	leaf := forge(t, top, "import leaf", func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
	})
	all := EncodeCertificates
	runImportTests(t, map[string]importTest{
		"the root first": {
			all(top.certificate, middle.certificate, bottom.certificate), bottom.keyPEM(t), nil, "tls.crt",
			`certificate 3 ("CN=import bottom") is the one of the private key: it must come first, then the one that signed it`,
		},
		"a gap": {
			all(bottom.certificate, top.certificate), bottom.keyPEM(t), nil, "tls.crt",
			`certificate 1 ("CN=import bottom") wasn't signed by certificate 2 ("CN=import top")`,
		},
		"a stranger in the chain": {
			all(middle.certificate, other.certificate), middle.keyPEM(t), nil, "tls.crt", "wasn't signed by certificate 2",
		},
		"two CAs that have nothing to do with each other": {
			all(top.certificate, other.certificate), top.keyPEM(t), nil, "tls.crt",
			`certificate 1 ("CN=import top") is self-signed, so nothing can stand above it: remove certificate 2 ("CN=import other")`,
		},
		"the same certificate twice": {
			all(top.certificate, top.certificate), top.keyPEM(t), nil, "tls.crt", "certificate 2 is the same as certificate 1",
		},
		"no root": {middle.certificatePEM(), middle.keyPEM(t), nil, "tls.crt", "put the root into ca.crt"},
		"the root of another": {
			middle.certificatePEM(), middle.keyPEM(t), other.certificatePEM(), "ca.crt",
			`certificate 1 ("CN=import other") didn't sign "CN=import middle"`,
		},
		"an intermediate for a root": {
			bottom.certificatePEM(), bottom.keyPEM(t), middle.certificatePEM(), "ca.crt", "isn't self-signed, so it is no root",
		},
		"rubbish for a root": {top.certificatePEM(), top.keyPEM(t), []byte("rubbish"), "ca.crt", "no PEM block"},
		"a key for a root": {
			top.certificatePEM(), top.keyPEM(t), top.keyPEM(t), "ca.crt", "a private key among certificates",
		},
		"something behind it": {
			join(top.certificatePEM(), []byte("x")), top.keyPEM(t), nil, "tls.crt", "something follows PEM block 1",
		},
		"something before it": {
			join([]byte("\x00\n"), top.certificatePEM()), top.keyPEM(t), nil, "tls.crt", "something before PEM block 1",
		},
		"half a certificate": {
			top.certificatePEM()[:200], top.keyPEM(t), nil, "tls.crt", "PEM block 1 is damaged: paste it again as a whole",
		},
		"a leaf": {
			leaf.certificatePEM(), leaf.keyPEM(t), top.certificatePEM(), "tls.crt",
			"isn't a CA's: its basicConstraints say CA:FALSE",
		},
		"a leaf for a root": {
			middle.certificatePEM(), middle.keyPEM(t), leaf.certificatePEM(), "ca.crt",
			`certificate 1 ("CN=import leaf") isn't a CA's`,
		},
	})
}

func TestImportRefusesWhatIsWrongInOneCertificate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		want   string // "" for nothing
	}{
		"nothing": {func(*x509.Certificate) {}, ""},
		"the last second": {
			func(c *x509.Certificate) { c.NotAfter = noon }, "",
		},
		"expired": {
			func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }, "expired at 2026-11-24T11:59:59Z: import a renewed one",
		},
		"the first second": {
			func(c *x509.Certificate) { c.NotBefore = noon }, "",
		},
		"not yet valid": {
			func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) },
			"isn't valid before 2026-11-24T12:00:01Z: wait, or check the clocks",
		},
		"no basicConstraints": {
			func(c *x509.Certificate) { c.BasicConstraintsValid = false }, "isn't a CA's: it has no basicConstraints",
		},
		"no keyUsage": {func(c *x509.Certificate) { c.KeyUsage = 0 }, ""},
		"keyUsage without keyCertSign": {
			func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, "its keyUsage lacks keyCertSign",
		},
		"any extKeyUsage": {
			func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "",
		},
		"extKeyUsage for servers only": {
			func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "",
		},
		"an extKeyUsage nobody knows": {
			func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, "has an extKeyUsage with neither",
		},
		"an unknown extension": {addExtension(asn1.ObjectIdentifier{1, 2, 3}, false), ""},
		"an unknown critical extension": {
			addExtension(asn1.ObjectIdentifier{1, 2, 3}, true),
			"has critical extension 1.2.3, which isn't supported: make one without it",
		},
		"an unknown kind of constraint": {
			func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, extensionOf(oidNameConstraints, []byte{
					0x30, 0x08, 0xa0, 0x06, 0x30, 0x04, 0xa4, 0x02, 0x30, 0x00,
				}))
			}, "has nameConstraints on other things",
		},
		"no key identifier":         {func(c *x509.Certificate) { c.SubjectKeyId = nil }, ""},
		"the longest serial number": {func(c *x509.Certificate) { c.SerialNumber.Lsh(big.NewInt(1), 158) }, ""},
		"a serial number of 21 octets": {
			func(c *x509.Certificate) { c.SerialNumber.Lsh(big.NewInt(1), 160) }, "has a serial number of 21 octets",
		},
		"the longest key identifier": {func(c *x509.Certificate) { c.SubjectKeyId = make([]byte, 64) }, ""},
		"a key identifier of 65 octets": {
			func(c *x509.Certificate) { c.SubjectKeyId = make([]byte, 65) }, "has a subject key identifier of 65 octets",
		},
		"an empty subject": {func(c *x509.Certificate) { c.RawSubject = emptySubject }, "has an empty subject"},
		"a name of Kubernetes": {
			func(c *x509.Certificate) {
				c.RawSubject = withSubject(t, Subject{CommonName: "System:anonymous"}).RawSubject
			}, `has "System:anonymous" in its subject`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			made := forge(t, nil, "imported", test.change)
			below := forge(t, made, "below imported", nil)
			for place, err := range map[string]error{
				"tls.crt": second(ImportAuthority(made.certificatePEM(), made.keyPEM(t), nil, noon)),
				"ca.crt":  second(ImportAuthority(below.certificatePEM(), below.keyPEM(t), made.certificatePEM(), noon)),
			} {
				if test.want == "" {
					wantNoError(t, err)
				} else {
					wantImportError(t, err, place, "certificate 1 (")
					wantImportError(t, err, place, test.want)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestImportedKeysOfEveryTypeAndForm(t *testing.T) {
	for _, keyType := range KeyTypes() {
		for _, encoding := range []KeyEncoding{EncodingPKCS8, EncodingPKCS1} {
			key, err := EncodeKey(keyFor(t, "table", keyType), encoding)
			if err != nil {
				continue // ED25519 has no traditional form, which another test asserts
			}
			made := forgeFor(t, nil, "imported "+string(keyType), keyFor(t, "table", keyType), nil)
			authority, err := ImportAuthority(made.certificatePEM(), key, nil, noon)
			wantNoError(t, err)
			issue(t, authority, hello(t), keyFor(t, "leaf", KeyECDSAP256).Public())
		}
	}
}

func TestImportCutsWhatItQuotes(t *testing.T) {
	evil := forge(t, nil, "evil", func(c *x509.Certificate) {
		der, err := asn1.Marshal(namesOf(strings.Repeat("x", 5000) + "\n\x1b[31mReady: True"))
		wantNoError(t, err)
		c.RawSubject, c.IsCA = der, false
	})
	_, err := ImportAuthority(evil.certificatePEM(), evil.keyPEM(t), nil, noon)
	wantImportError(t, err, "tls.crt", "isn't a CA's")
	if text := err.Error(); len(text) > 500 || printable(text) != text {
		t.Errorf("%q", text)
	}
}

func TestHasOtherConstraints(t *testing.T) {
	subtree := func(tag int) []byte {
		name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte{}, IsCompound: tag == 4}
		base, err := asn1.Marshal(struct{ Base asn1.RawValue }{name})
		wantNoError(t, err)
		return base
	}
	for name, test := range map[string]struct {
		value []byte
		want  bool
	}{
		"DNS names":       {subtree(2), false},
		"e-mail":          {subtree(1), false},
		"URIs":            {subtree(6), false},
		"IP addresses":    {subtree(7), false},
		"directory names": {subtree(4), true},
		"registered ids":  {subtree(8), true},
		"rubbish":         {[]byte{1, 2, 3}, true},
	} {
		for _, tag := range []int{0, 1} { // permitted, excluded
			list := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: test.value}
			value, err := asn1.Marshal([]asn1.RawValue{list})
			wantNoError(t, err)
			c := root(t).issuer.certificate
			other := &x509.Certificate{Extensions: append(slices.Clone(c.Extensions), extensionOf(oidNameConstraints, value))}
			if hasOtherConstraints(other) != test.want {
				t.Errorf("%s in list %d: want %t", name, tag, test.want)
			}
		}
	}
	if hasOtherConstraints(root(t).issuer.certificate) {
		t.Error("a CA without constraints has some")
	}
}

func FuzzImportAuthority(f *testing.F) {
	top := forge(f, nil, "fuzz top", nil)
	below := forge(f, top, "fuzz below", nil)
	expired := forge(f, nil, "fuzz expired", func(c *x509.Certificate) { c.NotAfter = noon.Add(-1e9) })
	f.Add(top.certificatePEM(), top.keyPEM(f), []byte(nil))
	f.Add(below.certificatePEM(), below.keyPEM(f), top.certificatePEM())
	f.Add(join(below.certificatePEM(), top.certificatePEM()), below.keyPEM(f), []byte("\n"))
	f.Add(join(top.certificatePEM(), below.certificatePEM()), below.keyPEM(f), top.certificatePEM())
	f.Add(expired.certificatePEM(), expired.keyPEM(f), expired.keyPEM(f))
	f.Fuzz(func(t *testing.T, certificates, key, roots []byte) {
		authority, err := ImportAuthority(certificates, key, roots, noon)
		if err != nil {
			if _, ok := errors.AsType[*ImportError](err); !ok {
				t.Fatalf("%v is no ImportError", err)
			}
			if text := err.Error(); printable(text) != text || len(text) > 2000 {
				t.Fatalf("%q can't be shown", text)
			}
			wantNoKeyIn(t, err.Error(), key)
			return
		}
		issuer := authority.Issuer()
		validity := issuer.LeafValidity(noon, time.Hour)
		_, err = authority.Sign(hello(t), keyFor(t, "leaf", KeyECDSAP256).Public(), validity, issuer.Bundle())
		var limited *NameConstraintError
		var fields FieldErrors
		if err != nil && !errors.As(err, &limited) && !errors.As(err, &fields) && noon.Before(issuer.Validity().NotAfter) {
			t.Fatalf("what was imported can't sign: %v", err)
		}
		out, outKey, outRoots, err := authority.Encode()
		wantNoError(t, err)
		again, err := LoadAuthority(out, outKey, outRoots)
		wantNoError(t, err)
		wantSameAuthority(t, authority, again)
		if bytes.Contains(out, []byte("PRIVATE")) || bytes.Contains(outRoots, []byte("PRIVATE")) {
			t.Fatal("a key is where certificates belong")
		}
	})
}
