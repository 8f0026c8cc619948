package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnAuthoritySurvivesASecret(t *testing.T) {
	two := intermediate(t, forgiving(t), "first below", nil)
	for name, authority := range map[string]*Authority{
		"a root":           root(t),
		"an RSA root":      rootOf(t, KeyRSA2048),
		"a CA below it":    two,
		"one more below":   intermediate(t, two, "second below", nil),
		"a renewed root":   renewedRoot(t),
		"with constraints": selfSigned(t, AuthorityFields{NameConstraints: allConstraints()}),
	} {
		t.Run(name, func(t *testing.T) {
			certificates, key, roots, err := authority.Encode()
			wantNoError(t, err)
			again, err := LoadAuthority(certificates, key, roots)
			wantNoError(t, err)
			wantSameAuthority(t, authority, again)
			issuer, err := ParseIssuer(certificates, roots)
			wantNoError(t, err)
			if issuer.Fingerprint() != authority.Issuer().Fingerprint() {
				t.Error("another issuer")
			}
			if !bytes.HasPrefix(key, []byte("-----BEGIN PRIVATE KEY-----\n")) {
				t.Error("the key isn't in PKCS #8")
			}
		})
	}
}

// renewedRoot has two roots with the same key.
func renewedRoot(t testing.TB) *Authority {
	t.Helper()
	old := root(t)
	again := forgeFor(t, nil, "root ECDSAP256", old.key(), func(c *x509.Certificate) {
		c.NotAfter, c.MaxPathLen, c.MaxPathLenZero = noon.Add(2*year), 0, true
	})
	authority, err := LoadAuthority(again.certificatePEM(), again.keyPEM(t), old.issuer.roots.PEM())
	wantNoError(t, err)
	return authority
}

func wantSameAuthority(t testing.TB, one, other *Authority) {
	t.Helper()
	texts := func(a *Authority) [4]string {
		certificates, key, roots, err := a.Encode()
		wantNoError(t, err)
		return [4]string{string(certificates), string(key), string(roots), a.Issuer().Validity().String()}
	}
	if diff := cmp.Diff(texts(one), texts(other)); diff != "" {
		t.Error(diff)
	}
}

func TestLoadAuthorityDoesNotLookAtTheTime(t *testing.T) {
	old := forge(t, nil, "old", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(-2*year), noon.Add(-year) })
	authority, err := LoadAuthority(old.certificatePEM(), old.keyPEM(t), nil)
	wantNoError(t, err)
	// What has expired can't sign any more, whatever the caller asks for.
	issuer := authority.Issuer()
	for _, validity := range []Validity{issuer.LeafValidity(noon, time.Hour), {noon, noon.Add(time.Hour)}} {
		if _, err := authority.Sign(hello(t), old.key.Public(), validity, issuer.Bundle()); err == nil {
			t.Error("it signed")
		}
	}
}

func TestLoadAuthorityRefuses(t *testing.T) {
	certificates, key, roots, err := root(t).Encode()
	wantNoError(t, err)
	_, otherKey, otherRoots, err := rootOf(t, KeyED25519).Encode()
	wantNoError(t, err)
	for name, test := range map[string]struct {
		certificates, key, roots []byte
		wrong, want              string
	}{
		"no certificate": {nil, key, roots, "tls.crt", "is missing or empty"},
		"no key":         {certificates, nil, roots, "tls.key", "is missing or empty"},
		"the key of another": {
			certificates, otherKey, roots, "tls.key", "isn't the key of the certificate in tls.crt",
		},
		"the roots of another":  {certificates, key, otherRoots, "ca.crt", "didn't sign"},
		"a key in the roots":    {certificates, key, join(roots, key), "ca.crt", "a private key among certificates"},
		"a key in the chain":    {join(certificates, key), key, roots, "tls.crt", "a private key among certificates"},
		"a cache's dropped key": {certificates, []byte("\n"), roots, "tls.key", "is missing or empty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadAuthority(test.certificates, test.key, test.roots)
			wantImportError(t, err, test.wrong, test.want)
			wantNoKeyIn(t, err.Error(), key)
		})
	}
}

