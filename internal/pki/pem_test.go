package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseCertificatesAccepts(t *testing.T) {
	one, other := root(t).issuer.certificate, rootOf(t, KeyED25519).issuer.certificate
	a, b := EncodeCertificates(one), EncodeCertificates(other)
	for name, test := range map[string]struct {
		data []byte
		want []*x509.Certificate
	}{
		"one":                          {a, []*x509.Certificate{one}},
		"two, in their order":          {join(b, a), []*x509.Certificate{other, one}},
		"the same twice, as it stands": {join(a, a), []*x509.Certificate{one, one}},
		"white space around and between": {
			join([]byte("\n\t \r\n"), a, []byte("\n\n"), b, []byte(" \n")), []*x509.Certificate{one, other},
		},
		"no newline at the end": {bytes.TrimSpace(a), []*x509.Certificate{one}},
		"line ends of Windows":  {bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n")), []*x509.Certificate{one}},
		"text before a block": {
			join([]byte("Certificate:\n    Data:\n"), a, []byte("# the other one: Jürgen's\n"), b),
			[]*x509.Certificate{one, other},
		},
	} {
		t.Run(name, func(t *testing.T) {
			has, err := ParseCertificates(test.data)
			wantNoError(t, err)
			if diff := cmp.Diff(fingerprints(test.want), fingerprints(has)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func fingerprints(certificates []*x509.Certificate) []string {
	var out []string
	for _, c := range certificates {
		out = append(out, Fingerprint(c))
	}
	return out
}

func TestParseCertificatesReadsWhatOpensslWrites(t *testing.T) {
	w := newWorkshop(t)
	w.write("ca.pem", EncodeCertificates(root(t).issuer.certificate))
	w.run("x509 -in ca.pem -text -out text.pem")
	w.run("x509 -in ca.pem -trustout -addtrust serverAuth -out trusted.pem")
	has, err := ParseCertificates(w.read("text.pem"))
	wantNoError(t, err)
	if !has[0].Equal(root(t).issuer.certificate) {
		t.Error("another certificate came back")
	}
	_, err = ParseCertificates(w.read("trusted.pem"))
	wantText(t, err, `PEM block 1: of type "TRUSTED CERTIFICATE": only "CERTIFICATE" is allowed here`)
}

func TestParseCertificatesRefuses(t *testing.T) {
	good := EncodeCertificates(root(t).issuer.certificate)
	key := pairOf(root(t)).keyPEM(t)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                  {nil, "no PEM block, which begins with -----BEGIN"},
		"white space":              {[]byte(" \n"), "no PEM block"},
		"text":                     {[]byte("hello\n"), "no PEM block"},
		"DER":                      {root(t).issuer.certificate.Raw, "no PEM block"},
		"a private key":            {join(good, key), "PEM block 2: a private key among certificates: remove it"},
		"a private key first":      {join(key, good), "PEM block 1: a private key"},
		"an encrypted private key": {join(good, block("ENCRYPTED PRIVATE KEY", "x")), "PEM block 2: a private key"},
		"a key of OpenSSH":         {join(good, block("OPENSSH PRIVATE KEY", "x")), "PEM block 2: a private key"},
		"a request":                {block("CERTIFICATE REQUEST", "x"), `PEM block 1: of type "CERTIFICATE REQUEST"`},
		"a CRL":                    {join(good, block("X509 CRL", "x")), `PEM block 2: of type "X509 CRL"`},
		"an old PEM type": {
			bytes.ReplaceAll(good, []byte("CERT"), []byte("X509 CERT")), `of type "X509 CERTIFICATE"`,
		},
		"rubbish in a block": {block("CERTIFICATE", "rubbish"), "PEM block 1: not a certificate"},
		"something after the DER": {
			block("CERTIFICATE", string(root(t).issuer.certificate.Raw)+"x"), "PEM block 1: not a certificate",
		},
		"a block without an end":  {join(good, good[:len(good)-5]), "PEM block 2 is damaged"},
		"a block without a start": {good[5:], "no PEM block"},
		"an end before a start":   {join([]byte("-----END CERTIFICATE-----\n"), good), "something before PEM block 1"},
		"binary before a block":   {join([]byte{0, 1, '\n'}, good), "something before PEM block 1"},
		"escape sequences":        {join([]byte("\x1b[31m\n"), good), "something before PEM block 1"},
		"text after the last one": {
			join(good, []byte("bye\n")), "something follows PEM block 1 that isn't PEM: remove it",
		},
		"text before it on its line": {
			join([]byte("ca: "), good), "something before PEM block 1",
		},
		"a damaged block hidden before a good one": {
			join([]byte("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"), good), "PEM block 1 is damaged",
		},
		"headers": {
			pem.EncodeToMemory(&pem.Block{
				Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: root(t).issuer.certificate.Raw,
			}), "PEM block 1: a certificate with PEM headers: remove them",
		},
		"too many": {bytes.Repeat(good, maxCertificates+1), "more than 64 PEM blocks"},
		"too much": {
			join(good, bytes.Repeat([]byte("\n"), maxPEM)), "there may be no more than 1048576",
		},
		"a type of terminal control": {block("\x1b[31m", "x"), `of type "\x1b[31m"`},
	} {
		t.Run(name, func(t *testing.T) {
			has, err := ParseCertificates(test.data)
			wantText(t, err, test.want)
			if has != nil {
				t.Error("something came back beside the error")
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("%q has control characters", err)
			}
			wantNoKeyIn(t, err.Error(), key)
		})
	}
}

func TestAsManyCertificatesAsAllowed(t *testing.T) {
	has, err := ParseCertificates(bytes.Repeat(EncodeCertificates(root(t).issuer.certificate), maxCertificates))
	wantNoError(t, err)
	if len(has) != maxCertificates {
		t.Errorf("%d", len(has))
	}
}

func TestEncodeCertificatesOfNothing(t *testing.T) {
	if out := EncodeCertificates(); len(out) != 0 {
		t.Errorf("%q", out)
	}
}

func TestTextsAboutACertificateAreThoseOfOpenssl(t *testing.T) {
	w := newWorkshop(t)
	for name, subject := range map[string]Subject{
		"plain":          {CommonName: "hello"},
		"every part":     {"a", []string{"b", "c"}, []string{"d"}, []string{"DE"}, []string{"e"}, []string{"f"}},
		"to be escaped":  {CommonName: `#a, "b" + <c>; d\e`},
		"not ASCII":      {CommonName: "Jürgen"},
		"not Latin":      {CommonName: "日本"},
		"a long subject": {CommonName: strings.Repeat("x", 64)},
	} {
		t.Run(name, func(t *testing.T) {
			c := withSubject(t, subject)
			w.write("c.pem", EncodeCertificates(c))
			w.run("x509 -in c.pem -noout -fingerprint -sha256 -serial -subject -nameopt RFC2253,utf8,-esc_msb -out text")
			lines := strings.Split(string(w.read("text")), "\n")
			_, fingerprint, _ := strings.Cut(lines[0], "=")
			_, serial, _ := strings.Cut(lines[1], "=")
			_, text, _ := strings.Cut(lines[2], "=")
			if has, want := Fingerprint(c), strings.ToLower(strings.ReplaceAll(fingerprint, ":", "")); has != want {
				t.Errorf("fingerprint %s, want %s", has, want)
			}
			if has, want := SerialNumber(c), strings.ToLower(serial); has != want {
				t.Errorf("serial number %s, want %s", has, want)
			}
			if has := SubjectText(c); has != text {
				t.Errorf("subject %s, want %s", has, text)
			}
		})
	}
}

func withSubject(t testing.TB, subject Subject) *x509.Certificate {
	t.Helper()
	der, err := encodeSubject(subject)
	wantNoError(t, err)
	return forge(t, nil, "with subject", func(c *x509.Certificate) { c.RawSubject = der }).certificate
}

func TestSerialNumberHasTwoDigitsPerOctet(t *testing.T) {
	for number, want := range map[int64]string{0: "00", 1: "01", 15: "0f", 16: "10", 0x123: "0123", 0xabcd: "abcd"} {
		if has := SerialNumber(&x509.Certificate{SerialNumber: big.NewInt(number)}); has != want {
			t.Errorf("%d: %s, want %s", number, has, want)
		}
	}
}

func TestSubjectTextCanBeShownOnATerminal(t *testing.T) {
	for value, want := range map[string]string{
		"a\nReady: True": `CN=a\0AReady: True`,
		"\x1b[31mred":    `CN=\1B[31mred`,
		"a\u202eb":       `CN=a\E2\80\AEb`,
		"a\u2028b":       `CN=a\E2\80\A8b`,
		"a\ufffdb":       `CN=a�b`,
		"":               "CN=",
	} {
		t.Run(want, func(t *testing.T) {
			der, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}}})
			wantNoError(t, err)
			if has := SubjectText(&x509.Certificate{RawSubject: der}); has != want {
				t.Errorf("%s, want %s", has, want)
			}
		})
	}
}

func TestSubjectTextOfWhatHasNone(t *testing.T) {
	if has := SubjectText(&x509.Certificate{RawSubject: emptySubject}); has != "" {
		t.Errorf("empty subject: %q", has)
	}
	built := &x509.Certificate{Subject: pkix.Name{CommonName: "not\nparsed"}}
	if has := SubjectText(built); has != `CN=not\0Aparsed` {
		t.Errorf("a template: %q", has)
	}
}

func TestPrintableKeepsWhatIsPrintableAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string {
			return string(b)
		})).Draw(t, "text")
		out := printable(text)
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q", out)
		}
		if plain := !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }); plain && out != text {
			t.Fatalf("%q became %q", text, out)
		}
	})
}

func TestQuoteCutsByCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `""`,
		"a\nb":                       `"a\nb"`,
		strings.Repeat("ü", 64):      `"` + strings.Repeat("ü", 64) + `"`,
		strings.Repeat("ü", 65):      `"` + strings.Repeat("ü", 64) + `…"`,
		strings.Repeat("a", 1e6):     `"` + strings.Repeat("a", 64) + `…"`,
		"\xff":                       `"\xff"`,
		`"` + strings.Repeat(`\`, 2): `"\"\\\\"`,
	} {
		if has := quote(text); has != want {
			t.Errorf("%.100s, want %.100s", has, want)
		}
	}
}

func FuzzParseCertificates(f *testing.F) {
	good := EncodeCertificates(root(f).issuer.certificate)
	f.Add(good)
	f.Add(join([]byte("Certificate:\n"), good, good))
	f.Add(join(good, pairOf(root(f)).keyPEM(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		certificates, err := ParseCertificates(data)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("%q", err)
			}
			return
		}
		again, err := ParseCertificates(EncodeCertificates(certificates...))
		wantNoError(t, err)
		if diff := cmp.Diff(fingerprints(certificates), fingerprints(again)); diff != "" {
			t.Fatal(diff)
		}
		if bytes.Contains(data, []byte("PRIVATE KEY-----\n")) && bytes.Count(data, pemBegin) != len(certificates) {
			t.Fatal("a block was overlooked")
		}
		for _, c := range certificates {
			_ = SubjectText(c)
			_ = SerialNumber(c)
		}
	})
}
