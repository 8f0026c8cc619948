package pki

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// constraintTest is a request under a CA with constraints.
type constraintTest struct {
	names      Names
	wrong, say string // the name that is wrong and what must be said; "" for nothing
}

func runConstraintTests(t *testing.T, set NameConstraints, tests map[string]constraintTest) {
	t.Helper()
	authority := selfSigned(t, AuthorityFields{NameConstraints: set})
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			issuer := authority.Issuer()
			request := requestFor(t, test.names, UsageClient)
			leaf, err := authority.Sign(request, key, issuer.LeafValidity(noon, time.Hour), issuer.Bundle())
			if test.wrong == "" {
				wantNoError(t, err)
				return
			}
			var wrong *NameConstraintError
			if !errors.As(err, &wrong) || leaf != nil {
				t.Fatalf("%v is no NameConstraintError", err)
			}
			if wrong.Name != test.wrong || !strings.Contains(wrong.Message, test.say) {
				t.Errorf("%q %q, want %q %q", wrong.Name, wrong.Message, test.wrong, test.say)
			}
			wantText(t, err, quote(test.wrong)+" is")
		})
	}
}

func TestConstraintsOnDNSNamesAndIPAddressesAreCheckedBeforeSigning(t *testing.T) {
	dns := func(names ...string) Names { return Names{DNSNames: names} }
	ip := func(names ...string) Names { return Names{IPAddresses: names} }
	named := func(name string) Names { return Names{Subject: Subject{CommonName: name}} }
	runConstraintTests(t, NameConstraints{
		Permitted: NameConstraintSet{DNSDomains: []string{"example.com", "local"}, IPRanges: []string{"10.0.0.0/8"}},
		Excluded:  NameConstraintSet{DNSDomains: []string{"a.secret.example.com"}, IPRanges: []string{"10.1.0.0/16"}},
	}, map[string]constraintTest{
		"the permitted domain": {dns("example.com"), "", ""},
		"under it":             {dns("a.b.example.com"), "", ""},
		"a wildcard under it":  {dns("*.example.com"), "", ""},
		"under another one":    {dns("svc.cluster.local"), "", ""},
		"a domain that isn't permitted": {
			dns("example.com", "example.org"), "example.org",
			`isn't under any of the dnsDomains that CA "CN=ca" permits: "example.com, local"`,
		},
		"a domain that only ends the same": {
			dns("notexample.com"), "notexample.com", "isn't under any of the dnsDomains",
		},
		"above a permitted domain": {dns("com"), "com", "isn't under any"},
		"the excluded domain": {
			dns("a.secret.example.com"), "a.secret.example.com", `is under one of the dnsDomains that CA "CN=ca" excludes`,
		},
		"under the excluded domain":      {dns("b.a.secret.example.com"), "b.a.secret.example.com", "excludes"},
		"a wildcard that covers it":      {dns("*.secret.example.com"), "*.secret.example.com", "excludes"},
		"a wildcard that is one above":   {dns("*.example.com"), "", ""},
		"an address inside":              {ip("10.2.0.1"), "", ""},
		"an address outside":             {ip("192.168.0.1"), "192.168.0.1", "isn't under any of the ipRanges"},
		"an excluded address":            {ip("10.1.0.1"), "10.1.0.1", "is under one of the ipRanges"},
		"an address of the other family": {ip("fd00::1"), "fd00::1", "isn't under any of the ipRanges"},
		"a common name that is no name":  {named("my client"), "", ""},
		"a common name of one label":     {named("client"), "", ""},
		"a common name inside":           {named("Client.Example.com"), "", ""},
		"a common name like a DNS name": {
			named("client.example.org"), "client.example.org", "isn't under any of the dnsDomains",
		},
		"a common name beside a DNS name": {
			Names{Subject: Subject{CommonName: "x.example.org"}, DNSNames: []string{"a.local"}}, "", "",
		},
	})
}

