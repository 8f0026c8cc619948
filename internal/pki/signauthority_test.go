package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func authorityRequest(t testing.TB, fields AuthorityFields) AuthorityRequest {
	t.Helper()
	if fields.Subject.CommonName == "" {
		fields.Subject.CommonName = "child"
	}
	if fields.KeyType == "" {
		fields.KeyType = KeyECDSAP256
	}
	if fields.Duration == 0 {
		fields.Duration = year / 2
	}
	request, err := NewAuthorityRequest(fields)
	wantNoError(t, err)
	return request
}

// signed makes an intermediate as the operator does.
func signed(t testing.TB, parent *Authority, fields AuthorityFields) *Authority {
	t.Helper()
	child, err := parent.SignAuthority(authorityRequest(t, fields), noon)
	wantNoError(t, err)
	return child
}

// family is a root, a CA below it and one more below that.
func family(t testing.TB) (top, middle, bottom *Authority) {
	t.Helper()
	top = selfSigned(t, AuthorityFields{Subject: Subject{CommonName: "top"}, MaxPathLength: 2})
	middle = signed(t, top, AuthorityFields{Subject: Subject{CommonName: "middle"}, MaxPathLength: 1})
	bottom = signed(t, middle, AuthorityFields{Subject: Subject{CommonName: "bottom"}})
	return top, middle, bottom
}

func TestAnIntermediateHasItsChainAndTheRootsOfItsParent(t *testing.T) {
	top, middle, bottom := family(t)
	names := func(certificates []*x509.Certificate) (out []string) {
		for _, c := range certificates {
			out = append(out, SubjectText(c))
		}
		return out
	}
	for _, test := range []struct {
		authority, parent *Authority
		sent              []string
	}{
		{middle, top, []string{"CN=middle"}},
		{bottom, middle, []string{"CN=bottom", "CN=middle"}},
	} {
		issuer := test.authority.Issuer()
		if diff := cmp.Diff(test.sent, names(issuer.Sent())); diff != "" {
			t.Error(diff)
		}
		if issuer.Bundle().Hash() != top.issuer.roots.Hash() {
			t.Error("other roots than the parent's")
		}
		if !issuer.SignedBy(test.parent.issuer) || !test.parent.issuer.Issued(issuer.certificate) {
			t.Error("it isn't its parent's")
		}
		certificates, key, roots, err := test.authority.Encode()
		wantNoError(t, err)
		again, err := LoadAuthority(certificates, key, roots)
		wantNoError(t, err)
		wantSameAuthority(t, test.authority, again)
		_, err = ImportAuthority(certificates, key, roots, noon)
		wantNoError(t, err)
	}
}

func TestAnIntermediateFollowsTheProfile(t *testing.T) {
	for _, parentType := range KeyTypes() {
		for _, keyType := range []KeyType{KeyECDSAP256, KeyED25519, KeyRSA2048} {
			t.Run(fmt.Sprintf("%s below %s", keyType, parentType), func(t *testing.T) {
				parent := selfSignedOf(t, parentType)
				child := signed(t, parent, AuthorityFields{KeyType: keyType, NameConstraints: allConstraints()})
				c, above := child.issuer.certificate, parent.issuer.certificate
				wantNoError(t, authorityRequest(t, AuthorityFields{KeyType: keyType, NameConstraints: allConstraints()}).
					check(c, above, child.key().Public(), validityOf(c)))
				if !bytes.Equal(c.AuthorityKeyId, above.SubjectKeyId) || bytes.Equal(c.SubjectKeyId, above.SubjectKeyId) {
					t.Errorf("key identifiers %x, %x, the parent's %x", c.SubjectKeyId, c.AuthorityKeyId, above.SubjectKeyId)
				}
				if !SameKey(c.PublicKey, child.key().Public()) || SameKey(c.PublicKey, above.PublicKey) {
					t.Error("its key isn't a new one")
				}
			})
		}
	}
}

// selfSignedOf is a root that can have CAs below it.
func selfSignedOf(t testing.TB, keyType KeyType) *Authority {
	t.Helper()
	made := forgeFor(t, nil, "roomy "+string(keyType), keyFor(t, "roomy", keyType), nil)
	authority, err := LoadAuthority(made.certificatePEM(), made.keyPEM(t), nil)
	wantNoError(t, err)
	return authority
}

func TestTheAuthorityKeyIdentifierIsCopiedFromTheParent(t *testing.T) {
	for name, id := range map[string][]byte{"of another method": {1, 2, 3}, "of SHA-256": bytes.Repeat([]byte{7}, 32)} {
		t.Run(name, func(t *testing.T) {
			made := forge(t, nil, "other id", func(c *x509.Certificate) { c.SubjectKeyId = id })
			parent, err := LoadAuthority(made.certificatePEM(), made.keyPEM(t), nil)
			wantNoError(t, err)
			if has := signed(t, parent, AuthorityFields{}).issuer.certificate.AuthorityKeyId; !bytes.Equal(has, id) {
				t.Errorf("%x", has)
			}
		})
	}
	t.Run("a parent without one", func(t *testing.T) {
		bare := forge(t, nil, "bare parent", nil)
		stripped := *bare.certificate
		stripped.SubjectKeyId = nil
		issuer, err := newIssuer([]*x509.Certificate{&stripped}, nil)
		wantNoError(t, err)
		if c := signed(t, newAuthority(issuer, bare.key), AuthorityFields{}).issuer.certificate; len(c.AuthorityKeyId) > 0 {
			t.Errorf("%x", c.AuthorityKeyId)
		}
	})
}

