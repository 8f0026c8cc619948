//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// ownCA is a CA that the operator didn't make.
type ownCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newOwnCA(t *testing.T, commonName string) *ownCA {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: time.Now().AddDate(1, 0, 0),
	}
	ca := &ownCA{certificate: template}
	ca.certificate, ca.key = ca.sign(t, template)
	return ca
}

// sign signs with a new key, which is that of the CA itself while it has none.
func (ca *ownCA) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	signer := ca.key
	if signer == nil {
		signer = key
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), signer)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return certificate, key
}

// issue returns the contents of a Secret as the operator makes it, for both sides.
func (ca *ownCA) issue(t *testing.T, host string) map[string][]byte {
	t.Helper()
	certificate, key := ca.sign(t, &x509.Certificate{
		DNSNames: []string{host}, NotAfter: time.Now().AddDate(0, 1, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	data := pairData(t, certificate, key)
	data["ca.crt"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw})
	return data
}

// pairData is certificate and key as they are in a Secret.
func pairData(t *testing.T, certificate *x509.Certificate, key *ecdsa.PrivateKey) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// letsIn is an error unless the peer lets in who has this pair.
func (p *meshPeer) letsIn(t *testing.T, pair map[string][]byte, roots []byte) error {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair["tls.crt"], pair["tls.key"])
	must(t, err)
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(roots)
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patienceWithPod}, Config: &tls.Config{
		ServerName: p.host(), RootCAs: trust,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", p.forward(t, "pod/"+p.name, "8443"))
	if err != nil {
		return err
	}
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patienceWithPod)))
	message := make([]byte, 16) // the size of what a peer answers
	_, writeErr := conn.Write(message)
	_, err = io.ReadFull(conn, message)
	return errors.Join(err, writeErr)
}

// pair are the contents of the peer's Secret now.
func (p *meshPeer) pair(t *testing.T) map[string][]byte {
	t.Helper()
	return p.secret(t, p.name).Data
}

// wantRefused checks that a peer lets the holder of a certificate in no more, and says why; and that with its own it
// would have been let in.
func (m *mesh) wantRefused(t *testing.T, old map[string][]byte) {
	t.Helper()
	peer := m.peers[len(m.peers)-1]
	current := peer.pair(t)
	if err := peer.letsIn(t, current, current["ca.crt"]); err != nil {
		t.Errorf("%s refused its own certificate: %v", peer.host(), err)
	}
	err := peer.letsIn(t, old, current["ca.crt"])
	if err == nil {
		t.Errorf("%s let in who has a certificate of the CA that is gone", peer.host())
		return
	}
	await(t, "the peer telling why it refused", shortly, func(ctx context.Context) error {
		found, err := peer.see(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(found.Refused, func(s sight) bool { return strings.Contains(s.Text, "unknown authority") }) {
			return errors.New("it tells " + told([]*seen{found}))
		}
		return nil
	})
	t.Logf("a certificate of the CA that is gone was refused: %v", err)
}
