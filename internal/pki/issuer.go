package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Issuer is the public half of a CA: its certificate, the CAs above it, and the roots. It may be kept in caches. It
// can't be changed; it may be used by many goroutines.
type Issuer struct {
	certificate *x509.Certificate
	sent        []*x509.Certificate // what a peer needs beside a leaf and the roots
	roots       Bundle
	validity    Validity
	fingerprint string
}

// ParseIssuer reads a CA's certificate, followed by the intermediates above it and perhaps the root (the tls.crt of a
// CA Secret), and its roots (ca.crt), which may be empty when the chain ends in a self-signed certificate. It fails
// unless each certificate signed the one before it and every root completes the chain. The error is an [ImportError].
func ParseIssuer(certificates, roots []byte) (Issuer, error) {
	chain, err := parseChain(certificates)
	if err != nil {
		return Issuer{}, err
	}
	trusted, err := parseRoots(roots)
	if err != nil {
		return Issuer{}, err
	}
	return newIssuer(chain, trusted)
}

// PublicIssuer is the issuer of which only a self-signed root is left: it can't sign, and tells what was signed by it.
// The error is an [ImportError].
func PublicIssuer(root *x509.Certificate) (Issuer, error) {
	if root == nil {
		return Issuer{}, refuse(keyCertificates, "there is no certificate")
	}
	return newIssuer([]*x509.Certificate{root}, nil)
}

func newIssuer(chain, roots []*x509.Certificate) (Issuer, error) {
	if err := checkOrder(chain); err != nil {
		return Issuer{}, err
	}
	certificate, top := chain[0], chain[len(chain)-1]
	sent := chain
	if isSelfSigned(top) {
		roots = slices.Concat([]*x509.Certificate{top}, roots)
		sent = chain[:len(chain)-1]
	}
	if err := checkRoots(certificate, sent, roots); err != nil {
		return Issuer{}, err
	}
	validity := validityOf(certificate)
	for _, c := range slices.Concat(sent, roots) {
		validity = validity.intersect(validityOf(c))
	}
	return Issuer{certificate, slices.Clone(sent), NewBundle(roots...), validity, Fingerprint(certificate)}, nil
}

// checkOrder wants each certificate to be signed by the next one, and path lengths to allow that.
func checkOrder(chain []*x509.Certificate) error {
	for i, c := range chain {
		name := certificateName(i, c)
		if twin := slices.IndexFunc(chain[i+1:], c.Equal); twin >= 0 {
			return refuse(keyCertificates, "certificate %d is the same as %s: remove it", i+1+twin+1, name)
		}
		if c.BasicConstraintsValid && c.MaxPathLen >= 0 && c.MaxPathLen < i {
			return refuse(keyCertificates, "%s allows %d CAs below it and there are %d: its pathLen is too small",
				name, c.MaxPathLen, i)
		}
		if i == len(chain)-1 {
			continue
		}
		next := certificateName(i+1, chain[i+1])
		switch {
		case isSelfSigned(c):
			return refuse(keyCertificates, "%s is self-signed, so nothing can stand above it: remove %s", name, next)
		case !isIssued(c, chain[i+1]):
			return refuse(keyCertificates, "%s wasn't signed by %s: write the CA's own certificate first, "+
				"then the one that signed it, and so on", name, next)
		}
	}
	return nil
}

// checkRoots wants every root to be self-signed and to complete the chain: a root is trusted with everything, so none
// that isn't needed may slip in.
func checkRoots(certificate *x509.Certificate, sent, roots []*x509.Certificate) error {
	top := certificate
	if len(sent) > 0 {
		top = sent[len(sent)-1]
	}
	if len(roots) == 0 {
		return refuse(keyCertificates, "the chain ends with %s, which isn't self-signed: "+
			"append the certificates above it up to the root, or put the root into %s", quote(SubjectText(top)), keyRoots)
	}
	for i, root := range roots {
		name := certificateName(i, root)
		switch {
		case root.BasicConstraintsValid && root.MaxPathLen >= 0 && root.MaxPathLen < len(sent):
			return refuse(keyRoots, "%s allows %d CAs below it and there are %d: its pathLen is too small",
				name, root.MaxPathLen, len(sent))
		case !isSelfSigned(root):
			return refuse(keyRoots, "%s isn't self-signed, so it is no root: put it into %s", name, keyCertificates)
		case !isIssued(top, root):
			return refuse(keyRoots,
				"%s didn't sign %s, with which the chain in %s ends: remove it, or put the right root there",
				name, quote(SubjectText(top)), keyCertificates)
		}
	}
	return nil
}

func isSelfSigned(c *x509.Certificate) bool { return isIssued(c, c) }

// isIssued compares what verifiers use to find an issuer before it verifies the signature.
func isIssued(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return false
	}
	if len(c.AuthorityKeyId) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId) {
		return false
	}
	return c.CheckSignatureFrom(issuer) == nil
}

func certificateName(i int, c *x509.Certificate) string {
	return fmt.Sprintf("certificate %d (%s)", i+1, quote(SubjectText(c)))
}

// Certificate returns the CA's certificate; nil for the zero Issuer. Don't change it.
func (i Issuer) Certificate() *x509.Certificate { return i.certificate }

// Sent returns what follows a leaf in tls.crt: nothing when the issuer is a root itself, else its certificate and the
// intermediates above it. The root isn't sent: peers have it.
func (i Issuer) Sent() []*x509.Certificate { return slices.Clone(i.sent) }

// Bundle returns the issuer's roots.
func (i Issuer) Bundle() Bundle { return i.roots }

// Fingerprint is the SHA-256 of the DER of the CA's certificate, in hex.
func (i Issuer) Fingerprint() string { return i.fingerprint }

// Validity is the time in which the certificate and everything above it are valid.
func (i Issuer) Validity() Validity { return i.validity }

// LeafValidity is the validity of a leaf that shall live for duration from now on: backdated, and clamped so that it
// doesn't outlive anything above it. Its Life isn't positive when the issuer isn't valid at all.
func (i Issuer) LeafValidity(now time.Time, duration time.Duration) Validity {
	return newValidity(now.Add(-Backdate), now.Add(duration)).intersect(i.validity)
}

// Issued tells whether the issuer signed the certificate: by name, by key identifier where both have one, and by
// signature.
func (i Issuer) Issued(leaf *x509.Certificate) bool {
	return i.certificate != nil && isIssued(leaf, i.certificate)
}

// above returns the CAs above a leaf, the issuer first and the roots last.
func (i Issuer) above() []*x509.Certificate { return slices.Concat(i.sent, i.roots.Certificates()) }
