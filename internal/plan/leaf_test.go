package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

type change = func(*v1alpha1.MTLSCertificate)

// wishes is the step in which somebody edits the MTLSCertificate.
func wishes(edit change) func(testing.TB, *cluster) {
	return func(t testing.TB, c *cluster) { c.in.Wish = wishOf(t, edit) }
}

// holds is the step in which somebody edits the Secret.
func holds(edit func(*plan.LeafSecret)) func(testing.TB, *cluster) {
	return func(_ testing.TB, c *cluster) { edit(c.in.Secret) }
}

// reasonsToIssue are all that can happen to a good certificate.
var reasonsToIssue = map[string]struct {
	step            func(testing.TB, *cluster)
	reason, message string
}{
	"the Secret was deleted": {
		func(_ testing.TB, c *cluster) { c.in.Secret = nil }, "SecretMissing", "the Secret doesn't exist",
	},
	"tls.crt was emptied": {
		holds(func(s *plan.LeafSecret) { s.Certificate = nil }), "SecretMalformed", "tls.crt: no PEM block",
	},
	"tls.crt was damaged": {
		holds(func(s *plan.LeafSecret) { s.Certificate = s.Certificate[:len(s.Certificate)/2] }), "SecretMalformed", "tls.crt: ",
	},
	"tls.key was removed": {
		holds(func(s *plan.LeafSecret) { s.Key = plan.KeyMissing }), "SecretMalformed", "tls.key is missing",
	},
	"tls.key was damaged": {
		holds(func(s *plan.LeafSecret) { s.Key = plan.KeyMalformed }), "SecretMalformed", "tls.key is not a private key",
	},
	"tls.key is another's": {
		holds(func(s *plan.LeafSecret) { s.Key = plan.KeyMismatch }), "KeyMismatch", "tls.key is not the key of tls.crt",
	},
	"tls.crt is by a CA of the same name": {
		func(t testing.TB, c *cluster) { c.ca = newCA(t, year, noon); c.in.Issuer = c.ca.Issuer() },
		"IssuerChanged", `the certificate wasn't signed by "CN=my-ca"`,
	},
	"a DNS name was added": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "b.example.com") }),
		"SpecChanged", `dnsNames: lacks "b.example.com"`,
	},
	"a DNS name was replaced": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"b.example.com"} }),
		"SpecChanged", `dnsNames: has "cart.example.com", wants "b.example.com"`,
	},
	"a Service was added": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.ServiceName = "cart" }), "SpecChanged", `dnsNames: lacks "cart"`,
	},
	"an IP address was added": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.IPAddresses = []string{"fd00::1"} }),
		"SpecChanged", `ipAddresses: lacks "fd00::1"`,
	},
	"a URI was added": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.URIs = []string{"spiffe://example.com/ns/shop/sa/cart"} }),
		"SpecChanged", `uris: lacks "spiffe://example.com/ns/shop/sa/cart"`,
	},
	"an e-mail address was added": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.EmailAddresses = []string{"a@example.com"} }),
		"SpecChanged", `emailAddresses: lacks "a@example.com"`,
	},
	"the common name was set": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.CommonName = "the cart" }),
		"SpecChanged", `subject: has "", wants "CN=the cart"`,
	},
	"an organization was set": {
		wishes(func(c *v1alpha1.MTLSCertificate) {
			c.Spec.Subject = &v1alpha1.Subject{Organizations: []v1alpha1.Text{"Shop"}}
		}), "SpecChanged", `subject: has "", wants "O=Shop"`,
	},
	"a usage was removed": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.Usages = []v1alpha1.Usage{v1alpha1.UsageClient} }),
		"SpecChanged", `usages: has "Server", which isn't wanted`,
	},
	"another type of key was asked for": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Type = "ED25519" }),
		"SpecChanged", "privateKey.type: has ECDSAP256, wants ED25519",
	},
	"another encoding of the key was asked for": {
		wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Encoding = v1alpha1.EncodingPKCS1 }),
		"SpecChanged", "privateKey.encoding: has PKCS8, want PKCS1",
	},
	"a renewal was requested": {
		wishes(renewToken("please")), "RenewalRequested", "asked for by annotation mtls-operator.io/renew-requested-at",
	},
}

func TestACertificateIsIssuedBecause(t *testing.T) {
	for sentence, c := range reasonsToIssue {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t)
			c.step(t, cluster)
			got := cluster.pass(noon.Add(time.Hour))
			if !got.Issue || got.Reason != c.reason || !strings.HasPrefix(got.Message, c.message) {
				t.Errorf("got issue %t, %s: %q; want true, %s: %q", got.Issue, got.Reason, got.Message, c.reason, c.message)
			}
			if again := cluster.pass(noon.Add(time.Hour)); again.Issue {
				t.Errorf("it is issued again, for %s: %s", again.Reason, again.Message)
			}
		})
	}
}

func renewToken(token string) change {
	return func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: token}
	}
}

