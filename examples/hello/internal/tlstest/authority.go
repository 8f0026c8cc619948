// Package tlstest makes what the tests of the sample need: authorities, certificates, folders and logs. It promises
// certificates in the shape the operator issues by default (ECDSA P-256, authority key identifier), folders that change
// the way kubelet changes them, and waiting without sleeping. It is imported by tests only.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"testing"
	"time"
)

// Authority is a self-signed CA.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes a CA valid for an hour.
func NewAuthority(t testing.TB, commonName string) *Authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return &Authority{Certificate: sign(t, template, template, key, key), key: key}
}

// PEM is the certificate of the CA as it stands in ca.crt.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.Certificate.Raw) }

// Leaf says what a certificate is for. Names are what its holder is known by.
type Leaf struct {
	CommonName string
	DNSNames   []string
	URIs       []string
	Emails     []string
	Usage      x509.ExtKeyUsage
	Expired    bool
}

// Server is a leaf for a server on this machine.
func Server() Leaf {
	return Leaf{CommonName: "hello-server", DNSNames: []string{"localhost"}, Usage: x509.ExtKeyUsageServerAuth}
}

// Client is a leaf for the client called name.
func Client(name string) Leaf { return Leaf{CommonName: name, Usage: x509.ExtKeyUsageClientAuth} }

// Issue signs a leaf, with a new key and a random serial number each time.
func (a *Authority) Issue(t testing.TB, leaf Leaf) Pair {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		Subject:        pkix.Name{CommonName: leaf.CommonName},
		DNSNames:       leaf.DNSNames,
		EmailAddresses: leaf.Emails,
		NotBefore:      time.Now().Add(-time.Hour),
		NotAfter:       time.Now().Add(time.Hour),
		KeyUsage:       x509.KeyUsageDigitalSignature,
		ExtKeyUsage:    []x509.ExtKeyUsage{leaf.Usage},
	}
	if leaf.Usage == x509.ExtKeyUsageServerAuth {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	if leaf.Expired {
		template.NotAfter = time.Now().Add(-time.Minute)
	}
	for _, text := range leaf.URIs {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	return Pair{Certificate: sign(t, template, a.Certificate, key, a.key), key: key}
}

// Pair is a certificate with its key.
type Pair struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// PEM is the pair as it stands in tls.crt and tls.key.
func (p Pair) PEM(t testing.TB) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", p.Certificate.Raw), encode("PRIVATE KEY", der)
}

// TLS is the pair as crypto/tls wants it.
func (p Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Certificate.Raw}, PrivateKey: p.key, Leaf: p.Certificate}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func encode(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}
