package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority is a CA. The zero value has no certificate yet.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, key := authority{}.sign(t, template)
	return authority{certificate, key}
}

// sign signs with a new key; without a certificate of its own, with that key.
func (a authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if a.certificate == nil {
		a = authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return certificate, key
}

// volume is a folder as kubelet mounts a Secret.
type volume string

func newVolume(t *testing.T) volume {
	t.Helper()
	v := volume(t.TempDir())
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		must(t, os.Symlink(filepath.Join("..data", name), v.path(name)))
	}
	return v
}

func (v volume) path(name string) string { return filepath.Join(string(v), name) }

// issue replaces everything in the volume, at once, by a new certificate of the authority and the roots.
func (v volume) issue(t *testing.T, a authority, roots ...authority) {
	t.Helper()
	certificate, key := a.sign(t, &x509.Certificate{
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	v.swap(t, map[string][]byte{
		"tls.crt": encode("CERTIFICATE", certificate.Raw), "tls.key": encode("PRIVATE KEY", der), "ca.crt": bundle(roots...),
	})
}

func (v volume) swap(t *testing.T, contents map[string][]byte) {
	t.Helper()
	version, err := os.MkdirTemp(string(v), "..version")
	must(t, err)
	for name, data := range contents {
		must(t, os.WriteFile(filepath.Join(version, name), data, 0o600))
	}
	must(t, os.Symlink(filepath.Base(version), v.path("..data_tmp")))
	must(t, os.Rename(v.path("..data_tmp"), v.path("..data")))
}

func bundle(roots ...authority) []byte {
	var all []byte
	for _, root := range roots {
		all = append(all, encode("CERTIFICATE", root.certificate.Raw)...)
	}
	return all
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// participant is a peer without its loops: a server on loopback, and a dialer that makes an attempt when it is told to.
type participant struct {
	volume  volume
	files   *files
	counted *counts
	address string
}

// start starts a peer with a certificate of the authority.
func start(t *testing.T, a authority, roots ...authority) *participant {
	t.Helper()
	p := &participant{volume: newVolume(t), counted: newCounts(time.Now)}
	p.volume.issue(t, a, roots...)
	var err error
	p.files, err = openFiles(string(p.volume), p.volume.path("ca.crt"), slog.New(slog.DiscardHandler))
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.address = listener.Addr().String()
	s := &server{files: p.files, counted: p.counted, timeout: 10 * time.Second}
	go s.serve(t.Context(), listener)
	return p
}

// dial makes one attempt at another peer, and counts it.
func (p *participant) dial(t *testing.T, other *participant) outcome {
	t.Helper()
	d := &dialer{peer: other.address, files: p.files, timeout: 10 * time.Second}
	result := d.attempt(t.Context())
	p.counted.add(other.address, result)
	return result
}

func (p *participant) look(t *testing.T) {
	t.Helper()
	must(t, p.files.lookAtPair())
	must(t, p.files.lookAtRoots())
}
