package controllers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// issueRow is a reason to issue a certificate anew.
type issueRow struct {
	sentence string
	reason   string
	arrange  func(*world, *v1alpha1.MTLSCertificate)
	event    string // parts, separated by "|"
}

// issueRows has every reason to issue. Each begins with certificate "hello" of authority "my-ca", issued and at rest;
// Secret "spare" has another certificate of the same authority.
var issueRows = []issueRow{
	{"somebody deletes the Secret", v1alpha1.ReasonSecretMissing, func(w *world, _ *v1alpha1.MTLSCertificate) {
		w.removeSecret("hello")
	}, "the Secret doesn't exist"},
	{"tls.crt is cut off", v1alpha1.ReasonSecretMalformed, put1("tls.crt", func(w *world) []byte {
		return w.secret("hello").Data["tls.crt"][:200]
	}), "tls.crt"},
	{"tls.crt is emptied", v1alpha1.ReasonSecretMalformed, put1("tls.crt", func(*world) []byte { return []byte{} }), "tls.crt"},
	{
		"tls.key is emptied", v1alpha1.ReasonSecretMalformed, put1("tls.key", func(*world) []byte { return []byte{} }),
		"tls.key is missing",
	},
	{
		"tls.key is no key", v1alpha1.ReasonSecretMalformed, put1("tls.key", func(*world) []byte { return []byte("secret!") }),
		"tls.key is not a private key",
	},
	{"tls.key is another certificate's", v1alpha1.ReasonKeyMismatch, put1("tls.key", func(w *world) []byte {
		return w.secret("spare").Data["tls.key"]
	}), "tls.key is not the key of tls.crt"},
	{"tls.crt is another key's", v1alpha1.ReasonKeyMismatch, put1("tls.crt", func(w *world) []byte {
		return w.secret("spare").Data["tls.crt"]
	}), "tls.key is not the key of tls.crt"},
	{"the reference goes to another authority", v1alpha1.ReasonIssuerChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Name = "other-ca"
	}), `wasn't signed by "CN=other-ca"`},
	{
		"a pair of another authority stands in the Secret", v1alpha1.ReasonIssuerChanged,
		func(w *world, _ *v1alpha1.MTLSCertificate) {
			w.issued("stranger", func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "other-ca" })
			w.editSecret("hello", func(s *corev1.Secret) { s.Data = w.secret("stranger").Data })
		}, `wasn't signed by "CN=my-ca"`,
	},
	{"tls.crt has more in it than the certificate", v1alpha1.ReasonIssuerChanged, put1("tls.crt", func(w *world) []byte {
		return append(w.secret("hello").Data["tls.crt"], w.secret("spare").Data["tls.crt"]...)
	}), "tls.crt doesn't hold the issuer's intermediates"},
	{"a name is added", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.DNSNames = []string{"localhost", "hello.example.com"}
	}), `dnsNames|"hello.example.com"`},
	{"a name is taken away", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.DNSNames, c.Spec.IPAddresses = nil, []string{"127.0.0.1"}
	}), `dnsNames|"localhost"`},
	{"a usage is added", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.Usages = []v1alpha1.Usage{"Server", "Client"}
	}), `usages|"Client"`},
	{"another subject is wanted", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.Subject = &v1alpha1.Subject{Organizations: []v1alpha1.Text{"Example"}}
	}), `subject|O=Example`},
	{"another type of key is wanted", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.PrivateKey.Type = "ED25519"
	}), "privateKey.type|ECDSAP256|ED25519"},
	{"another encoding of the key is wanted", v1alpha1.ReasonSpecChanged, change(func(c *v1alpha1.MTLSCertificate) {
		c.Spec.PrivateKey.Encoding = "PKCS1"
	}), "privateKey.encoding|PKCS8|PKCS1"},
	{"the time of renewal has come", v1alpha1.ReasonRenewalDue, func(w *world, c *v1alpha1.MTLSCertificate) {
		w.clock.SetTime(c.Status.Certificate.RenewalTime.Time)
	}, "it ends at"},
	{"somebody asks for a renewal", v1alpha1.ReasonRenewalRequested, func(w *world, c *v1alpha1.MTLSCertificate) {
		edit(w, c, func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": "now, please"}
		})
	}, "asked for by annotation mtls-operator.io/renew-requested-at"},
}

