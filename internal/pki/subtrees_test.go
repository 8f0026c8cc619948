package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestConstraintsOfAnIntermediateThatNothingCouldBeSignedUnder(t *testing.T) {
	above := selfSigned(t, AuthorityFields{MaxPathLength: 3, NameConstraints: allConstraints()})
	between := signed(t, above, AuthorityFields{MaxPathLength: 2, NameConstraints: NameConstraints{
		Permitted: NameConstraintSet{DNSDomains: []string{"example.com"}, EmailAddresses: []string{"b.example.net"}},
	}})
	dns := func(names ...string) NameConstraintSet { return NameConstraintSet{DNSDomains: names} }
	ips := func(names ...string) NameConstraintSet { return NameConstraintSet{IPRanges: names} }
	mails := func(names ...string) NameConstraintSet { return NameConstraintSet{EmailAddresses: names} }
	uris := func(names ...string) NameConstraintSet { return NameConstraintSet{URIDomains: names} }
	for name, test := range map[string]struct {
		parent     *Authority
		permitted  NameConstraintSet
		field, say string // of the field after nameConstraints.permitted; "" for nothing
	}{
		"none":                       {above, NameConstraintSet{}, "", ""},
		"the same as above":          {above, allConstraints().Permitted, "", ""},
		"a narrower domain":          {above, dns("a.example.com"), "", ""},
		"a wider domain":             {above, dns("com"), "", ""},
		"kinds that aren't limited":  {selfSignedOf(t, KeyECDSAP256), allConstraints().Permitted, "", ""},
		"beside an excluded domain":  {above, dns("public.example.com"), "", ""},
		"above an excluded domain":   {above, dns("example.com"), "", ""},
		"a narrower network":         {above, ips("10.2.0.0/16", "fd00:1::/32"), "", ""},
		"a wider network":            {above, ips("0.0.0.0/0", "::/0"), "", ""},
		"a mailbox at a host":        {above, mails("b@example.org"), "", ""},
		"the host of a mailbox":      {above, mails("example.com"), "", ""},
		"a host under a domain":      {above, mails("b.example.net"), "", ""},
		"a domain with a dot":        {above, uris(".b.example.net"), "", ""},
		"a host of URIs":             {above, uris("example.com", "a.example.net"), "", ""},
		"wide above, narrow between": {between, dns("com"), "", ""},
		"another domain": {
			above, dns("example.com", "example.org"), "dnsDomains[1]",
			`"example.org" has nothing in common with what is permitted by CA "CN=ca", which lists "local, example.com": remove it`,
		},
		"a domain that only ends the same": {above, dns("notexample.com"), "dnsDomains[0]", "nothing in common"},
		"an excluded domain": {
			above, dns("secret.example.com"), "dnsDomains[0]",
			`"secret.example.com" has only names that are excluded by CA "CN=ca", which lists "secret.example.com"`,
		},
		"under an excluded domain":        {above, dns("a.secret.example.com"), "dnsDomains[0]", "excluded by CA"},
		"another network":                 {above, ips("192.168.0.0/16"), "ipRanges[0]", "nothing in common"},
		"a network of the other family":   {above, ips("10.0.0.0/8", "fe80::/64"), "ipRanges[1]", "nothing in common"},
		"an excluded network":             {above, ips("10.1.2.0/24"), "ipRanges[0]", "excluded by CA"},
		"another mailbox":                 {above, mails("b@example.com"), "emailAddresses[0]", "nothing in common"},
		"an excluded mailbox, other case": {above, mails("Root@example.org"), "emailAddresses[0]", "excluded by CA"},
		"another host of mail":            {above, mails("example.net"), "emailAddresses[0]", "nothing in common"},
		"a host under a host": {
			above, uris("a.example.com"), "uriDomains[0]", // Go allows it, RFC 5280 doesn't
			"nothing in common",
		},
		"the domain without its dot": {above, uris("example.net"), "uriDomains[0]", "nothing in common"},
		"an excluded host":           {above, uris("secret.example.net"), "uriDomains[0]", "excluded by CA"},
		"under an excluded host":     {above, uris("a.secret.example.net"), "uriDomains[0]", "excluded by CA"},
		"above it's fine, between it isn't": {
			between, dns("local"), "dnsDomains[0]", `nothing in common with what is permitted by CA "CN=child"`,
		},
		"all mail under what only a part is left of": {
			between, mails(".example.net", "c.example.net"), "emailAddresses[1]", "nothing in common",
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := authorityRequest(t, AuthorityFields{
				Subject: Subject{CommonName: "below"}, NameConstraints: NameConstraints{Permitted: test.permitted},
			})
			child, err := test.parent.SignAuthority(request, noon)
			if test.field == "" {
				wantNoError(t, err)
				wantNoError(t, test.parent.issuer.AllowsAuthority(request))
				return
			}
			wantField(t, err, "nameConstraints.permitted."+test.field, test.say)
			wantField(t, test.parent.issuer.AllowsAuthority(request), "nameConstraints.permitted."+test.field, test.say)
			if child != nil {
				t.Error("a CA came back")
			}
		})
	}
}