func TestConstraintsOnURIsAndEmailAddressesAreCheckedBeforeSigning(t *testing.T) {
	uri := func(names ...string) Names { return Names{URIs: names} }
	email := func(names ...string) Names { return Names{EmailAddresses: names} }
	permit, exclude := NameConstraintSet{}, NameConstraintSet{}
	permit.URIDomains, exclude.URIDomains = []string{"example.com", ".example.net"}, []string{"secret.example.net"}
	permit.EmailAddresses = []string{"a@example.com", "example.org", ".example.net"}
	exclude.EmailAddresses = []string{"root@example.org", "secret.example.net"}
	runConstraintTests(t, NameConstraints{permit, exclude}, map[string]constraintTest{
		"a URI at the host":               {uri("spiffe://example.com/a"), "", ""},
		"a URI with a port":               {uri("https://example.com:443/a"), "", ""},
		"a URI under a domain with a dot": {uri("spiffe://a.example.net/a"), "", ""},
		"a URI under a host without a dot": {
			uri("spiffe://a.example.com/a"), "a.example.com", "isn't under any of the uriDomains",
		},
		"a URI at a domain with a dot": {
			uri("spiffe://example.net/a"), "example.net", "isn't under any of the uriDomains",
		},
		"a URI at an excluded host": {
			uri("spiffe://secret.example.net/a"), "secret.example.net", "is under one of the uriDomains",
		},
		"a URI under an excluded host": {
			uri("spiffe://a.secret.example.net/a"), "a.secret.example.net", "is under one of the uriDomains",
		},
		"an e-mail address":                {email("a@example.com"), "", ""},
		"an e-mail address at a host":      {email("b@example.org"), "", ""},
		"an e-mail address under a domain": {email("b@c.example.net"), "", ""},
		"another address at that host": {
			email("b@example.com"), "b@example.com", "isn't under any of the emailAddresses",
		},
		"an address in another case": {
			email("A@example.com"), "A@example.com", "isn't under any of the emailAddresses",
		},
		"an address under a host": {
			email("b@c.example.org"), "b@c.example.org", "isn't under any of the emailAddresses",
		},
		"an excluded e-mail address": {
			email("root@example.org"), "root@example.org", "is under one of the emailAddresses",
		},
		"an excluded address, other case": {
			email("Root@example.org"), "Root@example.org", "is under one of the emailAddresses",
		},
		"under an excluded host": {
			email("a@b.secret.example.net"), "a@b.secret.example.net", "is under one of the emailAddresses",
		},
	})
}

func TestURIsWithAnIPAddressUnderConstraintsOfAnyKind(t *testing.T) {
	authority := selfSigned(t, AuthorityFields{
		NameConstraints: NameConstraints{Permitted: NameConstraintSet{DNSDomains: []string{"example.com"}}},
	})
	for _, uri := range []string{"https://10.0.0.1/", "https://[fd00::1]:80/"} {
		request := requestFor(t, Names{URIs: []string{uri}}, UsageClient)
		_, err := authority.Sign(request, keyFor(t, "leaf", KeyECDSAP256).Public(), validityOf(authority.issuer.certificate),
			authority.issuer.roots)
		wantText(t, err, quote(uri)+" has an IP address for a host, which can't be compared")
	}
}

func TestConstraintsOfEveryCAAboveCount(t *testing.T) {
	limit := func(domain string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.PermittedDNSDomains = []string{domain} }
	}
	top := forge(t, nil, "constrained root", limit("example.com"))
	middle := forge(t, top, "constrained middle", limit("b.example.com"))
	bottom := forge(t, middle, "constrained bottom", func(c *x509.Certificate) {
		c.ExcludedDNSDomains = []string{"c.b.example.com"}
	})
	authority, err := LoadAuthority(
		EncodeCertificates(bottom.certificate, middle.certificate), bottom.keyPEM(t), top.certificatePEM())
	wantNoError(t, err)
	for dns, want := range map[string]string{
		"a.b.example.com": "",
		"a.org":           `CA "CN=constrained middle" permits: "b.example.com"`,
		"a.example.com":   `CA "CN=constrained middle" permits: "b.example.com"`,
		"c.b.example.com": `CA "CN=constrained bottom" excludes: "c.b.example.com"`,
	} {
		t.Run(dns, func(t *testing.T) {
			_, err := authority.Sign(requestFor(t, Names{DNSNames: []string{dns}}, UsageServer),
				keyFor(t, "leaf", KeyECDSAP256).Public(), authority.issuer.LeafValidity(noon, time.Hour), authority.issuer.roots)
			if want == "" {
				wantNoError(t, err)
			} else {
				wantText(t, err, want)
			}
		})
	}
}

func TestEmptyConstraintsFromElsewhere(t *testing.T) {
	// An empty DNS name covers everything (RFC 5280 and Go); for hosts the verifiers differ, so nothing is permitted by
	// it.
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		names  Names
		want   string
	}{
		"all DNS names permitted": {
			func(c *x509.Certificate) { c.PermittedDNSDomains = []string{""} }, Names{DNSNames: []string{"a"}}, "",
		},
		"all DNS names excluded": {
			func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{""} }, Names{DNSNames: []string{"a"}}, "excludes",
		},
		"all DNS names excluded, without any": {
			func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{""} }, Names{EmailAddresses: []string{"a@b"}}, "",
		},
		"all hosts of URIs excluded": {
			func(c *x509.Certificate) { c.ExcludedURIDomains = []string{""} }, Names{URIs: []string{"https://a.bc"}}, "excludes",
		},
		"all hosts of addresses excluded": {
			func(c *x509.Certificate) { c.ExcludedEmailAddresses = []string{""} },
			Names{EmailAddresses: []string{"a@b"}},
			"excludes",
		},
		"all hosts of addresses permitted": {
			func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{""} },
			Names{EmailAddresses: []string{"a@b"}},
			"permits",
		},
		"all IPv4 addresses excluded": {
			func(c *x509.Certificate) {
				c.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}
			}, Names{IPAddresses: []string{"fd00::1"}}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			made := forge(t, nil, "empty constraints", test.change)
			err := checkConstraints(requestFor(t, test.names, UsageClient), []*x509.Certificate{made.certificate})
			if test.want == "" {
				wantNoError(t, err)
			} else {
				wantText(t, err, test.want)
			}
		})
	}
}