func TestNoWayOfPrintingAnAuthorityShowsItsKey(t *testing.T) {
	for _, keyType := range []KeyType{KeyECDSAP256, KeyED25519, KeyRSA2048} {
		authority := rootOf(t, keyType)
		var logged bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
			slog.New(handler).Info("made", "authority", authority, "value", struct{ A *Authority }{authority})
		}
		asJSON, err := json.Marshal(map[string]any{"a": authority, "b": *authority, "c": []any{authority}})
		wantNoError(t, err)
		outs := []string{logged.String(), string(asJSON), authority.String(), authority.GoString()}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			outs = append(outs, fmt.Sprintf(verb, authority), fmt.Sprintf(verb, *authority),
				fmt.Sprintf(verb, struct{ a Authority }{*authority}), fmt.Sprintf(verb, []*Authority{authority}))
		}
		for _, out := range outs {
			for _, secret := range secretsOf(t, authority.key()) {
				if strings.Contains(out, secret) {
					t.Fatalf("%.200q has the key", out)
				}
			}
		}
		if want := fmt.Sprintf(`CA "CN=root %s" (SHA-256 %s)`, keyType, authority.issuer.fingerprint); authority.String() != want {
			t.Errorf("%s, want %s", authority, want)
		}
	}
}

// secretsOf are the looks that the secret number of a key could have in a text.
func secretsOf(t testing.TB, key crypto.Signer) []string {
	t.Helper()
	var number []byte
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		var err error
		number, err = key.Bytes()
		wantNoError(t, err)
	case ed25519.PrivateKey:
		number = key.Seed()
	case *rsa.PrivateKey:
		number = key.D.Bytes()
	}
	list := strings.Trim(fmt.Sprintf("%d", number[:8]), "[]")
	return []string{
		fmt.Sprintf("%x", number[:8]), fmt.Sprintf("%X", number[:8]), string(number[:8]), list,
		strings.ReplaceAll(list, " ", ","), strings.ReplaceAll(list, " ", ", "),
		base64.StdEncoding.EncodeToString(number)[:10], new(big.Int).SetBytes(number).String()[:10],
	}
}

