package policy_test

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

const clusterDomain = "cluster.local"

// The words that names are made of in the tests; those in namespaces are also words with a meaning of their own.
var (
	namespaces = []string{"a", "b", "ab", "a-b", "svc", "ns", "sa", "local", "cluster", "spiffe", "1", "xn--a"}
	words      = append(slices.Clone(namespaces),
		"*", "", "..", ".", "%2e%2e", "NS", "A", "a@b", "a:1", "a;b", "a?b", "a#b", `a\b`, "x")
	joints = []string{".", ".", "/", "/", "//", "://", "@", ":", "-", ""}
)

// anyName draws text from words and joints, and often one of the forms that names in a cluster have.
func anyName(t *rapid.T, label string) string {
	draw := func(from []string) string { return rapid.SampledFrom(from).Draw(t, label) }
	switch rapid.IntRange(0, 4).Draw(t, label) {
	case 0:
		return draw(words) + "." + draw(words) + draw([]string{"", ".svc", ".svc." + clusterDomain})
	case 1:
		text := "spiffe://" + draw(words) + "/ns/" + draw(words)
		for range rapid.IntRange(0, 4).Draw(t, label) {
			text += "/" + draw(words)
		}
		return text
	default:
		text := draw(words)
		for range rapid.IntRange(0, 6).Draw(t, label) {
			text += draw(joints) + draw(words)
		}
		return text
	}
}

// everywhere makes the name a CN and a name of every list, whichever of them a request may carry.
func everywhere(name string) []pki.Names {
	list := []string{name}
	return []pki.Names{
		{Subject: pki.Subject{CommonName: name}},
		{Subject: pki.Subject{CommonName: name}, DNSNames: list},
		{DNSNames: list},
		{IPAddresses: list},
		{URIs: list},
		{EmailAddresses: list},
		{Subject: pki.Subject{Organizations: list}, DNSNames: []string{"x.a.svc"}},
		{Subject: pki.Subject{OrganizationalUnits: list}, DNSNames: []string{"x.a.svc"}},
	}
}

// permitted tells whether a certificate of the namespace gets these names from an authority elsewhere. What isn't a
// request never comes as far as the policy.
func permitted(namespace string, names pki.Names, spec v1alpha1.MTLSAuthoritySpec) bool {
	request, err := pki.NewRequest(names, []pki.Usage{pki.UsageClient})
	return err == nil && policy.Review(authority(spec), namespace, clusterDomain, request, day) == nil
}

func TestNoTwoNamespacesGetTheSameName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SampledFrom(namespaces).Draw(t, "x")
		y := rapid.SampledFrom(namespaces).Filter(func(y string) bool { return y != x }).Draw(t, "y")
		for _, names := range everywhere(anyName(t, "name")) {
			if permitted(x, names, v1alpha1.MTLSAuthoritySpec{}) && permitted(y, names, v1alpha1.MTLSAuthoritySpec{}) {
				t.Fatalf("%q and %q both get %+v", x, y, names)
			}
		}
	})
}

// A verifier's way to read a name is not ours: these are the loosest in use. Nothing a tenant of x gets may tell such a
// verifier that it is of y.
func TestNobodyTakesANamespaceForAnother(t *testing.T) {
	anywhere := regexp.MustCompile(`/ns/([^/]+)`)
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SampledFrom(namespaces).Draw(t, "x")
		name := anyName(t, "name")
		for _, names := range everywhere(name) {
			if !permitted(x, names, v1alpha1.MTLSAuthoritySpec{}) {
				continue
			}
			checkOwn(t, x, name)
			for rest := name; strings.Contains(rest, "/ns/"); rest = rest[strings.Index(rest, "/ns/")+1:] {
				if found := anywhere.FindStringSubmatch(rest); len(found) < 2 || found[1] != x {
					t.Fatalf("%q gets %q, in which %q is found", x, name, found)
				}
			}
		}
	})
}

