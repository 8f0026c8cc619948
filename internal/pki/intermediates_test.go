package pki

import (
	"crypto/tls"
	"testing"
)

func TestHandshakesUnderIntermediatesOfOurs(t *testing.T) {
	_, middle, bottom := family(t)
	for name, authority := range map[string]*Authority{"one": middle, "two": bottom} {
		t.Run(name, func(t *testing.T) {
			wantHandshakes(t, authority, KeyECDSAP256, tls.VersionTLS12)
			wantHandshakes(t, authority, KeyECDSAP256, tls.VersionTLS13)
		})
	}
}

func TestOpensslVerifiesIntermediatesOfOurs(t *testing.T) {
	w := newWorkshop(t)
	for _, keyType := range KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			top := selfSignedOf(t, keyType)
			middle := signed(t, top, AuthorityFields{
				KeyType: keyType, MaxPathLength: 1, NameConstraints: NameConstraints{
					Permitted: NameConstraintSet{DNSDomains: []string{"localhost", "example.com"}},
				},
			})
			bottom := signed(t, middle, AuthorityFields{Subject: Subject{CommonName: "bottom"}, NameConstraints: NameConstraints{
				Permitted: NameConstraintSet{DNSDomains: []string{"localhost"}},
			}})
			for _, authority := range []*Authority{middle, bottom} {
				wantStrict(t, w, authority)
			}
		})
	}
}

// wantStrict lets openssl look at a CA and at a leaf below it as strictly as it can.
func wantStrict(t *testing.T, w workshop, authority *Authority) {
	t.Helper()
	issuer := authority.Issuer()
	w.write("ca.pem", issuer.Bundle().PEM())
	w.write("sent.pem", EncodeCertificates(issuer.Sent()...))
	w.write("issuer.pem", EncodeCertificates(issuer.Certificate()))
	names := Names{DNSNames: []string{"localhost"}}
	leaf := issue(t, authority, requestFor(t, names, bothUsages...), keyFor(t, "leaf", KeyECDSAP256).Public())
	w.write("leaf.pem", EncodeCertificates(leaf))
	verify := "verify -x509_strict -CAfile ca.pem -untrusted sent.pem " + atNoon
	w.run(verify + " issuer.pem")
	w.run(verify + " -purpose sslserver -verify_hostname localhost leaf.pem")
	w.run(verify + " -purpose sslclient leaf.pem")
	if err := w.try("verify -x509_strict -CAfile ca.pem " + atNoon + " leaf.pem"); err == nil {
		t.Error("openssl needs no intermediates: this test shows nothing")
	}
}
