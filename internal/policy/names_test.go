package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// named makes names with one name: "dns a", "ip 10.0.0.1", "uri …", "email …", "cn …", "O payments", "OU …", "ST …".
func named(t *testing.T, name string) pki.Names {
	t.Helper()
	kind, value, _ := strings.Cut(name, " ")
	list := []string{value}
	switch kind {
	case "dns":
		return pki.Names{DNSNames: list}
	case "ip":
		return pki.Names{IPAddresses: list}
	case "uri":
		return pki.Names{URIs: list}
	case "email":
		return pki.Names{EmailAddresses: list}
	case "cn":
		return pki.Names{Subject: pki.Subject{CommonName: value}}
	case "O":
		return pki.Names{Subject: pki.Subject{Organizations: list}}
	case "OU":
		return pki.Names{Subject: pki.Subject{OrganizationalUnits: list}}
	case "C":
		return pki.Names{Subject: pki.Subject{Countries: list}}
	case "ST":
		return pki.Names{Subject: pki.Subject{Provinces: list}}
	case "L":
		return pki.Names{Subject: pki.Subject{Localities: list}}
	}
	t.Fatalf("no kind of name: %q", kind)
	return pki.Names{}
}

// judge checks that exactly those names are refused of which refused says so; none may go by what pki refuses before.
func judge(t *testing.T, r rule, names []string, refused bool) {
	t.Helper()
	for _, name := range names {
		violations := r.review(named(t, name))
		if got := len(violations) > 0; got != refused {
			t.Errorf("%s: refused is %t, want %t: %v", name, got, refused, violations)
		}
	}
}

func TestWithoutAllowedNamesANamespaceGetsItsOwnNames(t *testing.T) {
	judge(t, newRule(nil, "shop", "cluster.local"), []string{
		"dns cart.shop",
		"dns cart.shop.svc",
		"dns cart.shop.svc.cluster.local",
		"dns *.shop.svc",
		"dns *.shop.svc.cluster.local",
		"dns 1.shop",
		"uri spiffe://cluster.local/ns/shop/sa/cart",
		"uri spiffe://other.example/ns/shop/anything/below",
		"cn cart.shop.svc",
		"cn *.shop.svc",
		"cn spiffe://cluster.local/ns/shop/sa/cart",
	}, false)
}

