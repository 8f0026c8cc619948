package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// files are what handshakes use right now. A version that isn't good is told, and the last good one stays.
type files struct {
	pair  watched[tls.Certificate]
	roots watched[roots]
	log   *slog.Logger
}

// roots are the CAs that are trusted, on either side.
type roots struct {
	pool *x509.CertPool
	// fingerprints are the SHA-256 of the certificates, in hex.
	fingerprints []string
}

// openFiles reads the files for the first time. They must be good.
func openFiles(dir, rootsFile string, log *slog.Logger) (*files, error) {
	f := &files{log: log}
	f.pair.read = func() ([][]byte, error) { return readPair(dir) }
	f.pair.parse = parsePair
	f.roots.read = func() ([][]byte, error) {
		data, err := os.ReadFile(rootsFile)
		return [][]byte{data}, err
	}
	f.roots.parse = parseRoots
	return f, errors.Join(f.lookAtPair(), f.lookAtRoots())
}

// run looks at the files every interval until ctx ends.
func (f *files) run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := errors.Join(f.lookAtPair(), f.lookAtRoots()); err != nil {
			f.log.Error("keeping what was in force", "error", err)
		}
	}
}

func (f *files) lookAtPair() error {
	changed, err := f.pair.look()
	if changed {
		leaf := f.pair.current.Load().Leaf
		f.log.Info("certificate in force", "serial", serial(leaf), "issuer", issuer(leaf))
	}
	return err
}

func (f *files) lookAtRoots() error {
	changed, err := f.roots.look()
	if changed {
		f.log.Info("roots in force", "fingerprints", f.roots.current.Load().fingerprints)
	}
	return err
}

// watched is a value that is made of files, again when they change.
type watched[T any] struct {
	read    func() ([][]byte, error)
	parse   func(contents [][]byte) (*T, error)
	current atomic.Pointer[T]
	seen    [][]byte
}

// look reads the files, and tells whether they made another value. A version that can't be parsed is told once.
func (w *watched[T]) look() (changed bool, err error) {
	contents, err := w.read()
	if err != nil || slices.EqualFunc(contents, w.seen, bytes.Equal) {
		return false, err
	}
	w.seen = contents
	value, err := w.parse(contents)
	if err != nil {
		return false, err
	}
	w.current.Store(value)
	return true, nil
}

// readPair reads certificate and key from one version of the folder: kubelet replaces all files of a volume at once, by
// the link ..data. Whoever follows it for each file may get a key that isn't the certificate's.
func readPair(dir string) ([][]byte, error) {
	if version, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = version
	}
	certificate, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	return [][]byte{certificate, key}, err
}

func parsePair(contents [][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	return &pair, nil
}

// parseRoots takes all that is in the file or nothing.
func parseRoots(contents [][]byte) (*roots, error) {
	r := &roots{pool: x509.NewCertPool()}
	block, rest := pem.Decode(contents[0])
	for ; block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("roots: %w", err)
		}
		r.pool.AddCert(certificate)
		r.fingerprints = append(r.fingerprints, fingerprint(certificate))
	}
	if len(r.fingerprints) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("roots: %d certificates and then something else", len(r.fingerprints))
	}
	slices.Sort(r.fingerprints)
	return r, nil
}

func fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

func serial(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// issuer is the name of who signed, and the identifier of the key: generations of a CA may share one but not both.
func issuer(certificate *x509.Certificate) string {
	return certificate.Issuer.CommonName + " " + hex.EncodeToString(certificate.AuthorityKeyId)
}