func TestTheValidityOfAnIntermediate(t *testing.T) {
	top := forge(t, nil, "short root", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = noon.Add(-time.Minute), noon.Add(10*time.Hour)
	})
	parent, err := LoadAuthority(top.certificatePEM(), top.keyPEM(t), nil)
	wantNoError(t, err)
	start := noon.Add(-time.Minute)
	for name, test := range map[string]struct {
		duration time.Duration
		now      time.Time
		want     Validity
	}{
		"it isn't backdated before its parent": {time.Hour, noon, Validity{start, noon.Add(time.Hour)}},
		"it is backdated": {
			2 * time.Hour, noon.Add(time.Hour), Validity{noon.Add(time.Hour - Backdate), noon.Add(3 * time.Hour)},
		},
		"it ends with its parent": {year, noon, Validity{start, noon.Add(10 * time.Hour)}},
		"fractions of seconds are dropped": {
			time.Hour, noon.Add(time.Hour + 999*time.Millisecond), Validity{noon.Add(time.Hour - Backdate), noon.Add(2 * time.Hour)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			child, err := parent.SignAuthority(authorityRequest(t, AuthorityFields{Duration: test.duration}), test.now)
			wantNoError(t, err)
			if diff := cmp.Diff(test.want, validityOf(child.issuer.certificate)); diff != "" {
				t.Error(diff)
			}
			if child.issuer.Validity() != test.want {
				t.Error(child.issuer.Validity())
			}
		})
	}
	for name, now := range map[string]time.Time{
		"there is less than an hour left":  noon.Add(9*time.Hour + 10*time.Minute),
		"the parent has expired":           noon.Add(11 * time.Hour),
		"the parent expired just now":      noon.Add(10*time.Hour + time.Second),
		"the parent isn't valid for long ": noon.Add(-year),
	} {
		t.Run(name, func(t *testing.T) {
			child, err := parent.SignAuthority(authorityRequest(t, AuthorityFields{}), now)
			wantField(t, err, "duration", "can't be even 1h0m0s: the CAs above are valid from 2026-11-24T11:59:00Z to ")
			if child != nil {
				t.Error("a CA came back")
			}
		})
	}
}

func TestAnIntermediateBelowARenewedRootIsForBothCertificates(t *testing.T) {
	made := selfSignedOf(t, KeyECDSAP256)
	again := forgeFor(t, nil, "roomy ECDSAP256", made.key(), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = noon.Add(-time.Minute), noon.Add(2*year)
	})
	parent, err := LoadAuthority(again.certificatePEM(), again.keyPEM(t), made.issuer.roots.PEM())
	wantNoError(t, err)
	child := signed(t, parent, AuthorityFields{Duration: 3 * year})
	if child.issuer.roots.Len() != 2 || !child.issuer.SignedBy(parent.issuer) || parent.issuer.SignedBy(made.issuer) {
		t.Error("it isn't below the renewed root, or that is below the old one")
	}
	// Peers with the old one alone must accept it too.
	if want := (Validity{noon.Add(-time.Minute), noon.Add(year)}); child.issuer.Validity() != want {
		t.Error(child.issuer.Validity())
	}
}

