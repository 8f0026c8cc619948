package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Backdate is how long before now certificates begin to be valid, for peers whose clocks are behind.
const Backdate = 5 * time.Minute

// Validity is the time in which a certificate is valid, both ends included, in whole seconds and UTC.
type Validity struct {
	NotBefore, NotAfter time.Time
}

// newValidity drops what a certificate can't hold.
func newValidity(notBefore, notAfter time.Time) Validity {
	return Validity{notBefore.UTC().Truncate(time.Second), notAfter.UTC().Truncate(time.Second)}
}

func validityOf(c *x509.Certificate) Validity { return newValidity(c.NotBefore, c.NotAfter) }

// Life is the time between both ends. It isn't positive when there is no time at all.
func (v Validity) Life() time.Duration { return v.NotAfter.Sub(v.NotBefore) }

func (v Validity) equal(other Validity) bool {
	return v.NotBefore.Equal(other.NotBefore) && v.NotAfter.Equal(other.NotAfter)
}

// intersect returns the part of v that lies in other.
func (v Validity) intersect(other Validity) Validity {
	if other.NotBefore.After(v.NotBefore) {
		v.NotBefore = other.NotBefore
	}
	if other.NotAfter.Before(v.NotAfter) {
		v.NotAfter = other.NotAfter
	}
	return v
}

// String shows both ends.
func (v Validity) String() string {
	return v.NotBefore.Format(time.RFC3339) + " to " + v.NotAfter.Format(time.RFC3339)
}

// minSerialBits and maxSerialBits bound what a serial number may be: hard to guess, and positive in 20 octets (RFC
// 5280, section 4.1.2.2).
const (
	serialBits    = 128
	minSerialBits = 64
	maxSerialBits = 159
)

func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), serialBits)
	for {
		serial, err := rand.Int(rand.Reader, limit)
		if err != nil || serial.BitLen() >= minSerialBits {
			return serial, err
		}
	}
}

// newTemplate is what both profiles share.
func newTemplate(subject []byte, public crypto.PublicKey, validity Validity) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		NotBefore:             validity.NotBefore,
		NotAfter:              validity.NotAfter,
		BasicConstraintsValid: true,
		SubjectKeyId:          id, // crypto/x509 gives one to CAs only
	}, nil
}

// leafTemplate is the leaf profile. crypto/x509 copies the authority key identifier from the CA, and makes the subject
// alternative name critical when the subject is empty.
func leafTemplate(r Request, public crypto.PublicKey, validity Validity) (*x509.Certificate, error) {
	algorithm, err := algorithmOf(public)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(r.subject, public, validity)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = algorithm.usage(r.usages)
	for _, usage := range r.usages {
		template.ExtKeyUsage = append(template.ExtKeyUsage, extendedUsages[usage])
	}
	template.DNSNames = r.names.DNSNames
	template.IPAddresses = r.ips
	template.URIs = r.uris
	template.EmailAddresses = r.names.EmailAddresses
	return template, nil
}

const authorityUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

// authorityTemplate is the CA profile.
func authorityTemplate(r AuthorityRequest, public crypto.PublicKey, validity Validity) (*x509.Certificate, error) {
	template, err := newTemplate(r.subject, public, validity)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = authorityUsage
	template.MaxPathLen = r.maxPathLength
	template.MaxPathLenZero = r.maxPathLength == 0
	r.constraints.apply(template)
	return template, nil
}

// Extensions (RFC 5280, section 4.2.1).
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidNameConstraints  = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// extension is one that a profile wants, with its criticality.
type extension struct {
	name     string
	oid      asn1.ObjectIdentifier
	critical bool
}

func leafExtensions(r Request, issuer *x509.Certificate) []extension {
	wanted := []extension{
		{"keyUsage", oidKeyUsage, true},
		{"extKeyUsage", oidExtKeyUsage, false},
		{"basicConstraints", oidBasicConstraints, true},
		{"subjectKeyIdentifier", oidSubjectKeyID, false},
	}
	if len(issuer.SubjectKeyId) > 0 {
		wanted = append(wanted, extension{"authorityKeyIdentifier", oidAuthorityKeyID, false})
	}
	if n := r.names; len(n.DNSNames)+len(n.IPAddresses)+len(n.URIs)+len(n.EmailAddresses) > 0 {
		wanted = append(wanted, extension{"subjectAltName", oidSubjectAltName, bytes.Equal(r.subject, emptySubject)})
	}
	return wanted
}

// emptySubject is the DER of a name without parts.
var emptySubject = []byte{0x30, 0x00}

// authorityExtensions are those of a CA below parent; a root is its own parent.
func authorityExtensions(r AuthorityRequest, c, parent *x509.Certificate) []extension {
	wanted := []extension{
		{"keyUsage", oidKeyUsage, true},
		{"basicConstraints", oidBasicConstraints, true},
		{"subjectKeyIdentifier", oidSubjectKeyID, false},
	}
	if !r.constraints.empty() {
		wanted = append(wanted, extension{"nameConstraints", oidNameConstraints, true})
	}
	if parent != c && len(parent.SubjectKeyId) > 0 {
		wanted = append(wanted, extension{"authorityKeyIdentifier", oidAuthorityKeyID, false})
	}
	return wanted
}

// checkExtensions wants a certificate to have exactly these extensions.
func checkExtensions(c *x509.Certificate, wanted []extension) error {
	for _, has := range c.Extensions {
		i := slices.IndexFunc(wanted, func(e extension) bool { return e.oid.Equal(has.Id) })
		switch {
		case i < 0:
			return fmt.Errorf("it has extension %s, which the profile hasn't", has.Id)
		case wanted[i].critical != has.Critical:
			return fmt.Errorf("extension %s: critical is %t, must be %t", wanted[i].name, has.Critical, wanted[i].critical)
		}
		wanted = slices.Delete(slices.Clone(wanted), i, i+1)
	}
	if len(wanted) > 0 {
		return fmt.Errorf("it lacks extension %s", wanted[0].name)
	}
	return nil
}

// checkCommon is what both profiles want of the bytes of a certificate.
func checkCommon(c *x509.Certificate, public, signer crypto.PublicKey) error {
	algorithm, err := algorithmOf(signer)
	if err != nil {
		return err
	}
	id, err := keyID(public)
	if err != nil {
		return err
	}
	switch bits := c.SerialNumber.BitLen(); {
	case c.Version != 3:
		return fmt.Errorf("its version is %d, must be 3", c.Version)
	case c.SerialNumber.Sign() <= 0 || bits < minSerialBits || bits > maxSerialBits:
		return fmt.Errorf("its serial number has %d bits, must be positive with %d to %d",
			bits, minSerialBits, maxSerialBits)
	case c.SignatureAlgorithm != algorithm.signature:
		return fmt.Errorf("its signature is %s, must be %s", c.SignatureAlgorithm, algorithm.signature)
	case !SameKey(c.PublicKey, public):
		return fmt.Errorf("its public key is another one")
	case !c.BasicConstraintsValid:
		return fmt.Errorf("its basicConstraints aren't valid")
	case !bytes.Equal(c.SubjectKeyId, id):
		return fmt.Errorf("its subjectKeyIdentifier isn't made from its key")
	}
	return nil
}
