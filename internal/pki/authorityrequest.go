package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// AuthorityFields are what a user asks of a CA, as it was written; [NewAuthorityRequest] makes a value of them.
type AuthorityFields struct {
	// Subject of the CA; its CommonName is needed.
	Subject Subject
	// KeyType of the CA's key.
	KeyType KeyType
	// Duration is the life of the CA from now on, at least one hour.
	Duration time.Duration
	// MaxPathLength is how many CAs may stand between this one and a leaf.
	MaxPathLength int
	// NameConstraints limit what the CA can sign for.
	NameConstraints NameConstraints
	// Generation counts the certificates of one authority. From the second on " G<n>" is appended to the CommonName:
	// OpenSSL takes the first root with a matching name, so names must differ.
	Generation int64
}

// NameConstraints limit the names a CA can sign for (RFC 5280, section 4.2.1.10). The extension is critical.
type NameConstraints struct {
	// Permitted names: once a kind of name is listed, every name of that kind must be under one of them.
	Permitted NameConstraintSet
	// Excluded names: no name may be under one of them.
	Excluded NameConstraintSet
}

// NameConstraintSet is a set of subtrees.
type NameConstraintSet struct {
	// DNSDomains cover themselves and all that is under them.
	DNSDomains []string
	// IPRanges are networks such as 10.0.0.0/8.
	IPRanges []string
	// EmailAddresses are addresses, hosts or, with a leading dot, all that is under a domain.
	EmailAddresses []string
	// URIDomains are hosts or, with a leading dot, all that is under a domain.
	URIDomains []string
}

const (
	minAuthorityDuration   = time.Hour
	maxPathLength          = 8
	maxAuthorityCommonName = 56 // leaves room for " G" and the number of a generation
)

// AuthorityRequest is what a CA certificate shall say. It was validated by [NewAuthorityRequest], can be signed, and
// can't be changed.
type AuthorityRequest struct {
	subject       []byte // DER
	keyType       KeyType
	duration      time.Duration
	maxPathLength int
	constraints   constraints
}

// NewAuthorityRequest validates once, and tells everything that is wrong at once: the error is a [FieldErrors] with the
// fields of the API.
func NewAuthorityRequest(f AuthorityFields) (AuthorityRequest, error) {
	var checks fieldChecks
	subject := f.Subject
	if subject.CommonName == "" {
		checks.add("commonName", "is empty: a CA needs a name")
	} else {
		checks.add("commonName", checkText(subject.CommonName, maxAuthorityCommonName))
	}
	if f.Generation > 1 {
		subject.CommonName += fmt.Sprintf(" G%d", f.Generation)
	}
	checks.authoritySubject(subject)
	if !slices.Contains(KeyTypes(), f.KeyType) {
		checks.add("privateKey.type", fmt.Sprintf("%s isn't known: use one of %s", quote(string(f.KeyType)), keyTypeList()))
	}
	if f.Duration < minAuthorityDuration {
		checks.add("duration", fmt.Sprintf("is %s: must be at least %s", f.Duration, minAuthorityDuration))
	}
	if f.MaxPathLength < 0 || f.MaxPathLength > maxPathLength {
		checks.add("maxPathLength", fmt.Sprintf("is %d: must be from 0 to %d", f.MaxPathLength, maxPathLength))
	}
	permitted := checks.constraintSet("nameConstraints.permitted", f.NameConstraints.Permitted)
	excluded := checks.constraintSet("nameConstraints.excluded", f.NameConstraints.Excluded)
	if err := checks.err(); err != nil {
		return AuthorityRequest{}, err
	}
	der, err := encodeSubject(subject)
	if err != nil {
		return AuthorityRequest{}, FieldErrors{{"subject", "can't be encoded: " + cut(err.Error(), shown)}}
	}
	return AuthorityRequest{der, f.KeyType, f.Duration, f.MaxPathLength, constraints{permitted, excluded}}, nil
}

// authoritySubject is subject without telling twice what is wrong with the common name.
func (e *fieldChecks) authoritySubject(s Subject) {
	known := slices.ContainsFunc(e.wrong, func(one FieldError) bool { return one.Field == "commonName" })
	if known {
		s.CommonName = ""
	}
	e.subject(s)
}

