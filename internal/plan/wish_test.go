package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestAWishHasEveryDefault(t *testing.T) {
	got := wishOf(t, func(c *v1alpha1.MTLSCertificate) {
		c.Spec.Duration, c.Spec.PrivateKey = "", v1alpha1.PrivateKey{}
	})
	got.Request = pki.Request{}
	want := plan.Wish{KeyType: pki.KeyECDSAP256, KeyEncoding: pki.EncodingPKCS8, Duration: 2160 * time.Hour}
	if got.Duration != want.Duration || got.KeyType != want.KeyType || got.KeyEncoding != want.KeyEncoding ||
		got.KeepKey || got.RenewBefore != 0 || got.RenewToken != "" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAWishIsWhatTheSpecSays(t *testing.T) {
	got := wishOf(t, func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": "now", "other": "x"}
		c.Spec.Duration, c.Spec.RenewBefore = "1h30m15s", "20m"
		c.Spec.PrivateKey = v1alpha1.PrivateKey{Type: "RSA3072", RotationPolicy: "Never", Encoding: "PKCS1"}
		c.Spec.Usages = []v1alpha1.Usage{"Client"}
		c.Spec.CommonName = "The Cart"
		c.Spec.Subject = &v1alpha1.Subject{
			Organizations: []v1alpha1.Text{"Shop"}, OrganizationalUnits: []v1alpha1.Text{"Web"},
			Countries: []v1alpha1.Text{"DE"}, Provinces: []v1alpha1.Text{"Hesse"}, Localities: []v1alpha1.Text{"Mainz", "Kastel"},
		}
		c.Spec.IPAddresses = []string{"10.0.0.1"}
		c.Spec.URIs = []string{"spiffe://example.com/ns/shop/sa/cart"}
		c.Spec.EmailAddresses = []string{"cart@example.com"}
	})
	if got.KeyType != pki.KeyRSA3072 || got.KeyEncoding != pki.EncodingPKCS1 || !got.KeepKey || got.RenewToken != "now" ||
		got.Duration != time.Hour+30*time.Minute+15*time.Second || got.RenewBefore != 20*time.Minute {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]pki.Usage{pki.UsageClient}, got.Request.Usages()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(pki.Names{
		Subject: pki.Subject{
			CommonName: "The Cart", Organizations: []string{"Shop"}, OrganizationalUnits: []string{"Web"},
			Countries: []string{"DE"}, Provinces: []string{"Hesse"}, Localities: []string{"Mainz", "Kastel"},
		},
		DNSNames:       []string{"cart.example.com"},
		IPAddresses:    []string{"10.0.0.1"},
		URIs:           []string{"spiffe://example.com/ns/shop/sa/cart"},
		EmailAddresses: []string{"cart@example.com"},
	}, got.Request.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestDNSNamesOfACertificate(t *testing.T) {
	server, client := []v1alpha1.Usage{"Server"}, []v1alpha1.Usage{"Client"}
	const (
		own, listed, namespace = "", "a.example.com", "shop"
		qualified              = "cart.shop cart.shop.svc cart.shop.svc.cluster.local"
	)
	type spec struct {
		namespace, authority, service, commonName string
		usages                                    []v1alpha1.Usage
	}
	for sentence, c := range map[string]struct {
		spec spec
		want string // behind what is listed
	}{
		"are those listed":                                   {spec{namespace, own, "", "", server}, ""},
		"have a server's common name that is one":            {spec{namespace, own, "", "b.example.com", server}, "b.example.com"},
		"have it once":                                       {spec{namespace, own, "", listed, server}, ""},
		"have it in lower case":                              {spec{namespace, own, "", "B.Example.com", server}, "b.example.com"},
		"have it when it is a wildcard":                      {spec{namespace, own, "", "*.example.com", server}, "*.example.com"},
		"have it when it is one label":                       {spec{namespace, own, "", "localhost", server}, "localhost"},
		"have it not when it is for people":                  {spec{namespace, own, "", "My Server", server}, ""},
		"have it not when it is an IPv4 address":             {spec{namespace, own, "", "10.0.0.1", server}, ""},
		"have it not when it is an IPv6 address":             {spec{namespace, own, "", "fd00::1", server}, ""},
		"have it not when it is a number":                    {spec{namespace, own, "", "4711", server}, ""},
		"have it not when it would be read as an address":    {spec{namespace, own, "", "127.1", server}, ""},
		"have no client's common name":                       {spec{namespace, own, "", "b.example.com", client}, ""},
		"have all of a Service under an authority beside it": {spec{namespace, own, "cart", "", server}, qualified + " cart"},
		"have all under its own namespace spelled out":       {spec{namespace, "shop", "cart", "", server}, qualified + " cart"},
		"have no bare Service name under one elsewhere":      {spec{namespace, "pki", "cart", "", server}, qualified},
		"have those of a Service for clients too":            {spec{namespace, "pki", "cart", "", client}, qualified},
		"have the common name behind the Service's": {
			spec{namespace, "pki", "cart", "b.example.com", server}, qualified + " b.example.com",
		},
		"have a Service's name once": {
			spec{namespace, own, "cart", "cart.shop.svc", server}, qualified + " cart",
		},
		"have none that ends in a number, in namespace 2024": {
			spec{"2024", own, "cart", "", server}, "cart.2024.svc cart.2024.svc.cluster.local cart",
		},
		"have none that ends in a number, of Service 7": {
			spec{namespace, own, "7", "", server}, "7.shop 7.shop.svc 7.shop.svc.cluster.local",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			wish := wishOf(t, func(x *v1alpha1.MTLSCertificate) {
				x.Namespace, x.Spec.AuthorityRef.Namespace = c.spec.namespace, c.spec.authority
				x.Spec.DNSNames, x.Spec.Usages = []string{listed}, c.spec.usages
				x.Spec.ServiceName, x.Spec.CommonName = c.spec.service, c.spec.commonName
			})
			want := append([]string{listed}, strings.Fields(c.want)...)
			if diff := cmp.Diff(want, wish.Request.Names().DNSNames); diff != "" {
				t.Error(diff)
			}
			if got := wish.Request.Names().Subject.CommonName; got != c.spec.commonName {
				t.Errorf("the common name is %q, want %q as it was written", got, c.spec.commonName)
			}
		})
	}
}

func dnsNames(names ...string) change {
	return func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = names }
}

