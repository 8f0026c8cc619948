package simulation_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// verified is a certificate before certain roots: whether these accept it, at a time when both are valid.
type verified struct{ leaf, roots string }

// shaken is a pair of programs: the issuers and roots of both.
type shaken struct{ serverIssuer, serverRoots, clientIssuer, clientRoots string }

// handshakes remember what was tried: real certificates and handshakes are slow, and nothing but time changes their result.
type handshakes struct {
	chains map[verified]error
	pairs  map[shaken]error
}

// chain tells whether a program with the roots accepts the certificate now.
func (h *handshakes) chain(leaf *leafCertificate, trusting content, now time.Time, noTime bool) error {
	if h.chains == nil {
		h.chains, h.pairs = map[verified]error{}, map[shaken]error{}
	}
	if noTime {
		now = leaf.NotBefore.Add(pki.Backdate)
	}
	id := verified{leaf.fingerprint, trusting.hash}
	err, known := h.chains[id]
	// What was fine once is fine while the leaf is valid, since Check saw to it that it doesn't outlive its issuer.
	if known && (err != nil || !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)) {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: trusting.roots.Pool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if _, expired := err.(x509.CertificateInvalidError); !expired { //nolint:errorlint // as Verify returns it
		h.chains[id] = err
	}
	return err
}

// shake hands for real, in both roles, once for each pair of issuers and roots.
func (h *handshakes) shake(a, b content, aIssuer, bIssuer string, at func(*leafCertificate) time.Time) error {
	for range 2 {
		id := shaken{aIssuer, a.hash, bIssuer, b.hash}
		err, known := h.pairs[id]
		if !known {
			err = shakeHands(a, b, at)
			h.pairs[id] = err
		}
		if err != nil {
			return err
		}
		a, b, aIssuer, bIssuer = b, a, bIssuer, aIssuer
	}
	return nil
}

// shakeHands is one handshake of TLS 1.3 in which both show a certificate.
func shakeHands(server, client content, at func(*leafCertificate) time.Time) error {
	serverEnd, clientEnd := net.Pipe()
	serving := tls.Server(serverEnd, &tls.Config{
		Certificates: []tls.Certificate{pairOf(server)}, ClientCAs: server.roots.Pool(),
		Time:       func() time.Time { return at(client.leaf) },
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	})
	asking := tls.Client(clientEnd, &tls.Config{
		Certificates: []tls.Certificate{pairOf(client)}, RootCAs: client.roots.Pool(),
		Time:       func() time.Time { return at(server.leaf) },
		ServerName: server.leaf.DNSNames[0], MinVersion: tls.VersionTLS13,
	})
	var serverErr, clientErr error
	var both sync.WaitGroup
	both.Go(func() {
		serverErr = serving.Handshake()
		_ = serverEnd.Close()
	})
	both.Go(func() {
		if clientErr = asking.Handshake(); clientErr == nil {
			_, _ = asking.Read(make([]byte, 1)) // what the server thinks of the client's certificate comes after the handshake
		}
		_ = clientEnd.Close()
	})
	both.Wait()
	return errors.Join(serverErr, clientErr)
}

func pairOf(c content) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.leaf.Raw}, PrivateKey: leafKey(), Leaf: c.leaf.Certificate}
}