func TestSignRefuses(t *testing.T) {
	authority := root(t)
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	issuer := authority.Issuer()
	good := issuer.LeafValidity(noon, time.Hour)
	p224 := unsupportedKeys(t)["an ECDSA key on curve P-224"].(crypto.Signer).Public()
	clientsOnly := intermediate(t, forgiving(t), "clients only", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	for name, test := range map[string]struct {
		authority *Authority
		request   Request
		public    crypto.PublicKey
		validity  Validity
		bundle    Bundle
		want      string
	}{
		"no request": {authority, Request{}, key, good, issuer.Bundle(), "no request was given"},
		"no key":     {authority, hello(t), nil, good, issuer.Bundle(), "a key of this algorithm isn't supported"},
		"another algorithm": {
			authority, hello(t), p224, good, issuer.Bundle(), "an ECDSA key on curve P-224 isn't supported",
		},
		"no validity": {authority, hello(t), key, Validity{}, issuer.Bundle(), "is empty: the CA is valid from"},
		"fractions of seconds": {
			authority, hello(t), key, Validity{good.NotBefore.Add(1), good.NotAfter}, issuer.Bundle(), "has fractions of seconds",
		},
		"ends in the wrong order": {
			authority, hello(t), key, Validity{good.NotAfter, good.NotBefore}, issuer.Bundle(), "is empty",
		},
		"before the CA": {
			authority, hello(t), key,
			Validity{good.NotBefore.Add(-time.Second), good.NotAfter},
			issuer.Bundle(),
			"isn't inside the CA's",
		},
		"after the CA": {
			authority, hello(t), key,
			Validity{good.NotBefore, noon.Add(year + time.Second)},
			issuer.Bundle(),
			"isn't inside the CA's",
		},
		"a bundle that doesn't have the root": {
			authority, hello(t), key, good, rootOf(t, KeyED25519).Issuer().Bundle(), "peers would refuse it",
		},
		"an empty bundle": {authority, hello(t), key, good, Bundle{}, "peers would refuse it"},
		"a usage that the CA hasn't": {
			clientsOnly, hello(t), key, clientsOnly.Issuer().LeafValidity(noon, time.Hour), clientsOnly.Issuer().Bundle(),
			`usages: CA "CN=clients only" has an extKeyUsage without Server`,
		},
		"the name of the CA": {
			authority, requestFor(t, Names{Subject: Subject{CommonName: "Root  ecdsap256"}}, UsageClient), key, good,
			issuer.Bundle(), `subject: is the name of the CA itself, "CN=root ECDSAP256"`,
		},
		"the name of the root": {
			clientsOnly, requestFor(t, Names{Subject: Subject{CommonName: "forgiving"}}, UsageClient), key,
			clientsOnly.Issuer().LeafValidity(noon, time.Hour), clientsOnly.Issuer().Bundle(),
			`subject: is the name of the CA itself, "CN=forgiving"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, err := test.authority.Sign(test.request, test.public, test.validity, test.bundle)
			wantText(t, err, test.want)
			if leaf != nil {
				t.Error("a leaf came back beside the error")
			}
		})
	}
}

func TestWhatOnlyTheUserCanMendIsToldAsSuch(t *testing.T) {
	authority := root(t)
	request := requestFor(t, Names{Subject: Subject{CommonName: "root ECDSAP256"}}, UsageClient)
	_, err := authority.Sign(request, keyFor(t, "leaf", KeyECDSAP256).Public(),
		authority.issuer.LeafValidity(noon, time.Hour), authority.issuer.roots)
	wantField(t, err, "subject", "choose another name")
	var wrong FieldErrors
	if _, err := authority.Sign(hello(t), nil, Validity{}, Bundle{}); errors.As(err, &wrong) {
		t.Error("a mistake of the program is told as one of the user")
	}
}

func TestALeafOfACAWithoutKeyIdentifierHasNone(t *testing.T) {
	bare := forge(t, nil, "bare", func(c *x509.Certificate) { c.SubjectKeyId = nil; c.IsCA = true })
	// crypto/x509 adds an identifier to a CA; one without comes from elsewhere.
	stripped := *bare.certificate
	stripped.SubjectKeyId = nil
	issuer, err := newIssuer([]*x509.Certificate{&stripped}, nil)
	wantNoError(t, err)
	leaf := issue(t, newAuthority(issuer, bare.key), hello(t), keyFor(t, "leaf", KeyECDSAP256).Public())
	if len(leaf.AuthorityKeyId) != 0 || len(leaf.SubjectKeyId) == 0 {
		t.Errorf("key identifiers %x %x", leaf.SubjectKeyId, leaf.AuthorityKeyId)
	}
}

func TestSelfSignCutsTheTimeToSeconds(t *testing.T) {
	request, err := NewAuthorityRequest(plain())
	wantNoError(t, err)
	authority, err := SelfSign(request, noon.Add(999*time.Millisecond).In(time.FixedZone("", -3600)))
	wantNoError(t, err)
	want := Validity{noon.Add(-Backdate), noon.Add(year)}
	if diff := cmp.Diff(want, authority.Issuer().Validity()); diff != "" {
		t.Error(diff)
	}
}

func TestSelfSignBeyond2049(t *testing.T) {
	fields := plain()
	fields.Duration = 114 * year // the longest that the API can say
	authority := selfSigned(t, fields)
	leaf, err := authority.Sign(hello(t), keyFor(t, "leaf", KeyECDSAP256).Public(),
		authority.issuer.LeafValidity(noon, 200*year), authority.issuer.roots)
	wantNoError(t, err)
	if !leaf.NotAfter.Equal(noon.Add(114 * year)) {
		t.Error(leaf.NotAfter)
	}
}

func TestSelfSignWithoutARequest(t *testing.T) {
	_, err := SelfSign(AuthorityRequest{}, noon)
	wantText(t, err, `unknown key type ""`)
}

// broken is a signer that fails, as one outside of this process can.
type broken struct{ crypto.Signer }

func (broken) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is locked")
}

func TestASignerThatFails(t *testing.T) {
	authority := newAuthority(root(t).issuer, broken{root(t).key()})
	_, err := authority.Sign(hello(t), keyFor(t, "leaf", KeyECDSAP256).Public(),
		authority.issuer.LeafValidity(noon, time.Hour), authority.issuer.roots)
	wantText(t, err, "can't sign the certificate: the key is locked")
	if _, _, _, err := authority.Encode(); err == nil {
		t.Error("it was written")
	}
}

func TestSerialNumbersAndKeysDifferFromLeafToLeaf(t *testing.T) {
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	one, other := issue(t, root(t), hello(t), key), issue(t, root(t), hello(t), key)
	if one.SerialNumber.Cmp(other.SerialNumber) == 0 {
		t.Error("two leaves have the same serial number")
	}
}

func TestTheURIsOfALeafAreWrittenAsTheyWereGiven(t *testing.T) {
	for _, text := range []string{
		"https://example.com/a%20b?c=%2F&d=#e", "https://example.com//a/../b", "https://example.com/%2e%2E", "spiffe://a.bc/x",
	} {
		uri, err := url.Parse(text)
		wantNoError(t, err)
		request, err := NewRequest(Names{URIs: []string{text}}, []Usage{UsageClient})
		if uri.String() != text {
			wantField(t, err, "uris[0]", "isn't in its normal form")
			continue
		}
		wantNoError(t, err)
		leaf := issue(t, root(t), request, keyFor(t, "leaf", KeyECDSAP256).Public())
		if has := leaf.URIs[0].String(); has != text {
			t.Errorf("%s, want %s", has, text)
		}
	}
}