func TestSignAuthorityRefuses(t *testing.T) {
	top, middle, bottom := family(t)
	unlimited := selfSignedOf(t, KeyECDSAP256)
	tight := forge(t, nil, "tight root", func(c *x509.Certificate) { c.MaxPathLen = 1 })
	below := forge(t, tight, "generous", nil) // its own pathLen doesn't say what the root's does
	generous, err := LoadAuthority(EncodeCertificates(below.certificate), below.keyPEM(t), tight.certificatePEM())
	wantNoError(t, err)
	for name, test := range map[string]struct {
		parent     *Authority
		fields     AuthorityFields
		field, say string
	}{
		"as many CAs below as the parent itself may have": {
			top,
			AuthorityFields{MaxPathLength: 2},
			"maxPathLength",
			`is 2: CA "CN=top" has pathLen 2, which leaves room for at most 1 here`,
		},
		"one too many below an intermediate": {
			middle,
			AuthorityFields{MaxPathLength: 1},
			"maxPathLength",
			`is 1: CA "CN=middle" has pathLen 1, which leaves room for at most 0 here`,
		},
		"anything below the last one": {
			bottom, AuthorityFields{}, "maxPathLength", `can't be anything: CA "CN=bottom" has pathLen 0, which leaves no room`,
		},
		"what the parent leaves open and the root doesn't": {
			generous, AuthorityFields{}, "maxPathLength", `can't be anything: CA "CN=tight root" has pathLen 1`,
		},
		"the name of the parent": {
			unlimited,
			AuthorityFields{Subject: Subject{CommonName: "Roomy  ecdsap256"}},
			"commonName",
			`makes the name of a CA above, "CN=roomy ECDSAP256": choose another one`,
		},
		"the name of the root": {
			middle, AuthorityFields{Subject: Subject{CommonName: "top"}}, "commonName", `"CN=top"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := authorityRequest(t, test.fields)
			dry := test.parent.Issuer().AllowsAuthority(request)
			wantField(t, dry, test.field, test.say)
			child, err := test.parent.SignAuthority(request, noon)
			wantField(t, err, test.field, test.say)
			if child != nil {
				t.Error("a CA came back")
			}
		})
	}
}

func TestEverythingThatIsWrongWithAnIntermediateIsToldAtOnce(t *testing.T) {
	parent := selfSigned(t, AuthorityFields{NameConstraints: allConstraints()})
	err := parent.issuer.AllowsAuthority(authorityRequest(t, AuthorityFields{
		Subject: Subject{CommonName: "ca"},
		NameConstraints: NameConstraints{Permitted: NameConstraintSet{
			DNSDomains: []string{"local", "example.org"}, IPRanges: []string{"192.168.0.0/16"},
		}},
	}))
	var wrong FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	var fields []string
	for _, one := range wrong {
		fields = append(fields, one.Field)
	}
	want := []string{
		"commonName", "maxPathLength", "nameConstraints.permitted.dnsDomains[1]", "nameConstraints.permitted.ipRanges[0]",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesOfTheProgramAreNotToldAsTheUsers(t *testing.T) {
	for name, err := range map[string]error{
		"no request":     root(t).issuer.AllowsAuthority(AuthorityRequest{}),
		"no issuer":      Issuer{}.AllowsAuthority(authorityRequest(t, AuthorityFields{})),
		"no leaf":        root(t).issuer.Allows(Request{}),
		"no leaf issuer": Issuer{}.Allows(hello(t)),
	} {
		t.Run(name, func(t *testing.T) { wantText(t, err, "no issuer or no request was given") })
	}
	parent := selfSignedOf(t, KeyECDSAP256)
	_, err := newAuthority(parent.issuer, broken{parent.key()}).SignAuthority(authorityRequest(t, AuthorityFields{}), noon)
	wantText(t, err, "the key is locked")
}

func TestAnIntermediateThatIsNotTheOneAskedForIsNoticed(t *testing.T) {
	parent := selfSignedOf(t, KeyECDSAP256)
	request := authorityRequest(t, AuthorityFields{})
	key := keyFor(t, "tampered", KeyECDSAP256)
	validity := parent.issuer.LeafValidity(noon, year/2)
	sound := func(*x509.Certificate) {}
	for want, test := range map[string]struct {
		tamper func(*x509.Certificate)
		signer *Authority
	}{
		"": {sound, parent},
		"its signature is ECDSA-SHA384, must be ECDSA-SHA256": {sound, selfSignedOf(t, KeyECDSAP384)},
		"authorityKeyIdentifier isn't":                        {sound, forgiving(t)},
		"its basicConstraints are CA true":                    {func(c *x509.Certificate) { c.MaxPathLen = -1 }, parent},
		"its validity is":                                     {func(c *x509.Certificate) { c.NotAfter = noon.Add(year) }, parent},
	} {
		t.Run(want, func(t *testing.T) {
			template, err := authorityTemplate(request, key.Public(), validity)
			wantNoError(t, err)
			test.tamper(template)
			c, err := sign(template, test.signer.issuer.certificate, key.Public(), test.signer.key())
			wantNoError(t, err)
			_, err = checkedIssuer(c, parent, request, key.Public(), validity)
			if want == "" {
				wantNoError(t, err)
				_, err = checkedIssuer(c, parent, request, keyFor(t, "other", KeyECDSAP256).Public(), validity)
				wantText(t, err, "its public key is another one")
			} else {
				wantText(t, err, want)
			}
		})
	}
}

func TestALimitOnUsagesStaysInForceBelow(t *testing.T) {
	clients := intermediate(t, forgiving(t), "clients", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	child := signed(t, clients, AuthorityFields{})
	wantNoError(t, child.issuer.Allows(requestFor(t, hello(t).Names(), UsageClient)))
	issue(t, child, requestFor(t, hello(t).Names(), UsageClient), keyFor(t, "leaf", KeyECDSAP256).Public())
	wantField(t, child.issuer.Allows(hello(t)), "usages", `CA "CN=clients" has an extKeyUsage without Server`)
}

// Whoever uses the key of a CA stands in one file.
func TestWhoUsesAKeyToSign(t *testing.T) {
	has := filesWith(t, "x509.CreateCertificate(", "x509.CreateRevocationList(", "SignMessage(", ".Sign(rand")
	if want := []string{"authority.go: SignMessage(", "authority.go: x509.CreateCertificate("}; !slices.Equal(has, want) {
		t.Errorf("%q, want %q", has, want)
	}
}