func TestWithoutAllowedNamesANamespaceGetsNothingElse(t *testing.T) {
	for sentence, names := range map[string][]string{
		"bare names":                         {"dns cart", "dns shop", "dns localhost", "cn my-client", "cn shop"},
		"names of another namespace":         {"dns db.bank", "dns db.bank.svc", "dns db.bank.svc.cluster.local", "cn db.bank.svc"},
		"its own name as somebody's service": {"dns shop.bank.svc", "dns shop.svc", "dns shop.svc.cluster.local"},
		"names below and above its own": {
			"dns a.b.shop.svc", "dns shop.svc", "dns svc", "dns a.shop.svc.cluster", "dns a.shop.svc.local", "dns a.shop.cluster.local",
		},
		"its name as a piece of a label": {"dns cart.myshop.svc", "dns cart.shop-2.svc", "dns cart.shopsvc", "dns cartshop.svc"},
		"names that only begin like its own": {
			"dns cart.shop.svc.evil.example", "dns cart.shop.svc.cluster.local.evil.example", "dns cart.shop.evil",
		},
		"wildcards that stand for others": {"dns *.svc", "dns *.svc.cluster.local", "dns *", "dns *.*.svc", "dns *.cluster.local"},
		"wildcards that aren't one": {
			"dns c*.shop.svc", "dns *a.shop.svc", "dns a.*.shop.svc", "dns a.*.svc", "dns **.shop.svc", "dns *.*.shop.svc",
		},
		"names in odd forms": {
			"dns cart.shop.svc.", "dns .shop.svc", "dns CART.shop.svc", "dns cart_1.shop.svc", "dns -a.shop.svc", "dns a-.shop.svc",
			"dns cart.shop.svc\n", "dns cart.shop.svc\x00.evil", "dns cart\n.shop.svc", "dns ", "dns é.shop.svc",
			"dns " + strings.Repeat("a", 64) + ".shop.svc",
		},
		"addresses": {"ip 10.0.0.1", "ip fd00::1", "ip 127.0.0.1", "dns 10.0.0.1", "cn 10.0.0.1"},
		"e-mail":    {"email a@shop", "email shop@shop.svc", "email a@cart.shop.svc", "cn a@cart.shop.svc"},
		"subjects":  {"O shop", "OU shop", "C DE", "ST shop", "L shop", "O cart.shop.svc", "ST x/CN=cart.shop.svc"},
		"a CN that says more than one thing": {
			"cn a/CN=admin.shop.svc", "cn admin,O=x.shop.svc", "cn bob cart.shop.svc", "cn cart.shop.svc bob", "cn Cart.shop.svc",
			"cn spiffe://td/ns/shop/sa/x ", "cn spiffe://td/ns/shop/sa/x,CN=admin", "cn system:node:shop", "cn *", "cn *.*.shop",
		},
		"SPIFFE IDs of another namespace": {
			"uri spiffe://td/ns/bank/sa/x", "uri spiffe://td/ns/shop-2/sa/x", "uri spiffe://td/ns/bank/ns/shop/sa/x",
		},
		"SPIFFE IDs in which somebody finds another namespace": {
			"uri spiffe://td/ns/shop/ns/bank/sa/x", "uri spiffe://td/ns/shop/x/NS/bank", "uri spiffe://ns/ns/shop/sa/x",
			"uri spiffe://td/ns/shop/sa/x/ns", "cn spiffe://td/ns/shop/ns/bank/sa/x",
		},
		"SPIFFE IDs that are resolved to another": {
			"uri spiffe://td/ns/shop/../bank/sa/x", "uri spiffe://td/ns/shop/./sa/x", "uri spiffe://td/ns/shop/..",
			"uri spiffe://td/ns/shop//sa", "uri spiffe://td/ns/shop/sa/", "uri spiffe://td/ns/shop/%2e%2e/bank",
			"uri spiffe://td/ns/shop/x%2f..%2fbank", "uri spiffe://td/ns/shop/..;/bank", `uri spiffe://td/ns/shop/..\bank`,
		},
		"SPIFFE IDs of another trust domain shape": {
			"uri spiffe://td/x/ns/shop/sa/y", "uri spiffe:///ns/shop/sa/x", "uri spiffe://ns/shop/sa/x", "uri spiffe:/td/ns/shop/sa/x",
			"uri spiffe://user@td/ns/shop/sa/x", "uri spiffe://td:443/ns/shop/sa/x", "uri spiffe://td?/ns/shop/sa/x",
			"uri spiffe://td#/ns/shop/sa/x", "uri spiffe://t%64/ns/shop/sa/x", "uri spiffe://[::1]/ns/shop/x",
		},
		"SPIFFE IDs in odd forms": {
			"uri spiffe://td/ns/shop", "uri spiffe://td/ns/shop/", "uri SPIFFE://td/ns/shop/sa/x", "uri spiffe://td/NS/shop/sa/x",
			"uri spiffe://td/ns/SHOP/sa/x", "uri spiffe://td/ns/shop/sa/x?y", "uri spiffe://td/ns/shop/sa/x#y",
			"uri spiffe://td/ns/shop/sa/x\n", "uri  spiffe://td/ns/shop/sa/x", "uri spiffe://td/ns%2fshop/sa/x",
		},
		"URIs of other schemes": {
			"uri https://td/ns/shop/sa/x", "uri xspiffe://td/ns/shop/sa/x", "uri https://spiffe://td/ns/shop/sa/x", "uri urn:ns:shop",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			judge(t, newRule(nil, "shop", "cluster.local"), names, true)
		})
	}
}

func TestNamespacesThatAreCalledLikeOtherThings(t *testing.T) {
	for sentence, c := range map[string]struct {
		namespace string
		names     []string
		refused   bool
	}{
		"svc gets its services":          {"svc", []string{"dns a.svc", "dns a.svc.svc", "dns a.svc.svc.cluster.local"}, false},
		"svc gets nobody's short name":   {"svc", []string{"dns a.bank.svc", "dns bank.svc.cluster.local"}, true},
		"local isn't the cluster domain": {"local", []string{"dns svc.cluster.local", "dns a.bank.svc.cluster.local"}, true},
		"ns gets its SPIFFE IDs":         {"ns", []string{"uri spiffe://td/ns/ns/sa/x"}, false},
		"ns gets nobody else's":          {"ns", []string{"uri spiffe://td/ns/ns/bank/x/ns", "uri spiffe://ns/ns/ns/sa"}, true},
		"1 gets its services":            {"1", []string{"dns web.1", "dns web.1.svc"}, false},
		"1 gets no address":              {"1", []string{"dns 127.1", "dns 0x7f.1", "dns 0x.1", "cn 127.1", "dns *.1"}, true},
		"0x1 gets no address":            {"0x1", []string{"dns 127.0x1", "cn 127.0x1"}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			judge(t, newRule(nil, c.namespace, "cluster.local"), c.names, c.refused)
		})
	}
}

