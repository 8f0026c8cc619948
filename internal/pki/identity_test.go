package pki

import (
	"crypto"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

// publicOf is the issuer of a root that was made by hand.
func publicOf(t testing.TB, made *pair) Issuer {
	t.Helper()
	issuer, err := PublicIssuer(made.certificate)
	wantNoError(t, err)
	return issuer
}

func TestARenewedRootHasTheSameIdentityUnlessItsLimitsChanged(t *testing.T) {
	plainRoot := func(c *x509.Certificate) {
		c.MaxPathLen, c.PermittedDNSDomains = 1, []string{"a", "b"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	key := keyFor(t, "identity", KeyECDSAP256)
	old := publicOf(t, forgeFor(t, nil, "identity", key, plainRoot))
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		want   bool
	}{
		"another time":          {func(c *x509.Certificate) { c.NotAfter = noon.Add(9 * year) }, true},
		"another serial number": {func(c *x509.Certificate) { c.SerialNumber.SetInt64(77) }, true},
		"another key usage":     {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature }, true},
		"another path length":   {func(c *x509.Certificate) { c.MaxPathLen = 2 }, false},
		"path length 0":         {func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }, false},
		"no path length":        {func(c *x509.Certificate) { c.MaxPathLen = -1 }, false},
		"fewer names":           {func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"a"} }, false},
		"no constraints":        {func(c *x509.Certificate) { c.PermittedDNSDomains = nil }, false},
		"excluded names":        {func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"c"} }, false},
		"excluded networks": {
			func(c *x509.Certificate) {
				c.ExcludedIPRanges = []*net.IPNet{{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}}
			},
			false,
		},
		"another usage":          {func(c *x509.Certificate) { c.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth }, false},
		"no usages":              {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, false},
		"another key identifier": {func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} }, false},
		"another name":           {func(c *x509.Certificate) { c.RawSubject = []byte("\x30\x00") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			again := publicOf(t, forgeFor(t, nil, "identity", key, func(c *x509.Certificate) {
				plainRoot(c)
				test.change(c)
			}))
			if old.SameIdentity(again) != test.want || again.SameIdentity(old) != test.want {
				t.Errorf("want %t", test.want)
			}
		})
	}
	if other := publicOf(t, forgeFor(t, nil, "identity", keyFor(t, "other", KeyECDSAP256), plainRoot)); old.SameIdentity(other) {
		t.Error("another key, same identity")
	}
	if !old.SameIdentity(old) || old.SameIdentity(Issuer{}) || (Issuer{}).SameIdentity(old) || (Issuer{}).SameIdentity(Issuer{}) {
		t.Error("an issuer isn't itself, or nobody is somebody")
	}
}

// renewed makes the certificate of an intermediate again, with the same key, below another parent.
func renewed(t testing.TB, child, parent *Authority) *Authority {
	t.Helper()
	c := child.issuer.certificate
	template, err := newTemplate(c.RawSubject, c.PublicKey, parent.issuer.LeafValidity(noon.Add(time.Hour), time.Hour))
	wantNoError(t, err)
	template.IsCA, template.KeyUsage, template.MaxPathLen = true, c.KeyUsage, c.MaxPathLen
	template.MaxPathLenZero = c.MaxPathLen == 0
	again, err := sign(template, parent.issuer.certificate, c.PublicKey, parent.key())
	wantNoError(t, err)
	chain := append([]*x509.Certificate{again}, parent.issuer.sent...)
	issuer, err := newIssuer(chain, parent.issuer.roots.Certificates())
	wantNoError(t, err)
	return newAuthority(issuer, child.key())
}

func TestWhatWasSignedUnderOneVerifiesUnderTheOtherOfTheSameIdentity(t *testing.T) {
	top, middle, bottom := family(t)
	other := selfSigned(t, AuthorityFields{Subject: Subject{CommonName: "other top"}, MaxPathLength: 2})
	namesake := selfSigned(t, AuthorityFields{Subject: Subject{CommonName: "root ECDSAP256"}})
	leaf := keyFor(t, "leaf", KeyECDSAP256).Public()
	for name, test := range map[string]struct {
		one, another *Authority
		want         bool
	}{
		"a renewed root":                         {root(t), renewedRoot(t), true},
		"a renewed intermediate":                 {middle, renewed(t, middle, top), true},
		"a renewed intermediate at the bottom":   {bottom, renewed(t, bottom, middle), true},
		"below a renewed intermediate":           {bottom, renewed(t, bottom, renewed(t, middle, top)), true},
		"an intermediate of the same CA":         {middle, signed(t, top, AuthorityFields{MaxPathLength: 1}), false},
		"the same key and name below other CAs":  {middle, renewed(t, middle, other), false},
		"the same key and name one level deeper": {bottom, renewed(t, bottom, top), false},
		"another root of the same name and form": {root(t), namesake, false},
	} {
		t.Run(name, func(t *testing.T) {
			one, another := test.one.issuer, test.another.issuer
			if one.SameIdentity(another) != test.want || another.SameIdentity(one) != test.want {
				t.Fatalf("want %t", test.want)
			}
			if !test.want {
				return
			}
			for _, pair := range []struct {
				signer *Authority
				peers  Issuer
			}{{test.one, another}, {test.another, one}} {
				request := hello(t)
				validity := one.validity.intersect(another.validity)
				c, err := pair.signer.Sign(request, leaf, validity, pair.signer.issuer.roots)
				wantNoError(t, err)
				wantNoError(t, Check(c, request, leaf, pair.peers, validity, pair.peers.roots))
			}
		})
	}
}

