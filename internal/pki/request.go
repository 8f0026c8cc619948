package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Usage is what a certificate may be used as; it sets the extended key usage (RFC 5280, section 4.2.1.12).
type Usage string

// The usages.
const (
	UsageServer Usage = "Server"
	UsageClient Usage = "Client"
)

var extendedUsages = map[Usage]x509.ExtKeyUsage{
	UsageServer: x509.ExtKeyUsageServerAuth,
	UsageClient: x509.ExtKeyUsageClientAuth,
}

// Subject is a distinguished name (RFC 5280, section 4.1.2.4): CN, O, OU, C, ST and L.
type Subject struct {
	CommonName                                                           string
	Organizations, OrganizationalUnits, Countries, Provinces, Localities []string
}

// Names are all the names a certificate can carry.
type Names struct {
	Subject                                     Subject
	DNSNames, IPAddresses, URIs, EmailAddresses []string
}

// FieldError says what is wrong with one field and what to write instead.
type FieldError struct {
	// Field is the path in the API, such as "dnsNames[1]" or "subject.organizations[0]".
	Field string
	// Message quotes what the user wrote and cuts it.
	Message string
}

// Error joins field and message.
func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// FieldErrors is everything that is wrong with a request.
type FieldErrors []FieldError

// Error joins all of them, as "field: message; field: message".
func (e FieldErrors) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// fieldChecks collects what is wrong, field by field.
type fieldChecks struct {
	wrong FieldErrors
}

func (e *fieldChecks) err() error {
	if len(e.wrong) == 0 {
		return nil
	}
	return e.wrong
}

func (e *fieldChecks) add(field, message string) {
	if message != "" {
		e.wrong = append(e.wrong, FieldError{field, message})
	}
}

// list checks every value of a list by itself, and that none is there twice; same maps equal values to one text.
func (e *fieldChecks) list(field string, values []string, check, same func(string) string) {
	seen := make(map[string]bool, len(values))
	for i, value := range values {
		path := fmt.Sprintf("%s[%d]", field, i)
		e.add(path, check(value))
		if key := same(value); seen[key] {
			e.add(path, quote(value)+" is there twice: remove one")
		} else {
			seen[key] = true
		}
	}
}

// Request is what a certificate shall say and be used for. It was validated by [NewRequest], can be signed, and can't
// be changed.
type Request struct {
	names   Names
	usages  []Usage
	subject []byte // DER
	ips     []net.IP
	uris    []*url.URL
}

// NewRequest validates once, and tells everything that is wrong at once: the error is a [FieldErrors]. At least one
// name and one usage are needed, and a server needs a name that clients look at.
func NewRequest(names Names, usages []Usage) (Request, error) {
	var checks fieldChecks
	checks.usages(usages)
	checks.subject(names.Subject)
	checks.list("dnsNames", names.DNSNames, checkDNSName, strings.ToLower)
	checks.list("ipAddresses", names.IPAddresses, checkIPAddress, asIs)
	checks.list("uris", names.URIs, checkURI, asIs)
	checks.list("emailAddresses", names.EmailAddresses, checkEmailAddress, strings.ToLower)
	checks.present(names, usages)
	if err := checks.err(); err != nil {
		return Request{}, err
	}
	r := Request{names: names.clone(), usages: slices.Sorted(slices.Values(usages))}
	var err error
	if r.subject, err = encodeSubject(names.Subject); err != nil {
		return Request{}, FieldErrors{{"subject", "can't be encoded: " + cut(err.Error(), shown)}}
	}
	for _, ip := range names.IPAddresses {
		r.ips = append(r.ips, netip.MustParseAddr(ip).AsSlice())
	}
	for _, text := range names.URIs {
		uri, err := url.Parse(text)
		if err != nil {
			return Request{}, FieldErrors{{"uris", "can't be parsed"}}
		}
		r.uris = append(r.uris, uri)
	}
	return r, nil
}

func (e *fieldChecks) usages(usages []Usage) {
	if len(usages) == 0 {
		e.add("usages", "none given: write Server, Client or both")
	}
	for i, usage := range usages {
		path := fmt.Sprintf("usages[%d]", i)
		if _, known := extendedUsages[usage]; !known {
			e.add(path, quote(string(usage))+" isn't known: write Server or Client")
		}
		if slices.Contains(usages[:i], usage) {
			e.add(path, quote(string(usage))+" is there twice: remove one")
		}
	}
}

func (e *fieldChecks) present(names Names, usages []Usage) {
	seen := len(names.DNSNames) + len(names.IPAddresses) + len(names.URIs)
	switch {
	case seen == 0 && slices.Contains(usages, UsageServer):
		e.add("dnsNames", "a server needs at least one of dnsNames, ipAddresses and uris: "+
			"clients don't look at anything else")
	case seen == 0 && len(names.EmailAddresses) == 0 && names.Subject.CommonName == "":
		e.add("commonName", "no name at all: give at least one of commonName, dnsNames, ipAddresses, uris "+
			"and emailAddresses")
	}
}

