package main

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

// tlsConfig is asked for a configuration with every connection, so that each handshake uses one snapshot: a key that
// belongs to its certificate, and the roots that came with them. tls.Config.GetCertificate could reload the pair but
// not ClientCAs.
//
// The session tickets stay those of the outer configuration, so sessions survive a reload; that is why the client is
// verified again whenever one is resumed.
func tlsConfig(files *reload.Files) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return handshakeConfig(files), nil
		},
	}
}

func handshakeConfig(files *reload.Files) *tls.Config {
	snapshot := files.Current()
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{snapshot.Certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    snapshot.Roots,
		// VerifyPeerCertificate isn't called when a session is resumed, VerifyConnection is. It asks for the roots of
		// this moment: not those the session was made with, nor those of the ClientHello, should a reload come between.
		VerifyConnection: func(state tls.ConnectionState) error {
			return files.Current().Verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth)
		},
	}
}