// A namespace's name comes from the API server; what comes without one, or with an invalid one, gets nothing from it.
func TestWhatIsNoNamespaceGetsNoNamesOfOne(t *testing.T) {
	for _, namespace := range []string{"", "*", "a.b", "a/b", "SHOP", ".", "{namespace}", "shop.svc", "bank/sa/x/ns/shop"} {
		names := []string{
			"dns a..svc", "dns a.svc", "dns a." + namespace + ".svc", "dns a." + namespace, "dns a.bank.svc",
			"uri spiffe://td/ns//sa/x", "uri spiffe://td/ns/" + namespace + "/x", "uri spiffe://td/ns/bank/sa/x",
		}
		judge(t, newRule(nil, namespace, "cluster.local"), names, true)
		judge(t, newRule([]string{"*.{namespace}.svc", "spiffe://*/ns/{namespace}/*"}, namespace, "cluster.local"), names, true)
		judge(t, newRule([]string{"a.example.com"}, namespace, ""), []string{"dns a.example.com"}, false)
	}
}

func TestWithoutAClusterDomainNoNameStandsForOne(t *testing.T) {
	r := newRule(nil, "shop", "")
	judge(t, r, []string{"dns a.shop.svc", "dns a.shop"}, false)
	judge(t, r, []string{"dns a.shop.svc.", "dns a.shop.svc.cluster.local"}, true)
}

func TestEveryViolationIsToldWithItsField(t *testing.T) {
	violations := newRule(nil, "shop", "cluster.local").review(pki.Names{
		Subject: pki.Subject{
			CommonName: "db.bank.svc", Organizations: []string{"a", "b"}, OrganizationalUnits: []string{"c"},
			Countries: []string{"DE"}, Provinces: []string{"d"}, Localities: []string{"e"},
		},
		DNSNames:       []string{"a.shop.svc", "db.bank.svc", "localhost"},
		IPAddresses:    []string{"10.0.0.1"},
		URIs:           []string{"spiffe://td/ns/shop/x", "spiffe://td/ns/bank/x"},
		EmailAddresses: []string{"a@example.com"},
	})
	var fields []string
	for _, v := range violations {
		fields = append(fields, v.Field)
	}
	// spec.dnsNames[1] is the commonName once more, and told with it.
	want := []string{
		"spec.commonName", "spec.subject.organizations[0]", "spec.subject.organizations[1]",
		"spec.subject.organizationalUnits[0]", "spec.subject.countries[0]", "spec.subject.provinces[0]", "spec.subject.localities[0]",
		"spec.dnsNames[2]", "spec.ipAddresses[0]", "spec.uris[1]", "spec.emailAddresses[0]",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestMessages(t *testing.T) {
	for sentence, c := range map[string]struct {
		patterns []string
		name     string
		want     string
	}{
		"by default what is allowed is said": {
			nil, "dns db.bank.svc",
			`spec.dnsNames[0]: "db.bank.svc" is not among what namespace "shop" may have, only names of its own namespace: ` +
				`*.shop.svc, *.shop.svc.cluster.local, *.shop, spiffe://*/ns/shop/*; remove it, or ask the owner of the authority ` +
				`to list "db.bank.svc" in allowedNames`,
		},
		"an owner's patterns stay the owner's": {
			[]string{"secret-customer.example.com"},
			"dns db.bank.svc",
			`spec.dnsNames[0]: "db.bank.svc" is not among what the authority allows namespace "shop"; remove it, or ask the owner ` +
				`of the authority to list "db.bank.svc" in allowedNames`,
		},
		"an attribute is to be listed with its type": {
			[]string{"x"},
			"OU ops",
			`spec.subject.organizationalUnits[0]: "ops" is not among what the authority allows namespace "shop"; remove it, or ask ` +
				`the owner of the authority to list "OU=ops" in allowedNames`,
		},
		"what a user wrote is quoted and cut": {
			[]string{"x"},
			"cn " + strings.Repeat("\x1b", 101),
			`spec.commonName: "` + strings.Repeat(`\x1b`, 100) + `…" is not among what the authority allows namespace "shop"; ` +
				`remove it, or ask the owner of the authority to list "` + strings.Repeat(`\x1b`, 100) + `…" in allowedNames`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := newRule(c.patterns, "shop", "cluster.local").review(named(t, c.name)).Error()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