// constraintSet checks one set, and returns it in the types of crypto/x509 when nothing is wrong.
func (e *fieldChecks) constraintSet(path string, set NameConstraintSet) constraintSet {
	e.list(path+".dnsDomains", set.DNSDomains, checkDNSDomain, asIs)
	e.list(path+".ipRanges", set.IPRanges, checkIPRange, asIs)
	e.list(path+".emailAddresses", set.EmailAddresses, checkEmailConstraint, strings.ToLower)
	e.list(path+".uriDomains", set.URIDomains, checkURIDomain, asIs)
	parsed := constraintSet{
		dns:    slices.Clone(set.DNSDomains),
		emails: slices.Clone(set.EmailAddresses),
		uris:   slices.Clone(set.URIDomains),
	}
	for _, text := range set.IPRanges {
		if _, network, err := net.ParseCIDR(text); err == nil {
			parsed.ips = append(parsed.ips, network)
		}
	}
	return parsed
}

func checkDNSDomain(domain string) string {
	switch {
	case domain == "":
		return "is empty: remove it"
	case strings.HasPrefix(domain, "."):
		return quote(domain) + " begins with a dot: remove it, a domain covers all that is under it"
	case strings.HasPrefix(domain, "*"):
		return quote(domain) + " has a wildcard: remove it, a domain covers all that is under it"
	}
	return checkDNSName(domain)
}

func checkIPRange(text string) string {
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return quote(text) + " isn't a network: write one such as 10.0.0.0/8 or fd00::/8"
	case network.Addr().Is4In6():
		return quote(text) + " is an IPv4 network written as IPv6: write it as IPv4"
	case network.Masked() != network:
		return fmt.Sprintf("%s has bits set behind its prefix: write %s", quote(text), network.Masked())
	case network.String() != text:
		return fmt.Sprintf("%s isn't in its canonical form: write %s", quote(text), network)
	}
	return ""
}

func checkEmailConstraint(text string) string {
	if strings.Contains(text, "@") {
		return checkEmailAddress(text)
	}
	return checkDomainConstraint(text)
}

func checkURIDomain(text string) string {
	if message := checkDomainConstraint(text); message != "" {
		return message
	}
	if !strings.Contains(strings.TrimPrefix(text, "."), ".") {
		return quote(text) + " has one label only: write a full domain name (RFC 5280, section 4.2.1.10)"
	}
	return ""
}

// checkDomainConstraint is for a host or, with a leading dot, the hosts under a domain.
func checkDomainConstraint(text string) string {
	host := strings.TrimPrefix(text, ".")
	if host == "" {
		return "is empty: remove it"
	}
	return checkHost(host)
}

// check looks at a signed CA certificate as [Check] does at a leaf, from its bytes. A root is its own parent.
func (r AuthorityRequest) check(c, parent *x509.Certificate, public crypto.PublicKey, validity Validity) error {
	if err := checkCommon(c, public, parent.PublicKey); err != nil {
		return err
	}
	if err := checkExtensions(c, authorityExtensions(r, c, parent)); err != nil {
		return err
	}
	has, err := KeyTypeOf(c.PublicKey)
	switch {
	case err != nil || has != r.keyType:
		return fmt.Errorf("its key is %s, must be %s", has, r.keyType)
	case !c.IsCA || c.MaxPathLen != r.maxPathLength:
		return fmt.Errorf("its basicConstraints are CA %t and pathLen %d", c.IsCA, c.MaxPathLen)
	case c.KeyUsage != authorityUsage:
		return fmt.Errorf("its keyUsage is %09b", c.KeyUsage)
	case !bytes.Equal(c.RawSubject, r.subject):
		return fmt.Errorf("its subject is %s", quote(SubjectText(c)))
	case !validityOf(c).equal(validity):
		return fmt.Errorf("its validity is %s, must be %s", validityOf(c), validity)
	case !r.constraints.equal(constraintsOf(c)):
		return fmt.Errorf("its nameConstraints aren't the ones asked for")
	}
	return checkParent(c, parent)
}

func checkParent(c, parent *x509.Certificate) error {
	if parent != c && !bytes.Equal(c.AuthorityKeyId, parent.SubjectKeyId) {
		return errors.New("its authorityKeyIdentifier isn't the parent's subjectKeyIdentifier")
	}
	return c.CheckSignatureFrom(parent)
}