// Names returns a copy of the names, as they were given.
func (r Request) Names() Names { return r.names.clone() }

// Usages returns a copy of the usages, sorted.
func (r Request) Usages() []Usage { return slices.Clone(r.usages) }

func (n Names) clone() Names {
	return Names{
		Subject:        n.Subject.clone(),
		DNSNames:       slices.Clone(n.DNSNames),
		IPAddresses:    slices.Clone(n.IPAddresses),
		URIs:           slices.Clone(n.URIs),
		EmailAddresses: slices.Clone(n.EmailAddresses),
	}
}

func (s Subject) clone() Subject {
	return Subject{
		CommonName:          s.CommonName,
		Organizations:       slices.Clone(s.Organizations),
		OrganizationalUnits: slices.Clone(s.OrganizationalUnits),
		Countries:           slices.Clone(s.Countries),
		Provinces:           slices.Clone(s.Provinces),
		Localities:          slices.Clone(s.Localities),
	}
}

// encodeSubject makes the DER of a name, most significant part first. Every value is an RDN of its own: programs that
// read names are bad at RDNs of several values, which pkix.Name would make.
func encodeSubject(s Subject) ([]byte, error) {
	name := pkix.RDNSequence{}
	add := func(attribute int, values ...string) {
		oid := asn1.ObjectIdentifier{2, 5, 4, attribute} // X.520
		for _, value := range values {
			name = append(name, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
		}
	}
	add(6, s.Countries...)
	add(8, s.Provinces...)
	add(7, s.Localities...)
	add(10, s.Organizations...)
	add(11, s.OrganizationalUnits...)
	if s.CommonName != "" {
		add(3, s.CommonName)
	}
	return asn1.Marshal(name)
}

// Difference tells in words the first thing in which a certificate isn't what the request and the type of key ask for,
// as "field: …"; "" when it is. Names and usages are compared as sets, the validity isn't compared.
func (r Request) Difference(certificate *x509.Certificate, key KeyType) string {
	if text := keyDifference(certificate, key); text != "" {
		return text
	}
	if text := r.usageDifference(certificate); text != "" {
		return text
	}
	if has, wants := SubjectText(certificate), SubjectText(&x509.Certificate{RawSubject: r.subject}); has != wants {
		return fmt.Sprintf("subject: has %s, wants %s", quote(has), quote(wants))
	}
	for _, kind := range []struct {
		field      string
		has, wants []string
	}{
		{"dnsNames", certificate.DNSNames, r.names.DNSNames},
		{"ipAddresses", texts(certificate.IPAddresses), r.names.IPAddresses},
		{"uris", texts(certificate.URIs), r.names.URIs},
		{"emailAddresses", certificate.EmailAddresses, r.names.EmailAddresses},
	} {
		if text := setDifference(kind.has, kind.wants); text != "" {
			return kind.field + ": " + text
		}
	}
	return ""
}

func keyDifference(certificate *x509.Certificate, wants KeyType) string {
	has, err := KeyTypeOf(certificate.PublicKey)
	switch {
	case err != nil:
		return "privateKey.type: " + err.Error()
	case has != wants:
		return fmt.Sprintf("privateKey.type: has %s, wants %s", has, wants)
	}
	return ""
}

func (r Request) usageDifference(certificate *x509.Certificate) string {
	var has []string
	for _, extended := range certificate.ExtKeyUsage {
		has = append(has, usageText(extended))
	}
	for _, oid := range certificate.UnknownExtKeyUsage {
		has = append(has, oid.String())
	}
	var wants []string
	for _, usage := range r.usages {
		wants = append(wants, string(usage))
	}
	if text := setDifference(has, wants); text != "" {
		return "usages: " + text
	}
	return ""
}

func usageText(extended x509.ExtKeyUsage) string {
	for usage, known := range extendedUsages {
		if known == extended {
			return string(usage)
		}
	}
	return extended.String()
}

func texts[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value.String()
	}
	return out
}

// setDifference names the first members that only one of two sets has.
func setDifference(has, wants []string) string {
	lacks, lacking := firstOnlyIn(wants, has)
	extra, exceeding := firstOnlyIn(has, wants)
	switch {
	case lacking && exceeding:
		return fmt.Sprintf("has %s, wants %s", quote(extra), quote(lacks))
	case lacking:
		return "lacks " + quote(lacks)
	case exceeding:
		return fmt.Sprintf("has %s, which isn't wanted", quote(extra))
	case len(has) != len(wants):
		return "has something twice"
	}
	return ""
}

func firstOnlyIn(set, other []string) (string, bool) {
	for _, member := range slices.Sorted(slices.Values(set)) {
		if !slices.Contains(other, member) {
			return member, true
		}
	}
	return "", false
}
