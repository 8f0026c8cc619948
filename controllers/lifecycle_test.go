package controllers

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func TestRotationPolicyNeverKeepsTheKeyAsLongAsItFits(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	w.issued("spare")
	certificate := w.issued("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.PrivateKey.RotationPolicy = v1alpha1.RotationNever
	})
	for _, step := range []struct {
		sentence string
		act      func()
		kept     bool
	}{
		{"a renewal", func() { w.clock.SetTime(certificate.Status.Certificate.RenewalTime.Time) }, true},
		{"a renewal on request", func() { w.requestRenewal(certificate, "1") }, true},
		{"another name", func() {
			edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"other"} })
		}, true},
		{"another encoding", func() {
			edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Encoding = v1alpha1.EncodingPKCS1 })
		}, true},
		{"a certificate that is cut off, so that nobody knows whether the key fits", func() {
			w.editSecret("hello", func(s *corev1.Secret) { s.Data["tls.crt"] = s.Data["tls.crt"][:100] })
		}, false},
		{"another key put there", func() {
			w.editSecret("hello", func(s *corev1.Secret) { s.Data["tls.key"] = w.secret("spare").Data["tls.key"] })
		}, false},
		{"another type of key", func() {
			edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Type = "ECDSAP384" })
		}, false},
		{"a Secret that is gone", func() { w.removeSecret("hello") }, false},
	} {
		before := w.soundLeaf("hello")
		step.act()
		w.reconcileCertificate(certificate)
		after := w.soundLeaf("hello")
		if after.Equal(before) {
			t.Errorf("%s: nothing was issued", step.sentence)
		}
		if kept := pki.SameKey(before.PublicKey, after.PublicKey); kept != step.kept {
			t.Errorf("%s: the key was kept: %v, want %v", step.sentence, kept, step.kept)
		}
		w.wantCertificateAtRest(certificate)
	}
}

// requestRenewal sets the annotation that asks for a renewal.
func (w *world) requestRenewal(certificate *v1alpha1.MTLSCertificate, token string) {
	w.t.Helper()
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": token}
	})
}

func TestEveryKeyInEveryEncoding(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	for _, test := range []struct {
		key      v1alpha1.KeyType
		encoding v1alpha1.KeyEncoding
		begins   string
	}{
		{"ECDSAP256", "PKCS8", "-----BEGIN PRIVATE KEY-----"},
		{"ECDSAP256", "PKCS1", "-----BEGIN EC PRIVATE KEY-----"},
		{"ECDSAP384", "PKCS1", "-----BEGIN EC PRIVATE KEY-----"},
		{"ECDSAP521", "PKCS8", "-----BEGIN PRIVATE KEY-----"},
		{"RSA2048", "PKCS8", "-----BEGIN PRIVATE KEY-----"},
		{"RSA2048", "PKCS1", "-----BEGIN RSA PRIVATE KEY-----"},
		{"RSA3072", "PKCS1", "-----BEGIN RSA PRIVATE KEY-----"},
		{"RSA4096", "PKCS8", "-----BEGIN PRIVATE KEY-----"},
		{"ED25519", "PKCS8", "-----BEGIN PRIVATE KEY-----"},
	} {
		name := strings.ToLower(string(test.key) + "-" + string(test.encoding))
		certificate := w.issued(name, func(c *v1alpha1.MTLSCertificate) {
			c.Spec.PrivateKey = v1alpha1.PrivateKey{Type: test.key, Encoding: test.encoding}
		})
		leaf := w.soundLeaf(name)
		if has, err := pki.KeyTypeOf(leaf.PublicKey); err != nil || string(has) != string(test.key) {
			t.Errorf("%s: the key is %s, %v", name, has, err)
		}
		if key := string(w.secret(name).Data["tls.key"]); !strings.HasPrefix(key, test.begins) {
			t.Errorf("%s: the key begins with %q", name, strings.SplitN(key, "\n", 2)[0])
		}
		w.wantCertificateAtRest(certificate)
	}
}

func TestNamesThatAreAddedToThoseOfTheSpec(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		a.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
	})
	home, tenant := w.namespace, w.newNamespace("", nil)
	for _, test := range []struct {
		sentence  string
		namespace string
		spec      func(*v1alpha1.MTLSCertificateSpec)
		want      []string // "NS" stands for the namespace
	}{
		{"a common name that is a DNS name becomes one of a server", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.CommonName, s.DNSNames = "Hello.Example.com", nil
		}, []string{"hello.example.com"}},
		{"a wildcard is a DNS name", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.CommonName, s.DNSNames = "*.example.com", []string{"a"}
		}, []string{"a", "*.example.com"}},
		{"one that is listed already isn't added", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.CommonName, s.DNSNames = "localhost", []string{"localhost"}
		}, []string{"localhost"}},
		{"a client's common name isn't added", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.CommonName, s.DNSNames, s.Usages = "my-client", nil, []v1alpha1.Usage{"Client"}
		}, nil},
		{"one that is no DNS name isn't added", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.CommonName = "the hello server"
		}, []string{"localhost"}},
		{"a Service's names, with the bare one at home", home, func(s *v1alpha1.MTLSCertificateSpec) {
			s.ServiceName, s.DNSNames = "hello", nil
		}, []string{"hello.NS", "hello.NS.svc", "hello.NS.svc.cluster.local", "hello"}},
		{"a Service's names without the bare one elsewhere", tenant, func(s *v1alpha1.MTLSCertificateSpec) {
			s.ServiceName, s.DNSNames, s.AuthorityRef.Namespace = "hello", nil, home
		}, []string{"hello.NS", "hello.NS.svc", "hello.NS.svc.cluster.local"}},
	} {
		w.namespace = test.namespace
		certificate := w.issued("c", func(c *v1alpha1.MTLSCertificate) { test.spec(&c.Spec) })
		leaf := w.soundLeaf("c")
		for i := range test.want {
			test.want[i] = strings.ReplaceAll(test.want[i], "NS", test.namespace)
		}
		if !slices.Equal(leaf.DNSNames, test.want) || !slices.Equal(certificate.Status.Certificate.DNSNames, test.want) {
			t.Errorf("%s: names are %q, want %q", test.sentence, leaf.DNSNames, test.want)
		}
		w.wantCertificateAtRest(certificate)
		w.removeCertificate(certificate)
		w.removeSecret("c")
	}
}

func TestUsagesBecomeExtendedKeyUsages(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	server, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for name, test := range map[string]struct {
		usages []v1alpha1.Usage
		want   []x509.ExtKeyUsage
	}{
		"server": {[]v1alpha1.Usage{"Server"}, []x509.ExtKeyUsage{server}},
		"client": {[]v1alpha1.Usage{"Client"}, []x509.ExtKeyUsage{client}},
		"both":   {[]v1alpha1.Usage{"Server", "Client"}, []x509.ExtKeyUsage{client, server}},
	} {
		certificate := w.issued(name, func(c *v1alpha1.MTLSCertificate) { c.Spec.Usages = test.usages })
		got := slices.Sorted(slices.Values(w.soundLeaf(name).ExtKeyUsage))
		if !slices.Equal(got, slices.Sorted(slices.Values(test.want))) {
			t.Errorf("%s: extended key usages are %v", name, got)
		}
		w.wantCertificateAtRest(certificate)
	}
}