// What one CA excludes may be all that the other one permits, whichever stands above.
func TestASubtreeOfWhichOneCAPermitsJustWhatTheOtherOneExcludes(t *testing.T) {
	permits := &x509.Certificate{PermittedDNSDomains: []string{"secret.example.com"}}
	excludes := &x509.Certificate{ExcludedDNSDomains: []string{"secret.example.com"}}
	for _, above := range [][]*x509.Certificate{{permits, excludes}, {excludes, permits}} {
		var checks fieldChecks
		checks.permitted(constraintSet{dns: []string{"example.com"}}, above)
		wantField(t, checks.err(), "nameConstraints.permitted.dnsDomains[0]", "only names that are excluded by CA")
	}
}

func TestWhatIsExcludedTwiceOrPermittedByNobodyElseIsFine(t *testing.T) {
	above := selfSigned(t, AuthorityFields{MaxPathLength: 1, NameConstraints: allConstraints()})
	wantNoError(t, above.issuer.AllowsAuthority(authorityRequest(t, AuthorityFields{NameConstraints: NameConstraints{
		Excluded: NameConstraintSet{DNSDomains: []string{"secret.example.com", "example.org", "com"}},
	}})))
}

// everyName has, for each kind, a name under each subtree that constrainedNames makes and is left by others.
func everyName(t testing.TB) map[string][]Request {
	t.Helper()
	hosts := []string{"a.b", "b.a", "a.b.c", "b.c", "c.a.b", "ca.b", "a.c.a.b"}
	for _, host := range hosts {
		hosts = append(hosts, "q."+host)
	}
	ips := []string{"10.0.0.0", "10.1.0.0", "10.1.1.1", "fd00::", "::"}
	requests := map[string][]Request{}
	add := func(kind string, names Names) {
		requests[kind] = append(requests[kind], requestFor(t, names, UsageClient))
	}
	for _, ip := range ips {
		add("ipRanges", Names{IPAddresses: []string{ip}})
	}
	for _, host := range hosts {
		add("dnsDomains", Names{DNSNames: []string{host}})
		add("uriDomains", Names{URIs: []string{"spiffe://" + host + "/x"}})
		for _, local := range []string{"x", "X", "y", "z"} {
			add("emailAddresses", Names{EmailAddresses: []string{local + "@" + host}})
		}
	}
	return requests
}

// A subtree is refused if, and only if, no name under it is allowed by all CAs above.
func TestASubtreeIsRefusedWhenNothingCouldBeSignedUnderIt(t *testing.T) {
	universe := everyName(t)
	_, sets := constrainedNames()
	above := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *x509.Certificate {
		request, err := NewAuthorityRequest(AuthorityFields{
			Subject: Subject{CommonName: "ca"}, KeyType: KeyECDSAP256, Duration: year,
			NameConstraints: NameConstraints{sets.Draw(t, "permitted"), sets.Draw(t, "excluded")},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{RawSubject: request.subject}
		request.constraints.apply(c)
		return c
	}), 1, 3)
	var allowed, refused int
	rapid.Check(t, func(t *rapid.T) {
		cas := above.Draw(t, "above")
		set, err := NewAuthorityRequest(AuthorityFields{
			Subject: Subject{CommonName: "child"}, KeyType: KeyECDSAP256, Duration: year,
			NameConstraints: NameConstraints{Permitted: sets.Draw(t, "child")},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range subtreeKinds {
			for _, subtree := range k.of(set.constraints.permitted) {
				only := &x509.Certificate{RawSubject: set.subject}
				k.limit(only, subtree)
				usable := slices.ContainsFunc(universe[k.field], func(r Request) bool {
					return checkConstraints(r, append([]*x509.Certificate{only}, cas...)) == nil
				})
				message := k.check(subtree, cas)
				if usable != (message == "") {
					t.Fatalf("%s %s: %q, but a name under it can be signed: %t", k.field, subtree, message, usable)
				}
				if usable {
					allowed++
				} else {
					refused++
				}
			}
		}
	})
	if allowed == 0 || refused == 0 {
		t.Errorf("%d allowed, %d refused: this test shows nothing", allowed, refused)
	}
}

// limit permits one subtree alone.
func (k subtreeKind) limit(c *x509.Certificate, subtree string) {
	var checks fieldChecks
	set := NameConstraintSet{}
	*map[string]*[]string{
		"dnsDomains": &set.DNSDomains, "ipRanges": &set.IPRanges,
		"emailAddresses": &set.EmailAddresses, "uriDomains": &set.URIDomains,
	}[k.field] = []string{subtree}
	constraints{permitted: checks.constraintSet("", set)}.apply(c)
}

func TestNetworksWithinNetworks(t *testing.T) {
	for _, test := range []struct {
		inner, outer string
		want         bool
	}{
		{"10.1.0.0/16", "10.0.0.0/8", true},
		{"10.0.0.0/8", "10.0.0.0/8", true},
		{"10.0.0.0/8", "10.1.0.0/16", false},
		{"11.0.0.0/8", "10.0.0.0/8", false},
		{"10.0.0.0/8", "::/0", false},
		{"fd00::/8", "::/0", true},
		{"::/0", "0.0.0.0/0", false},
		{"nonsense", "0.0.0.0/0", false},
		{"10.0.0.0/8", "nonsense", false},
	} {
		t.Run(fmt.Sprintf("%s in %s", test.inner, test.outer), func(t *testing.T) {
			if isNetworkWithin(test.inner, test.outer) != test.want {
				t.Errorf("want %t", test.want)
			}
		})
	}
}