// checkOwn is the default rule once more, in the words of net/url and path and not of patterns.
func checkOwn(t interface{ Fatalf(string, ...any) }, namespace, name string) {
	if strings.Contains(name, "://") {
		uri, err := url.Parse(name)
		if err != nil || uri.Scheme != "spiffe" || uri.Host == "" || uri.User != nil || uri.Port() != "" || uri.RawQuery != "" ||
			uri.Fragment != "" || uri.RawPath != "" || path.Clean(uri.Path) != uri.Path ||
			!strings.HasPrefix(uri.Path, "/ns/"+namespace+"/") {
			t.Fatalf("%q gets %q", namespace, name)
		}
		return
	}
	host, found := strings.CutSuffix(name, ".svc."+clusterDomain)
	if !found {
		host = strings.TrimSuffix(name, ".svc")
	}
	first, second, _ := strings.Cut(host, ".")
	// "a.svc" may be a Service of the namespace svc.
	if (second != namespace && name != first+"."+namespace) || first == "" || strings.ContainsAny(first, "/@: \x00") {
		t.Fatalf("%q gets %q", namespace, name)
	}
}

// Whatever the owner's patterns are, a wildcard in a certificate is covered only where each name it stands for is.
func TestAWildcardIsPermittedOnlyWithAllItStandsFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) string {
			return rapid.SampledFrom([]string{"a", "b", "*", "{namespace}"}).Draw(t, label)
		}
		spec := v1alpha1.MTLSAuthoritySpec{}
		for range rapid.IntRange(1, 3).Draw(t, "patterns") {
			spec.AllowedNames = append(spec.AllowedNames, draw("l1")+"."+draw("l2")+"."+draw("l3"))
		}
		domain := rapid.SampledFrom([]string{"a.a", "a.b", "b.a", "shop.a", "a.shop"}).Draw(t, "domain")
		if !permitted("shop", pki.Names{DNSNames: []string{"*." + domain}}, spec) {
			return
		}
		for _, label := range []string{"a", "b", "shop", "other", "x-1"} {
			if !permitted("shop", pki.Names{DNSNames: []string{label + "." + domain}}, spec) {
				t.Fatalf("%v permits *.%s and not %s.%s", spec.AllowedNames, domain, label, domain)
			}
		}
	})
}

func FuzzDefaultRule(f *testing.F) {
	for _, seed := range []string{
		"cart.shop.svc", "cart.shop", "*.shop.svc.cluster.local", "spiffe://td/ns/shop/sa/cart", "spiffe://td/ns/shop/../bank",
		"spiffe://td/ns/shop/ns/bank", "a/CN=b.shop.svc", "127.1", "cart.shop.svc.", "spiffe://ns/ns/shop/x", "O=shop",
	} {
		f.Add("shop", seed)
		f.Add("ns", seed)
	}
	f.Fuzz(func(t *testing.T, namespace, name string) {
		if namespace == owner {
			t.Skip("the authority's own")
		}
		for _, names := range everywhere(name) {
			if permitted(namespace, names, v1alpha1.MTLSAuthoritySpec{}) {
				checkOwn(t, namespace, name)
			}
		}
	})
}

// Any text is a pattern. None makes the policy fail, and none without a "*" or a range permits more than itself.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"*.{namespace}.svc", "a.shop.svc"},
		{"10.0.0.0/8", "10.0.0.1"},
		{"https://*.example.com/*", "https://a.example.com/b"},
		{"O=payments", "payments"},
		{"*@example.com", "a@example.com"},
		{"[", "a"},
		{"\xff*://", "a"},
		{"spiffe://td/ns/*", "spiffe://td/ns/a/ns/b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		for _, names := range everywhere(name) {
			allowed := permitted("shop", names, v1alpha1.MTLSAuthoritySpec{AllowedNames: []string{pattern, "x.a.svc"}})
			filled := strings.ReplaceAll(pattern, "{namespace}", "shop")
			exact := strings.EqualFold(name, filled) || strings.HasSuffix(filled, "="+name) || name == "x.a.svc"
			if allowed && !exact && !strings.ContainsAny(pattern, "*/") {
				t.Fatalf("%q permits %+v", pattern, names)
			}
		}
	})
}