func TestACertificateIsKeptThough(t *testing.T) {
	for sentence, step := range map[string]func(testing.TB, *cluster){
		"nothing happened": wishes(func(*v1alpha1.MTLSCertificate) {}),
		"the duration was shortened": wishes(func(c *v1alpha1.MTLSCertificate) {
			c.Spec.Duration = "10m"
		}),
		"the duration was lengthened": wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration = "9000h" }),
		"renewBefore was set":         wishes(func(c *v1alpha1.MTLSCertificate) { c.Spec.RenewBefore = "1500h" }),
		"its names are listed in another order": func(t testing.TB, c *cluster) {
			swap := func(c *v1alpha1.MTLSCertificate) { slices.Reverse(c.Spec.DNSNames) }
			two := func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "a.example.com") }
			c.in.Wish = wishOf(t, two)
			c.pass(noon)
			c.in.Wish = wishOf(t, two, swap)
		},
		"its key shall be kept from now on": wishes(func(c *v1alpha1.MTLSCertificate) {
			c.Spec.PrivateKey.RotationPolicy = v1alpha1.RotationNever
		}),
		"the roots in the Secret are others": holds(func(s *plan.LeafSecret) { s.Bundle = []byte("x") }),
		"the facts are lost": holds(func(s *plan.LeafSecret) {
			s.BundleSince, s.IssuerSince = time.Time{}, time.Time{}
		}),
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t)
			step(t, cluster)
			if got := plan.Leaf(cluster.in, noon.Add(time.Hour)); got.Issue || got.Reason != "" || got.Message != "" {
				t.Errorf("it is issued: %t, %s: %s", got.Issue, got.Reason, got.Message)
			}
		})
	}
}

// Everything is wrong at once, and put right one after the other: the first reason is the one that is told.
func TestReasonsAreToldInTheirOrder(t *testing.T) {
	cluster := running(t)
	good, own := *cluster.in.Secret, cluster.in.Issuer
	now := noon.Add(2000 * time.Hour)
	cluster.in.Secret = nil
	cluster.in.Wish = wishOf(t, renewToken("now"), func(c *v1alpha1.MTLSCertificate) { c.Spec.CommonName = "x" })
	cluster.in.Issuer = newCA(t, year, noon).Issuer()
	var told []string
	for _, repair := range []func(){
		func() {},
		func() { cluster.in.Secret = &plan.LeafSecret{Key: plan.KeyMismatch} },
		func() { cluster.in.Secret.Certificate = good.Certificate },
		func() { cluster.in.Secret.Key = plan.KeyState(pki.EncodingPKCS1) },
		func() { cluster.in.Issuer = own },
		func() { cluster.in.Wish = wishOf(t, renewToken("now")) },
		func() { cluster.in.Secret.Key = good.Key },
		func() { now = noon },
		func() { cluster.in.Secret.RenewServed = "now" },
	} {
		repair()
		told = append(told, plan.Leaf(cluster.in, now).Reason)
	}
	if diff := cmp.Diff([]string{
		v1alpha1.ReasonSecretMissing, v1alpha1.ReasonSecretMalformed, v1alpha1.ReasonKeyMismatch, v1alpha1.ReasonIssuerChanged,
		v1alpha1.ReasonSpecChanged, v1alpha1.ReasonSpecChanged, v1alpha1.ReasonRenewalDue, v1alpha1.ReasonRenewalRequested, "",
	}, told); diff != "" {
		t.Error(diff)
	}
}

func TestAChainIsCompleteInTLSCrt(t *testing.T) {
	rootKey, key := newKey(t), newKey(t)
	root := handmade(t, "root", rootKey, nil, nil)
	cluster := newCluster(t, imported(t, key, handmade(t, "intermediate", key, root, rootKey), root), wishOf(t))
	cluster.pass(noon)
	if got := plan.Leaf(cluster.in, noon); got.Issue {
		t.Fatalf("the whole chain is in the Secret, and it is issued: %s", got.Message)
	}
	whole, _ := pki.ParseCertificates(cluster.in.Secret.Certificate)
	cluster.in.Secret.Certificate = pki.EncodeCertificates(whole[0])
	got := cluster.pass(noon)
	if want := "tls.crt doesn't hold the issuer's intermediates"; !got.Issue || got.Message != want {
		t.Errorf("got issue %t, %s: %q; want %q", got.Issue, got.Reason, got.Message, want)
	}
	cluster.in.Secret.Certificate = append(cluster.in.Secret.Certificate, pki.EncodeCertificates(root)...)
	if got := plan.Leaf(cluster.in, noon); got.Reason != v1alpha1.ReasonIssuerChanged {
		t.Errorf("the root is sent along, and nothing is done: %+v", got)
	}
}

// Identity of a CA is its key and its name: only its roots have to be delivered.
func TestACARenewedWithItsKeyIsTheSameIssuer(t *testing.T) {
	key := newKey(t)
	cluster := newCluster(t, imported(t, key, handmade(t, "root", key, nil, nil)), wishOf(t))
	cluster.pass(noon)
	cluster.in.Issuer = imported(t, key, handmade(t, "root", key, nil, nil)).Issuer()
	got := plan.Leaf(cluster.in, noon.Add(day))
	if got.Issue || !got.DeliverTrust || !got.Signed {
		t.Errorf("got issue %t (%s), deliver trust %t, signed %t; want false, true, true",
			got.Issue, got.Message, got.DeliverTrust, got.Signed)
	}
	if !got.IssuerSince.Equal(noon) || !got.BundleSince.Equal(noon.Add(day)) {
		t.Errorf("issuer since %s, bundle since %s; want noon and a day later", got.IssuerSince, got.BundleSince)
	}
}
