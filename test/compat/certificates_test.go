package compat

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// files are what a Secret holds, and what a leaf was signed with.
type files struct {
	certificate *x509.Certificate
	folder      string // with tls.crt, tls.key and ca.crt
}

func (f files) path(name string) string { return filepath.Join(f.folder, name) }

// newAuthority makes a root with a key of this type.
func newAuthority(t *testing.T, keyType pki.KeyType) *pki.Authority {
	t.Helper()
	request, err := pki.NewAuthorityRequest(pki.AuthorityFields{
		Subject:    pki.Subject{CommonName: "my-ca", Organizations: []string{"Example"}, Countries: []string{"DE"}},
		KeyType:    keyType,
		Duration:   365 * 24 * time.Hour,
		Generation: 2,
		NameConstraints: pki.NameConstraints{Permitted: pki.NameConstraintSet{
			DNSDomains: []string{"localhost", "shop.svc", "example.com"},
			IPRanges:   []string{"127.0.0.0/8", "fd00::/8"},
			URIDomains: []string{"example.com"},
		}},
	})
	check(t, err)
	authority, err := pki.SelfSign(request, time.Now())
	check(t, err)
	return authority
}

// issue makes a leaf with all kinds of names and writes its files.
func issue(t *testing.T, authority *pki.Authority, keyType pki.KeyType, usages ...pki.Usage) files {
	t.Helper()
	names := pki.Names{Subject: pki.Subject{CommonName: "my-client"}, URIs: []string{"spiffe://example.com/ns/shop/sa/cart"}}
	if slices.Contains(usages, pki.UsageServer) {
		names = pki.Names{
			DNSNames:    []string{"localhost", "hello.shop.svc", "*.example.com"},
			IPAddresses: []string{"127.0.0.1", "fd00::1"},
			URIs:        names.URIs,
		}
	}
	request, err := pki.NewRequest(names, usages)
	check(t, err)
	key := keyOf(t, keyType)
	issuer := authority.Issuer()
	validity := issuer.LeafValidity(time.Now(), 90*24*time.Hour)
	leaf, err := authority.Sign(request, key.Public(), validity, issuer.Bundle())
	check(t, err)
	keyPEM, err := pki.EncodeKey(key, pki.EncodingPKCS8)
	check(t, err)

	result := files{leaf, t.TempDir()}
	for name, data := range map[string][]byte{
		"tls.crt": pki.EncodeCertificates(leaf),
		"tls.key": keyPEM,
		"ca.crt":  issuer.Bundle().PEM(),
	} {
		check(t, os.WriteFile(result.path(name), data, 0o600))
	}
	return result
}

var keys = map[pki.KeyType]crypto.Signer{}

// keyOf returns the key of this type that all leaves share: making RSA keys is slow.
func keyOf(t *testing.T, keyType pki.KeyType) crypto.Signer {
	t.Helper()
	if _, made := keys[keyType]; !made {
		key, err := pki.GenerateKey(keyType)
		check(t, err)
		keys[keyType] = key
	}
	return keys[keyType]
}

// usageSets are all sets of usages a certificate can have.
var usageSets = [][]pki.Usage{{pki.UsageServer}, {pki.UsageClient}, {pki.UsageServer, pki.UsageClient}}

// forEachCertificate calls each for every algorithm of CA and leaf and every set of usages.
func forEachCertificate(t *testing.T, each func(t *testing.T, authority *pki.Authority, leaf files, usages []pki.Usage)) {
	t.Helper()
	for _, authorityKey := range pki.KeyTypes() {
		authority := newAuthority(t, authorityKey)
		for _, leafKey := range pki.KeyTypes() {
			for _, usages := range usageSets {
				t.Run(string(authorityKey)+" signs "+string(leafKey)+" "+join(usages), func(t *testing.T) {
					each(t, authority, issue(t, authority, leafKey, usages...), usages)
				})
			}
		}
	}
}

func join(usages []pki.Usage) string {
	text := ""
	for _, usage := range usages {
		text += string(usage)
	}
	return text
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