// constrainedNames are names and subtrees that meet often, so that every rule is tried.
func constrainedNames() (names *rapid.Generator[Names], sets *rapid.Generator[NameConstraintSet]) {
	host := rapid.SampledFrom([]string{"a.b", "b.a", "a.b.c", "b.c", "c.a.b", "ca.b", "a.c.a.b"})
	some := func(of *rapid.Generator[string]) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(of, 0, 2, rapid.ID[string])
	}
	with := func(prefix string, of *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(of, func(text string) string { return prefix + text })
	}
	ip := rapid.SampledFrom([]string{"10.0.0.1", "10.1.0.1", "10.1.1.1", "fd00::1", "fe80::1"})
	mail := rapid.OneOf(with("x@", host), with("X@", host), with("y@", host))
	names = rapid.Custom(func(t *rapid.T) Names {
		return Names{
			Subject:        Subject{CommonName: rapid.OneOf(host, rapid.Just("x")).Draw(t, "commonName")},
			DNSNames:       some(rapid.OneOf(host, with("*.", host))).Draw(t, "dnsNames"),
			IPAddresses:    some(ip).Draw(t, "ipAddresses"),
			URIs:           some(with("spiffe://", rapid.Map(host, func(h string) string { return h + "/x" }))).Draw(t, "uris"),
			EmailAddresses: rapid.SliceOfNDistinct(mail, 0, 2, strings.ToLower).Draw(t, "emailAddresses"),
		}
	})
	sets = rapid.Custom(func(t *rapid.T) NameConstraintSet {
		network := rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "fd00::/8", "::/0"})
		return NameConstraintSet{
			DNSDomains:     some(host).Draw(t, "dnsDomains"),
			IPRanges:       some(network).Draw(t, "ipRanges"),
			EmailAddresses: rapid.SliceOfNDistinct(rapid.OneOf(host, with(".", host), mail), 0, 2, strings.ToLower).Draw(t, "mail"),
			URIDomains:     some(rapid.OneOf(host, with(".", host))).Draw(t, "uriDomains"),
		}
	})
	return names, sets
}

// What is allowed before signing must please Go's verifier; what it refuses must have been refused.
func TestConstraintsAreNeverWiderThanThoseOfGo(t *testing.T) {
	names, sets := constrainedNames()
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	allowed, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		request, err := NewRequest(names.Draw(t, "names"), []Usage{UsageClient})
		if err != nil {
			t.Fatal(err)
		}
		authorityRequest, err := NewAuthorityRequest(AuthorityFields{
			Subject: Subject{CommonName: "ca"}, KeyType: KeyECDSAP256, Duration: year,
			NameConstraints: NameConstraints{sets.Draw(t, "permitted"), sets.Draw(t, "excluded")},
		})
		if err != nil {
			t.Fatal(err)
		}
		authority, err := SelfSign(authorityRequest, noon)
		if err != nil {
			t.Fatal(err)
		}
		issuer := authority.Issuer()
		_, err = authority.Sign(request, key, issuer.LeafValidity(noon, time.Hour), issuer.Bundle())
		var wrong *NameConstraintError
		switch {
		case err == nil:
			allowed++
		case errors.As(err, &wrong):
			refused++
		default:
			t.Fatalf("it wasn't noticed before signing: %v", err)
		}
	})
	if allowed == 0 || refused == 0 {
		t.Errorf("%d allowed, %d refused: this test shows nothing", allowed, refused)
	}
}

func TestConstraintsAreNeverWiderThanThoseOfOpenssl(t *testing.T) {
	w := newWorkshop(t)
	names, sets := constrainedNames()
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	verified := 0
	for seed := range 25 {
		set := func(shift int) NameConstraintSet { return sets.Example(seed + shift) }
		authority := selfSigned(t, AuthorityFields{NameConstraints: NameConstraints{Permitted: set(0), Excluded: set(1000)}})
		issuer := authority.Issuer()
		w.write("ca.pem", issuer.Bundle().PEM())
		for more := range 8 {
			request := requestFor(t, names.Example(seed*8+more), UsageClient)
			leaf, err := authority.Sign(request, key, issuer.LeafValidity(noon, time.Hour), issuer.Bundle())
			if err != nil {
				continue
			}
			w.write("leaf.pem", EncodeCertificates(leaf))
			w.run("verify -x509_strict -attime 1795521600 -CAfile ca.pem -purpose sslclient leaf.pem")
			verified++
		}
	}
	if verified < 10 {
		t.Errorf("%d leaves were verified: this test shows nothing", verified)
	}
}
