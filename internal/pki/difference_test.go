package pki

import (
	"crypto"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	names := hello(t).Names()
	// Every test changes one thing in what is asked for; the certificate is always the same.
	leaf := issue(t, root(t), hello(t), key)
	for name, test := range map[string]struct {
		change  func(*Names)
		usages  []Usage
		keyType KeyType
		want    string
	}{
		"none": {func(*Names) {}, bothUsages, KeyECDSAP256, ""},
		"none, in another order": {
			func(n *Names) {
				slices.Reverse(n.DNSNames)
				slices.Reverse(n.IPAddresses)
			}, []Usage{UsageClient, UsageServer}, KeyECDSAP256, "",
		},
		"key": {func(*Names) {}, bothUsages, KeyRSA2048, "privateKey.type: has ECDSAP256, wants RSA2048"},
		"a usage less": {
			func(*Names) {}, []Usage{UsageClient}, KeyECDSAP256, `usages: has "Server", which isn't wanted`,
		},
		"common name": {
			func(n *Names) { n.Subject.CommonName = "bye" }, bothUsages, KeyECDSAP256,
			`subject: has "CN=hello,O=Example", wants "CN=bye,O=Example"`,
		},
		"common name in another case": {
			func(n *Names) { n.Subject.CommonName = "Hello" }, bothUsages, KeyECDSAP256, "subject: has ",
		},
		"an organization more": {
			func(n *Names) { n.Subject.Organizations = append(n.Subject.Organizations, "x") }, bothUsages, KeyECDSAP256,
			`wants "CN=hello,O=x,O=Example"`,
		},
		"the subject gone": {
			func(n *Names) { n.Subject = Subject{} }, bothUsages, KeyECDSAP256, `wants ""`,
		},
		"a DNS name more": {
			func(n *Names) { n.DNSNames = append(n.DNSNames, "b.example", "a.example") }, bothUsages, KeyECDSAP256,
			`dnsNames: lacks "a.example"`,
		},
		"a DNS name less": {
			func(n *Names) { n.DNSNames = n.DNSNames[1:] }, bothUsages, KeyECDSAP256,
			`dnsNames: has "localhost", which isn't wanted`,
		},
		"another DNS name": {
			func(n *Names) { n.DNSNames[0] = strings.Repeat("a", 63) + ".example" }, bothUsages, KeyECDSAP256,
			`dnsNames: has "localhost", wants "` + strings.Repeat("a", 63) + `.…"`,
		},
		"another IP address": {
			func(n *Names) { n.IPAddresses[1] = "fd00::2" }, bothUsages, KeyECDSAP256,
			`ipAddresses: has "::1", wants "fd00::2"`,
		},
		"another URI": {
			func(n *Names) { n.URIs[0] = "spiffe://example.com/x" }, bothUsages, KeyECDSAP256, `uris: has "spiffe://`,
		},
		"an e-mail address less": {
			func(n *Names) { n.EmailAddresses = nil }, bothUsages, KeyECDSAP256, `emailAddresses: has "hello@example.com"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := names.clone()
			test.change(&wanted)
			has := requestFor(t, wanted, test.usages...).Difference(leaf, test.keyType)
			if (has == "") != (test.want == "") || !strings.Contains(has, test.want) {
				t.Errorf("%q, want %q", has, test.want)
			}
		})
	}
}

func TestDifferenceOfCertificatesFromElsewhere(t *testing.T) {
	request := requestFor(t, Names{DNSNames: []string{"a.example"}}, UsageClient)
	ours := func(c *x509.Certificate) {
		c.RawSubject = emptySubject
		c.DNSNames = []string{"a.example"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		want   string
	}{
		"none": {func(*x509.Certificate) {}, ""},
		"a usage we don't have": {
			func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) },
			`usages: has "codeSigning"`,
		},
		"a usage nobody has": {
			func(c *x509.Certificate) { c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, oidKeyUsage) },
			`usages: has "2.5.29.15"`,
		},
		"no usage": {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, `usages: lacks "Client"`},
		"a name twice": {
			func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "a.example") }, "dnsNames: has something twice",
		},
		"names of other kinds": {
			func(c *x509.Certificate) {
				c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)}
				c.URIs = []*url.URL{{Scheme: "https", Host: "example.com"}}
			}, `ipAddresses: has "10.0.0.1", which isn't wanted`,
		},
		"a name with a newline": {
			func(c *x509.Certificate) { c.DNSNames = []string{"a\nb"} }, `dnsNames: has "a\nb", wants "a.example"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			made := forge(t, nil, "difference", func(c *x509.Certificate) {
				ours(c)
				test.change(c)
			})
			if has := request.Difference(made.certificate, KeyECDSAP256); (has == "") != (test.want == "") ||
				!strings.HasPrefix(has, test.want) {
				t.Errorf("%q, want %q", has, test.want)
			}
		})
	}
	other := forgeFor(t, nil, "small", unsupportedKeys(t)["an ECDSA key on curve P-224"].(crypto.Signer), ours)
	has := request.Difference(other.certificate, KeyECDSAP256)
	if !strings.HasPrefix(has, "privateKey.type: an ECDSA key on curve P-224") {
		t.Error(has)
	}
}
