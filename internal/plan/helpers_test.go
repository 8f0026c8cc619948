package plan_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// noon is the present of every test that has no reason for another one.
var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

const (
	day           = 24 * time.Hour
	year          = 365 * day
	clusterDomain = "cluster.local"
	// leastDelay is the least propagation delay that is accepted.
	leastDelay = 90 * time.Second
)

// tb is what testing.TB and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// certificate returns an MTLSCertificate as the API server would, with the changes made to it.
func certificate(changes ...func(*v1alpha1.MTLSCertificate)) *v1alpha1.MTLSCertificate {
	c := &v1alpha1.MTLSCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "4f9c2d7e"},
		Spec: v1alpha1.MTLSCertificateSpec{
			AuthorityRef: v1alpha1.AuthorityRef{Name: "my-ca"},
			Usages:       []v1alpha1.Usage{v1alpha1.UsageServer, v1alpha1.UsageClient},
			DNSNames:     []string{"cart.example.com"},
			Duration:     "2160h",
			PrivateKey: v1alpha1.PrivateKey{
				Type:           v1alpha1.KeyTypeDefault,
				RotationPolicy: v1alpha1.RotationAlways,
				Encoding:       v1alpha1.EncodingPKCS8,
			},
		},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func wishOf(t tb, changes ...func(*v1alpha1.MTLSCertificate)) plan.Wish {
	t.Helper()
	wish, err := plan.NewWish(certificate(changes...), clusterDomain)
	if err != nil {
		t.Fatalf("the wish of the test is invalid: %v", err)
	}
	return wish
}

// newCA makes a CA that signs from now until life after it.
func newCA(t tb, life time.Duration, now time.Time) *pki.Authority {
	t.Helper()
	request, err := pki.NewAuthorityRequest(pki.AuthorityFields{
		Subject: pki.Subject{CommonName: "my-ca"}, KeyType: pki.KeyECDSAP256, Duration: life, Generation: 1,
	})
	if err != nil {
		t.Fatalf("the CA of the test is invalid: %v", err)
	}
	ca, err := pki.SelfSign(request, now)
	if err != nil {
		t.Fatalf("the CA of the test: %v", err)
	}
	return ca
}

var (
	keysLock sync.Mutex
	keys     = map[pki.KeyType]crypto.Signer{}
)

// keyOf returns the one key there is for a type.
func keyOf(t tb, keyType pki.KeyType) crypto.Signer {
	t.Helper()
	keysLock.Lock()
	defer keysLock.Unlock()
	if keys[keyType] == nil {
		key, err := pki.GenerateKey(keyType)
		if err != nil {
			t.Fatalf("a key of the test: %v", err)
		}
		keys[keyType] = key
	}
	return keys[keyType]
}

// cluster is one MTLSCertificate with the CA that signs it and its Secret: what a controller sees and does.
type cluster struct {
	tb
	ca     *pki.Authority
	in     plan.LeafInput
	issued []life
}

// life of a certificate, from when it was issued.
type life struct{ from, to time.Time }

func newCluster(t tb, ca *pki.Authority, wish plan.Wish) *cluster {
	return &cluster{tb: t, ca: ca, in: plan.LeafInput{UID: certificate().UID, Wish: wish, Issuer: ca.Issuer()}}
}

// running is a cluster whose certificate was issued at noon by a CA of ten years that was made then, and planned ever since.
func running(t tb, changes ...func(*v1alpha1.MTLSCertificate)) *cluster {
	t.Helper()
	c := newCluster(t, newCA(t, 10*year, noon), wishOf(t, changes...))
	c.pass(noon)
	return c
}

// pass is what a controller does at that time. It returns what it did it for.
func (c *cluster) pass(now time.Time) plan.LeafPlan {
	c.Helper()
	p := plan.Leaf(c.in, now)
	switch {
	case p.Issue:
		c.issue(p, now)
	case p.DeliverTrust && c.in.Secret != nil:
		c.in.Secret.Bundle, c.in.Secret.BundleSince = c.roots().PEM(), p.BundleSince
	}
	return p
}

func (c *cluster) issue(p plan.LeafPlan, now time.Time) {
	c.Helper()
	wish := c.in.Wish
	key := keyOf(c, wish.KeyType)
	leaf, err := c.ca.Sign(wish.Request, key.Public(), p.Validity, c.in.Issuer.Bundle())
	if err != nil {
		c.Fatalf("what was planned at %s cannot be signed: %v", now, err)
	}
	c.in.Secret = &plan.LeafSecret{
		Certificate: pki.EncodeCertificates(slices.Concat([]*x509.Certificate{leaf}, c.in.Issuer.Sent())...),
		Bundle:      c.roots().PEM(),
		Key:         plan.KeyState(wish.KeyEncoding),
		RenewServed: wish.RenewToken,
		BundleSince: p.BundleSince,
		IssuerSince: p.IssuerSince,
	}
	c.issued = append(c.issued, life{now, leaf.NotAfter})
}

// roots to deliver.
func (c *cluster) roots() pki.Bundle {
	if c.in.Bundle.Len() > 0 {
		return c.in.Bundle
	}
	return c.in.Issuer.Bundle()
}

// leaf in the Secret.
func (c *cluster) leaf() *x509.Certificate {
	c.Helper()
	certificates, err := pki.ParseCertificates(c.in.Secret.Certificate)
	if err != nil {
		c.Fatalf("the Secret of the test: %v", err)
	}
	return certificates[0]
}

// handmade makes a CA certificate for the key as somebody else's tools would. parent is nil for a root.
func handmade(t testing.TB, name string, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey crypto.Signer,
) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0).SetBytes([]byte(rand.Text()[:16])), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(10 * year),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// imported reads a handmade chain, as the operator does with a Secret that a user keeps.
func imported(t testing.TB, key crypto.Signer, chain ...*x509.Certificate) *pki.Authority {
	t.Helper()
	encoded, err := pki.EncodeKey(key, pki.EncodingPKCS8)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.ImportAuthority(pki.EncodeCertificates(chain...), encoded, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// wantFields fails unless exactly these fields are wrong, and each message says its text.
func wantFields(t testing.TB, err error, want map[string]string) {
	t.Helper()
	wrong, ok := errors.AsType[pki.FieldErrors](err)
	if !ok && len(want) > 0 {
		t.Fatalf("error %v is no pki.FieldErrors", err)
	}
	fields := map[string]bool{}
	for _, one := range wrong {
		fields[one.Field] = true
		if text, expected := want[one.Field]; !expected || !strings.Contains(one.Message, text) {
			t.Errorf("got %q, want a message that says %q", one, text)
		}
	}
	if len(fields) != len(want) {
		t.Errorf("%d fields are wrong, want %d: %v", len(fields), len(want), err)
	}
}