// withoutID is a root without key identifier: crypto/x509 writes one into every CA, so it is taken out afterwards.
func withoutID(t testing.TB, name string, key crypto.Signer) Issuer {
	t.Helper()
	issuer := publicOf(t, forgeFor(t, nil, name, key, nil))
	stripped := *issuer.certificate
	stripped.SubjectKeyId = nil
	stripped.AuthorityKeyId = nil
	issuer.certificate, issuer.roots = &stripped, NewBundle(&stripped)
	return issuer
}

func TestClash(t *testing.T) {
	key, other := keyFor(t, "clash", KeyECDSAP256), keyFor(t, "other clash", KeyECDSAP256)
	id := func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} }
	with := func(name string, key crypto.Signer, change func(*x509.Certificate)) Issuer {
		return publicOf(t, forgeFor(t, nil, name, key, change))
	}
	one := with("Same Name", key, nil)
	below := func(parent Issuer, parentKey crypto.Signer, name string) Issuer {
		made := forge(t, &pair{parent.certificate, parentKey}, name, nil)
		issuer, err := newIssuer([]*x509.Certificate{made.certificate}, parent.roots.Certificates())
		wantNoError(t, err)
		return issuer
	}
	for name, test := range map[string]struct {
		one, other Issuer
		want       string
	}{
		"other names":                          {withoutID(t, "a", key), withoutID(t, "b", other), ""},
		"one name, other keys, identifiers":    {one, with("Same Name", other, nil), ""},
		"one name, one key":                    {withoutID(t, "a", key), withoutID(t, "a", key), ""},
		"itself":                               {one, one, ""},
		"nobody":                               {one, Issuer{}, ""},
		"one name, other keys, no identifiers": {withoutID(t, "a", key), withoutID(t, "a", other), `"CN=a" and have no subject key`},
		"one without identifier":               {one, withoutID(t, "Same Name", other), `" and don't both have a subject`},
		"one identifier for both": {
			with("a", key, id), with("a", other, id), `"CN=a" and have the same subject key identifier`,
		},
		"names that differ in case and spaces only": {one, withoutID(t, "same  NAME", other), `" and don't both have`},
		"roots above others":                        {below(withoutID(t, "a", key), key, "x"), withoutID(t, "a", other), `"CN=a"`},
		"an intermediate with a root's name":        {below(one, key, "a"), withoutID(t, "a", other), `"CN=a"`},
		"siblings":                                  {below(one, key, "a"), below(one, key, "b"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, has := range []string{test.one.Clash(test.other), test.other.Clash(test.one)} {
				switch {
				case test.want == "" && has != "":
					t.Errorf("%q, want nothing", has)
				case !strings.Contains(has, test.want):
					t.Errorf("%q, want %q", has, test.want)
				case test.want != "" && !strings.HasSuffix(has, "give one another commonName, or make it with a "+
					"subject key identifier of its own"):
					t.Errorf("%q doesn't say what to do", has)
				}
			}
		})
	}
}

func TestAnIssuerOfARootAlone(t *testing.T) {
	whole := root(t).issuer
	issuer, err := PublicIssuer(whole.certificate)
	wantNoError(t, err)
	leaf := issue(t, root(t), hello(t), keyFor(t, "leaf", KeyECDSAP256).Public())
	if !issuer.SameIdentity(whole) || issuer.Fingerprint() != whole.Fingerprint() || !issuer.Issued(leaf) {
		t.Error("it is another one")
	}
	_, middle, _ := family(t)
	_, err = PublicIssuer(middle.issuer.certificate)
	wantImportError(t, err, "tls.crt", "which isn't self-signed")
	_, err = PublicIssuer(leaf)
	wantImportError(t, err, "tls.crt", "which isn't self-signed")
	_, err = PublicIssuer(nil)
	wantImportError(t, err, "tls.crt", "there is no certificate")
}

func TestSignedByIsAboutTheCertificateRightAbove(t *testing.T) {
	top, middle, bottom := family(t)
	for name, test := range map[string]struct {
		issuer, parent *Authority
		want           bool
	}{
		"its parent":               {bottom, middle, true},
		"its grandparent":          {bottom, top, false},
		"a root above it":          {middle, top, true},
		"itself":                   {middle, middle, false},
		"a root itself":            {top, top, false},
		"a renewed root, itself":   {renewedRoot(t), root(t), false},
		"its child":                {middle, bottom, false},
		"a renewed parent":         {bottom, renewed(t, middle, top), false},
		"below the renewed parent": {renewed(t, bottom, renewed(t, middle, top)), middle, false},
	} {
		t.Run(name, func(t *testing.T) {
			if test.issuer.issuer.SignedBy(test.parent.issuer) != test.want {
				t.Errorf("want %t", test.want)
			}
		})
	}
	if bottom.issuer.SignedBy(Issuer{}) || (Issuer{}).SignedBy(top.issuer) || (Issuer{}).SignedBy(Issuer{}) {
		t.Error("nobody signs")
	}
}
