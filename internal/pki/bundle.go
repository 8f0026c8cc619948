package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
)

// Bundle is a set of roots. The same set has always the same order, the same PEM and the same hash. The zero value is
// the empty set. It can't be changed; it may be used by many goroutines.
type Bundle struct {
	members []member
}

type member struct {
	fingerprint string
	certificate *x509.Certificate
	pem         []byte
}

// NewBundle makes a set of these certificates: duplicates are dropped, and the rest is sorted by the time it became
// valid, then by fingerprint.
func NewBundle(roots ...*x509.Certificate) Bundle {
	members := make([]member, 0, len(roots))
	for _, c := range roots {
		members = append(members, member{Fingerprint(c), c, EncodeCertificates(c)})
	}
	return sortedBundle(members)
}

func sortedBundle(members []member) Bundle {
	slices.SortFunc(members, func(a, b member) int {
		if order := a.certificate.NotBefore.Compare(b.certificate.NotBefore); order != 0 {
			return order
		}
		return strings.Compare(a.fingerprint, b.fingerprint)
	})
	return Bundle{slices.CompactFunc(members, func(a, b member) bool { return a.fingerprint == b.fingerprint })}
}

// ParseBundle reads a set of roots as [ParseCertificates] does.
func ParseBundle(data []byte) (Bundle, error) {
	roots, err := ParseCertificates(data)
	if err != nil {
		return Bundle{}, err
	}
	return NewBundle(roots...), nil
}

// Union returns the set of what is in either.
func (b Bundle) Union(other Bundle) Bundle {
	return sortedBundle(slices.Concat(b.members, other.members))
}

// PEM returns the certificates as [EncodeCertificates] writes them.
func (b Bundle) PEM() []byte {
	var out []byte
	for _, m := range b.members {
		out = append(out, m.pem...)
	}
	return out
}

// Hash is the SHA-256 over the sorted fingerprints, in hex.
func (b Bundle) Hash() string {
	fingerprints := make([]string, len(b.members))
	for i, m := range b.members {
		fingerprints[i] = m.fingerprint
	}
	slices.Sort(fingerprints)
	sum := sha256.Sum256([]byte(strings.Join(fingerprints, "\n")))
	return hex.EncodeToString(sum[:])
}

// Contains tells whether the certificate is a member.
func (b Bundle) Contains(c *x509.Certificate) bool {
	return slices.ContainsFunc(b.members, func(m member) bool { return bytes.Equal(m.certificate.Raw, c.Raw) })
}

// Certificates returns the members in their order. Don't change them.
func (b Bundle) Certificates() []*x509.Certificate {
	certificates := make([]*x509.Certificate, len(b.members))
	for i, m := range b.members {
		certificates[i] = m.certificate
	}
	return certificates
}

// Pool returns the members as crypto/tls wants them. It is never nil: a nil pool would mean the machine's own roots.
func (b Bundle) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, m := range b.members {
		pool.AddCert(m.certificate)
	}
	return pool
}

// Len is the number of members.
func (b Bundle) Len() int { return len(b.members) }

// Find returns the member with this [Fingerprint], false when there is none.
func (b Bundle) Find(fingerprint string) (*x509.Certificate, bool) {
	for _, m := range b.members {
		if m.fingerprint == fingerprint {
			return m.certificate, true
		}
	}
	return nil, false
}

// In tells whether PEM data holds every member, written as [EncodeCertificates] writes it. It parses nothing, so that it
// can be asked of every Secret at every turn. For the same certificates written in another way it may say false, and
// whoever asks writes them again; it never says true when one is missing. Whether the rest of the data is sound isn't
// looked at. The empty set is in everything.
func (b Bundle) In(data []byte) bool {
	return !slices.ContainsFunc(b.members, func(m member) bool { return !hasLines(data, m.pem) })
}

// hasLines tells whether whole lines are somewhere in a text. In the middle of a line a PEM block isn't one.
func hasLines(text, lines []byte) bool {
	for {
		at := bytes.Index(text, lines)
		if at <= 0 || text[at-1] == '\n' {
			return at >= 0
		}
		text = text[at+1:]
	}
}