func service(name string) change {
	return func(c *v1alpha1.MTLSCertificate) { c.Spec.ServiceName = name }
}

func everythingWrong(c *v1alpha1.MTLSCertificate) {
	c.Spec.Subject = &v1alpha1.Subject{Countries: []v1alpha1.Text{"Germany"}}
	c.Spec.URIs = []string{"cart"}
	c.Spec.Duration, c.Spec.RenewBefore = "1m", "1s"
}

func TestAWishIsRefused(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit change
		want map[string]string
	}{
		"without any name": {dnsNames(), map[string]string{"dnsNames": "at least one"}},
		"for a server with a name for people only": {func(c *v1alpha1.MTLSCertificate) {
			c.Spec.DNSNames, c.Spec.CommonName = nil, "My Server"
		}, map[string]string{"dnsNames": "clients don't look at anything else"}},
		"with a duration that is none": {lives("2160", ""), map[string]string{"duration": "2160h or 1h30m"}},
		"with a negative duration":     {lives("-1h", ""), map[string]string{"duration": "2160h or 1h30m"}},
		"with less than ten minutes":   {lives("9m59s", ""), map[string]string{"duration": "at least 10m"}},
		"with a duration that is more than there is": {
			lives("9999999999h", ""), map[string]string{"duration": "2160h or 1h30m"},
		},
		"with a renewBefore that is none":       {lives("", "soon"), map[string]string{"renewBefore": "2160h or 1h30m"}},
		"with a negative renewBefore":           {lives("", "-1s"), map[string]string{"renewBefore": "2160h or 1h30m"}},
		"with renewBefore of 90 %":              {lives("100m", "90m"), map[string]string{"renewBefore": "less than 90 %"}},
		"with renewBefore of 90 % of a default": {lives("", "1944h"), map[string]string{"renewBefore": "less than 90 %"}},
		"with renewBefore of the longest":       {lives("999999h", "900000h"), map[string]string{"renewBefore": "less than 90 %"}},
		"with both of them wrong, telling both": {lives("1", "2"), map[string]string{"duration": "", "renewBefore": ""}},
		"with a name of a list, telling where":  {dnsNames("a.b", "B.c"), map[string]string{"dnsNames[1]": "lower case"}},
		"with a common name that cannot be":     {commonName("*.com"), map[string]string{"commonName": "too wide"}},
		"with a Service of no DNS name":         {service("xn--a"), map[string]string{"serviceName": "xn--"}},
		"with everything wrong, telling it all": {
			everythingWrong, map[string]string{"subject.countries[0]": "", "uris[0]": "", "duration": ""},
		},
		"with a usage of a later version": {func(c *v1alpha1.MTLSCertificate) {
			c.Spec.Usages = append(c.Spec.Usages, "Code")
		}, map[string]string{"usages[2]": "Server or Client"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			wish, err := plan.NewWish(certificate(c.edit), clusterDomain)
			wantFields(t, err, c.want)
			if wish.Duration != 0 || wish.KeyType != "" {
				t.Errorf("a wish comes with the error: %+v", wish)
			}
		})
	}
}

func TestDurationsThatAreJustAllowed(t *testing.T) {
	for _, c := range [][2]v1alpha1.Duration{
		{"10m", ""},
		{"10m", "8m59s"},
		{"10m", "0s"},
		{"100m", "89m59s"},
		{"", "1943h"},
		{"300000h", "1h"},
		{"999999h999999m999999s", ""},
		{"999999h999999m999999s", "900000h"},
	} {
		if _, err := plan.NewWish(certificate(lives(c[0], c[1])), clusterDomain); err != nil {
			t.Errorf("duration %q with renewBefore %q: %v", c[0], c[1], err)
		}
	}
}

// Names that were added stand behind the listed ones: whoever reads "dnsNames[4]" with two in the spec would be lost.
func TestTheOriginOfAName(t *testing.T) {
	c := certificate(dnsNames("a.example.com", "cart.shop.svc"), service("cart"), commonName("Cart.example.com"))
	for path, want := range map[string]string{
		"dnsNames[0]":          "dnsNames[0]",
		"dnsNames[1]":          "dnsNames[1]",
		"dnsNames[2]":          "serviceName", // cart.shop
		"dnsNames[4]":          "serviceName", // cart
		"dnsNames[5]":          "commonName",
		"uris[7]":              "uris[7]",
		"dnsNames":             "dnsNames",
		"subject.countries[0]": "subject.countries[0]",
	} {
		if got := plan.Origin(c, clusterDomain, path); got != want {
			t.Errorf("%s is from %s, want %s", path, got, want)
		}
	}
}
