package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// noon is the present of every test that has no reason for another one.
var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

// keys are made once for all tests: RSA keys take their time.
var (
	keysLock sync.Mutex
	keys     = map[string]crypto.Signer{}
)

// keyFor returns the same key for the same name and type.
func keyFor(t testing.TB, name string, keyType KeyType) crypto.Signer {
	t.Helper()
	keysLock.Lock()
	defer keysLock.Unlock()
	id := name + "/" + string(keyType)
	if keys[id] == nil {
		key, err := GenerateKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = key
	}
	return keys[id]
}

var (
	authoritiesLock sync.Mutex
	authorities     = map[KeyType]*Authority{}
)

// rootOf returns the one self-signed CA there is for a type of key, "root <type>".
func rootOf(t testing.TB, keyType KeyType) *Authority {
	t.Helper()
	authoritiesLock.Lock()
	defer authoritiesLock.Unlock()
	if authorities[keyType] == nil {
		authorities[keyType] = selfSigned(t, AuthorityFields{
			Subject: Subject{CommonName: "root " + string(keyType)}, KeyType: keyType, Duration: year,
		})
	}
	return authorities[keyType]
}

func root(t testing.TB) *Authority {
	t.Helper()
	return rootOf(t, KeyECDSAP256)
}

func selfSigned(t testing.TB, fields AuthorityFields) *Authority {
	t.Helper()
	if fields.Subject.CommonName == "" {
		fields.Subject.CommonName = "ca"
	}
	if fields.KeyType == "" {
		fields.KeyType = KeyECDSAP256
	}
	if fields.Duration == 0 {
		fields.Duration = year
	}
	request, err := NewAuthorityRequest(fields)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := SelfSign(request, noon)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func requestFor(t testing.TB, names Names, usages ...Usage) Request {
	t.Helper()
	request, err := NewRequest(names, usages)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

var bothUsages = []Usage{UsageServer, UsageClient}

// hello is a request that most tests are content with.
func hello(t testing.TB) Request {
	t.Helper()
	return requestFor(t, Names{
		Subject:        Subject{CommonName: "hello", Organizations: []string{"Example"}},
		DNSNames:       []string{"localhost", "*.example.com"},
		IPAddresses:    []string{"127.0.0.1", "::1"},
		URIs:           []string{"spiffe://example.com/ns/shop/sa/hello"},
		EmailAddresses: []string{"hello@example.com"},
	}, bothUsages...)
}

func issue(t testing.TB, authority *Authority, request Request, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	issuer := authority.Issuer()
	leaf, err := authority.Sign(request, public, issuer.LeafValidity(noon, time.Hour), issuer.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// forge makes a certificate that the package itself would never make. change gets a template that is a plain CA's.
func forge(t testing.TB, parent *pair, name string, change func(*x509.Certificate)) *pair {
	t.Helper()
	return forgeFor(t, parent, name, keyFor(t, name, KeyECDSAP256), change)
}

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func forgeFor(t testing.TB, parent *pair, name string, key crypto.Signer, change func(*x509.Certificate)) *pair {
	t.Helper()
	subject, err := encodeSubject(Subject{CommonName: name})
	if err != nil {
		t.Fatal(err)
	}
	id, err := keyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(id), RawSubject: subject, SubjectKeyId: id,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(year),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1, KeyUsage: authorityUsage,
	}
	template.SerialNumber.SetBit(template.SerialNumber, 159, 0)
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &pair{template, key}
	}
	der, err := x509.CreateCertificate(nil, template, parent.certificate, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{certificate, key}
}

func (p *pair) certificatePEM() []byte { return EncodeCertificates(p.certificate) }

func (p *pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	return encodeKey(t, p.key, EncodingPKCS8)
}

func encodeKey(t testing.TB, key crypto.Signer, encoding KeyEncoding) []byte {
	t.Helper()
	out, err := EncodeKey(key, encoding)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pairOf gives tests the key of an authority.
func pairOf(a *Authority) *pair { return &pair{a.issuer.certificate, a.key()} }

// intermediate makes an authority under another one.
func intermediate(t testing.TB, parent *Authority, name string, change func(*x509.Certificate)) *Authority {
	t.Helper()
	made := forge(t, pairOf(parent), name, change)
	chain := append([]*x509.Certificate{made.certificate}, parent.issuer.Sent()...)
	authority, err := LoadAuthority(EncodeCertificates(chain...), made.keyPEM(t), parent.issuer.Bundle().PEM())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

func block(kind, content string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)})
}

// wantText fails unless the error is there and says this.
func wantText(t testing.TB, err error, text string) {
	t.Helper()
	switch {
	case err == nil:
		t.Fatalf("no error, want one that says %q", text)
	case !strings.Contains(err.Error(), text):
		t.Fatalf("error %q doesn't say %q", err, text)
	}
}

// wantNoError also fails the test at once.
func wantNoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantField fails unless this field, and no other one, is wrong, and the message says this.
func wantField(t testing.TB, err error, field, text string) {
	t.Helper()
	var wrong FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatalf("error %v is no FieldErrors", err)
	}
	if len(wrong) != 1 || wrong[0].Field != field || !strings.Contains(wrong[0].Message, text) {
		t.Fatalf("got %q, want field %q alone with a message that says %q", wrong, field, text)
	}
}

// workshop is a folder in which openssl is run.
type workshop struct {
	t   testing.TB
	dir string
}

func newWorkshop(t testing.TB) workshop {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl isn't on this machine")
	}
	return workshop{t, t.TempDir()}
}

func (w workshop) write(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w workshop) read(name string) []byte {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return content
}

// try runs a command line whose words have no spaces; a word in single quotes may.
func (w workshop) try(line string) error {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	command := exec.Command("openssl", words...)
	command.Dir = w.dir
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("openssl %s: %w: %s", line, err, out)
	}
	return nil
}

func (w workshop) run(line string) {
	w.t.Helper()
	if err := w.try(line); err != nil {
		w.t.Fatal(err)
	}
}

func extensionOf(oid asn1.ObjectIdentifier, value []byte) pkix.Extension {
	return pkix.Extension{Id: oid, Value: value}
}

func namesOf(commonName string) pkix.RDNSequence {
	return pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: commonName}}}
}

// filesWith tells which of the texts occur in which of the package's files that aren't tests, sorted; once per time.
func filesWith(t testing.TB, texts ...string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	wantNoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		wantNoError(t, err)
		for _, text := range texts {
			for range strings.Count(string(content), text) {
				if !strings.HasSuffix(file, "_test.go") {
					found = append(found, file+": "+text)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}
