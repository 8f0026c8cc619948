package policy

import "testing"

// patternCase: in namespace shop these patterns allow these names and refuse those.
type patternCase struct {
	patterns        []string
	allows, refuses []string
}

func checkPatterns(t *testing.T, cases map[string]patternCase) {
	t.Helper()
	for sentence, c := range cases {
		t.Run(sentence, func(t *testing.T) {
			r := newRule(c.patterns, "shop", "cluster.local")
			judge(t, r, c.allows, false)
			judge(t, r, c.refuses, true)
		})
	}
}

func TestPatternsOfDNSNamesAndText(t *testing.T) {
	checkPatterns(t, map[string]patternCase{
		"a name allows itself and no other": {
			[]string{"shop.example.com"},
			[]string{"dns shop.example.com", "cn shop.example.com"},
			[]string{"dns a.shop.example.com", "dns shop.example.co", "dns shop-example.com", "dns *.example.com"},
		},
		"allowedNames replaces what is allowed by default": {
			[]string{"shop.example.com"},
			nil,
			[]string{"dns cart.shop.svc", "dns cart.shop", "uri spiffe://td/ns/shop/sa/x"},
		},
		"case doesn't matter in a pattern of DNS names": {
			[]string{"*.Example.COM"}, []string{"dns a.example.com"}, []string{"dns A.example.com"},
		},
		"a star is one whole label": {
			[]string{"*.example.com", "a.*.example.org"},
			[]string{"dns a.example.com", "dns *.example.com", "dns xn--bcher-kva.example.com", "dns a.b.example.org"},
			[]string{"dns example.com", "dns a.b.example.com", "dns .example.com", "dns a.example.org", "dns b.b.example.org"},
		},
		"a certificate's wildcard needs a star": {
			[]string{"a.example.com", "b.example.com"}, nil, []string{"dns *.example.com"},
		},
		"a star that isn't a whole label allows nothing": {
			[]string{"a*.example.com", "**.example.com", "*"},
			[]string{"dns a"},
			[]string{"dns ab.example.com", "dns a.example.com", "dns a*.example.com", "cn a*.example.com", "cn *", "dns *"},
		},
		"the namespace may be a piece of a label": {
			[]string{"{namespace}-client", "*.{namespace}.apps.example.com"},
			[]string{"cn shop-client", "dns shop-client", "dns a.shop.apps.example.com"},
			[]string{"cn bank-client", "cn {namespace}-client", "dns a.bank.apps.example.com"},
		},
		"text must be equal": {
			[]string{"Shop Client", "{namespace} robot", "a * b"},
			[]string{"cn Shop Client", "cn shop robot"},
			[]string{"cn shop client", "cn Shop Client ", "cn bank robot", "cn a * b", "cn a x b", "O Shop Client"},
		},
		"attributes of the subject say which": {
			[]string{"O=payments", "OU={namespace}", "C=DE", "ST=Bayern", "L=*"},
			[]string{"O payments", "OU shop", "C DE", "ST Bayern"},
			[]string{"OU payments", "O shop", "dns payments", "cn payments", "cn O=payments", "L *", "L x", "C FR", "O Payments"},
		},
	})
}

func TestPatternsOfAddressesAndURIs(t *testing.T) {
	checkPatterns(t, map[string]patternCase{
		"addresses and ranges": {
			[]string{"10.0.0.0/8", "192.168.1.7", "fd00::/8", "10.9.9.9/32"},
			[]string{"ip 10.255.0.1", "ip 192.168.1.7", "ip fd12::1"},
			[]string{"ip 11.0.0.1", "ip 192.168.1.8", "ip fe80::1", "ip ::ffff:10.0.0.1", "ip ::ffff:a00:1", "ip x", "ip "},
		},
		"a range in IPv6 clothes covers no IPv4 address": {
			[]string{"::ffff:10.0.0.0/104", "::/0"}, []string{"ip ::1"}, []string{"ip 10.0.0.1"},
		},
		"an address is no DNS name with stars": {[]string{"*.*.*.*", "10.0.0.*"}, nil, []string{"ip 10.0.0.1", "dns 10.0.0.1"}},
		"e-mail addresses": {
			[]string{"*@{namespace}.example.com", "ops@*.example.org", "robot@example.net"},
			[]string{
				"email bob@shop.example.com", "email b.o+b@shop.example.com", "email ops@a.example.org",
				"email robot@example.net", "cn robot@example.net",
			},
			[]string{
				"email bob@bank.example.com", "email @shop.example.com", `email "a@b"@shop.example.com`, "email a@b@shop.example.com",
				"email a%b@shop.example.com", "email b!a@shop.example.com", "email ops@.example.org", "email ops@x@a.example.org",
				"email robot@example.net.evil", "dns shop.example.com", "cn bob@shop.example.com", "email a b@shop.example.com",
			},
		},
		"a star in a URI ends at a slash but at the end": {
			[]string{"https://*.example.com/{namespace}/*/x", "spiffe://td/{namespace}/*"},
			[]string{"uri https://a.example.com/shop/1/x", "uri https://a.b.example.com/shop/1/x", "uri spiffe://td/shop/a/b/c"},
			[]string{
				"uri https://a.example.com/shop/1/2/x", "uri https://.example.com/shop/1/x", "uri https://a.example.com/shop//x",
				"uri https://evil.com#.example.com/shop/1/x", "uri https://evil.com?.example.com/shop/1/x",
				"uri https://u@evil.example.com/shop/1/x", "uri https://evil:1.example.com/shop/1/x",
				"uri https://a.example.com/shop/../x", "uri https://a.example.com/shop/%2e/x", "uri spiffe://td/shop/",
				"uri spiffe://td/shop",
				"uri http://a.example.com/shop/1/x", "dns a.example.com", "uri spiffe://td/bank/x", "uri spiffe://td/shop/..",
			},
		},
		"a URI without a star allows itself, whatever is in it": {
			[]string{"https://example.com:8443/a%20b?c#d", "https://example.com/"},
			[]string{"uri https://example.com:8443/a%20b?c#d", "uri https://example.com/", "cn https://example.com/"},
			[]string{"uri https://example.com:8443/a%20b?c", "uri https://example.com", "uri https://example.com/x"},
		},
		"a pattern for a whole trust domain allows all in it": {
			[]string{"spiffe://td/*"}, []string{"uri spiffe://td/ns/bank/sa/x"}, []string{"uri spiffe://td2/x", "uri spiffe://td/../x"},
		},
		"a star makes no segment called ns beside the one that is there": {
			[]string{"spiffe://td/ns/{namespace}/n*/*"},
			[]string{"uri spiffe://td/ns/shop/na/b"},
			[]string{"uri spiffe://td/ns/shop/ns/bank"},
		},
		"a star makes no dot segment": {
			[]string{"https://h/a/.*", "https://h/*./b"},
			[]string{"uri https://h/a/.x"},
			[]string{"uri https://h/a/..", "uri https://h/../b"},
		},
		"a scheme has no star": {
			[]string{"*://td/x", "*"}, nil, []string{"uri spiffe://td/x", "uri https://td/x", "cn https://td/x"},
		},
		"signs of regular expressions are signs": {
			[]string{"a+b.example.com", "https://h/(a|b)*", ".*", "^x$", "spiffe://td/[a-z]*", "\xff*.example.com"},
			nil,
			[]string{
				"dns aab.example.com", "dns aexample.com", "dns a.example.com", "cn anything", "cn x", "uri https://h/a",
				"uri spiffe://td/x",
			},
		},
	})
}