// change edits the spec of the certificate.
func change(apply func(*v1alpha1.MTLSCertificate)) func(*world, *v1alpha1.MTLSCertificate) {
	return func(w *world, c *v1alpha1.MTLSCertificate) { edit(w, c, apply) }
}

// put1 writes one value into the certificate's Secret.
func put1(key string, value func(*world) []byte) func(*world, *v1alpha1.MTLSCertificate) {
	return func(w *world, _ *v1alpha1.MTLSCertificate) {
		w.editSecret("hello", func(secret *corev1.Secret) { secret.Data[key] = value(w) })
	}
}

func TestEveryReasonToIssue(t *testing.T) {
	for _, row := range issueRows {
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			w.authority("other-ca")
			w.issued("spare")
			certificate := w.issued("hello")
			before := w.soundLeaf("hello")
			w.told.take()
			row.arrange(w, certificate)
			counted := w.issuances(row.reason, "success")
			w.requests.reset()

			w.reconcileCertificate(certificate)

			w.wantWritesOfOneIssue(row.reason)
			after := w.soundLeaf("hello")
			if pki.SerialNumber(after) == pki.SerialNumber(before) || pki.SameKey(after.PublicKey, before.PublicKey) {
				t.Error("want another certificate with another key")
			}
			if got := certificate.Status.Certificate.SerialNumber; got != pki.SerialNumber(after) {
				t.Errorf("status tells of certificate %s, the Secret has %s", got, pki.SerialNumber(after))
			}
			w.wantReady(certificate, "True", v1alpha1.ReasonIssued, `"hello"`)
			w.wantCondition(certificate, "Stalled", "False", v1alpha1.ReasonProgressing, "")
			w.wantOneEvent("Normal "+row.reason, pki.SerialNumber(after)+"|"+row.event)
			if got := w.issuances(row.reason, "success"); got != counted+1 {
				t.Errorf("the metric of issuances went from %v to %v", counted, got)
			}
			w.wantCertificateAtRest(certificate)
		})
	}
}

func (w *world) issuances(reason, result string) float64 {
	return testutil.ToFloat64(w.issuer.metrics.issuances.WithLabelValues(reason, result))
}

// wantWritesOfOneIssue wants one write of the Secret and one of the status, and nothing but these two.
func (w *world) wantWritesOfOneIssue(reason string) {
	w.t.Helper()
	write := "PATCH secrets"
	if reason == v1alpha1.ReasonSecretMissing {
		write = "POST secrets"
	}
	if diff := cmp.Diff([]string{write, "PATCH mtlscertificates/status"}, w.requests.writes()); diff != "" {
		w.t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// wantOneEvent checks that exactly one event was told since the last time, how it begins, and what is in it.
func (w *world) wantOneEvent(begins, parts string) {
	w.t.Helper()
	all := w.told.take()
	if len(all) != 1 || !strings.HasPrefix(all[0], begins+": ") {
		w.t.Fatalf("events: %q, want one of %q", all, begins)
	}
	for part := range strings.SplitSeq(parts, "|") {
		if !strings.Contains(all[0], part) {
			w.t.Errorf("the event says %q, want %q in it", all[0], part)
		}
	}
}

func TestTheFirstReasonInOrderIsTold(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	w.authority("other-ca")
	certificate := w.issued("hello")
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": "x"}
		c.Spec.DNSNames = []string{"other"}
		c.Spec.AuthorityRef.Name = "other-ca"
	})
	w.clock.SetTime(certificate.Status.Certificate.RenewalTime.Time)

	w.reconcileCertificate(certificate)

	w.wantOneEvent("Normal "+v1alpha1.ReasonIssuerChanged, "")
	w.soundLeaf("hello")
	w.wantCertificateAtRest(certificate) // one certificate serves all of them
}
