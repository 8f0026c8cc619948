package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net"
	"slices"
	"strings"
)

// constraints are name constraints in the types of crypto/x509.
type constraints struct {
	permitted, excluded constraintSet
}

type constraintSet struct {
	dns, emails, uris []string
	ips               []*net.IPNet
}

func (s constraintSet) empty() bool {
	return len(s.dns)+len(s.emails)+len(s.uris)+len(s.ips) == 0
}

func (s constraintSet) equal(other constraintSet) bool {
	return slices.Equal(s.dns, other.dns) && slices.Equal(s.emails, other.emails) && slices.Equal(s.uris, other.uris) &&
		slices.Equal(texts(s.ips), texts(other.ips))
}

func (c constraints) empty() bool { return c.permitted.empty() && c.excluded.empty() }

func (c constraints) equal(other constraints) bool {
	return c.permitted.equal(other.permitted) && c.excluded.equal(other.excluded)
}

func constraintsOf(c *x509.Certificate) constraints {
	return constraints{
		permitted: constraintSet{
			c.PermittedDNSDomains, c.PermittedEmailAddresses, c.PermittedURIDomains, c.PermittedIPRanges,
		},
		excluded: constraintSet{c.ExcludedDNSDomains, c.ExcludedEmailAddresses, c.ExcludedURIDomains, c.ExcludedIPRanges},
	}
}

func (c constraints) apply(template *x509.Certificate) {
	template.PermittedDNSDomainsCritical = true // of the whole extension, whatever it is called
	template.PermittedDNSDomains, template.ExcludedDNSDomains = c.permitted.dns, c.excluded.dns
	template.PermittedIPRanges, template.ExcludedIPRanges = c.permitted.ips, c.excluded.ips
	template.PermittedEmailAddresses, template.ExcludedEmailAddresses = c.permitted.emails, c.excluded.emails
	template.PermittedURIDomains, template.ExcludedURIDomains = c.permitted.uris, c.excluded.uris
}

// NameConstraintError says that a CA above a certificate doesn't allow one of its names.
type NameConstraintError struct {
	// Name is the name as it was asked for.
	Name string
	// Message says which CA doesn't allow it, and what it allows.
	Message string
}

// Error quotes and cuts the name.
func (e *NameConstraintError) Error() string { return quote(e.Name) + " " + e.Message }

// kind is how one kind of name is compared with a subtree. Verifiers differ in whether a host without a leading dot
// covers what is under it (RFC 5280: only for DNS names; Go: for URIs and e-mail addresses too). A name must please
// both, so permitted is the narrow reading and excluded is the wide one.
type kind struct {
	field               string
	names               []string
	allowed, forbidden  []string
	permitted, excluded func(name, subtree string) bool
}

// checkConstraints wants every name of the request to be allowed by every CA above it.
func checkConstraints(r Request, above []*x509.Certificate) error {
	for _, authority := range above {
		c := constraintsOf(authority)
		if c.empty() {
			continue
		}
		for _, k := range kinds(r, c) {
			if err := k.check(authority); err != nil {
				return err
			}
		}
		if err := checkURIsWithoutHostName(r, authority); err != nil {
			return err
		}
	}
	return nil
}

func kinds(r Request, c constraints) []kind {
	var hosts []string
	for _, uri := range r.uris {
		hosts = append(hosts, uri.Hostname())
	}
	return []kind{
		{"dnsDomains", constrainedDNSNames(r), c.permitted.dns, c.excluded.dns, isUnder, mayBeUnder},
		{"ipRanges", r.names.IPAddresses, texts(c.permitted.ips), texts(c.excluded.ips), isInNetwork, isInNetwork},
		{"uriDomains", hosts, c.permitted.uris, c.excluded.uris, isHost, isUnder},
		{"emailAddresses", r.names.EmailAddresses, c.permitted.emails, c.excluded.emails, isMailbox, mayBeMailbox},
	}
}

// constrainedDNSNames are the DNS names and, as OpenSSL has it, a common name that looks like one when there is none.
func constrainedDNSNames(r Request) []string {
	commonName := r.names.Subject.CommonName
	if len(r.names.DNSNames) > 0 || !strings.Contains(commonName, ".") || checkHost(strings.ToLower(commonName)) != "" {
		return r.names.DNSNames
	}
	return []string{strings.ToLower(commonName)}
}

func (k kind) check(authority *x509.Certificate) error {
	for _, name := range k.names {
		within := func(subtree string) bool { return k.permitted(name, subtree) }
		if len(k.allowed) > 0 && !slices.ContainsFunc(k.allowed, within) {
			return &NameConstraintError{name, fmt.Sprintf("isn't under any of the %s that CA %s permits: %s",
				k.field, quote(SubjectText(authority)), quote(strings.Join(k.allowed, ", ")))}
		}
		for _, subtree := range k.forbidden {
			if k.excluded(name, subtree) {
				return &NameConstraintError{name, fmt.Sprintf("is under one of the %s that CA %s excludes: %s",
					k.field, quote(SubjectText(authority)), quote(subtree))}
			}
		}
	}
	return nil
}

// checkURIsWithoutHostName is for what verifiers refuse under constraints of any kind (RFC 5280, section 4.2.1.10).
func checkURIsWithoutHostName(r Request, authority *x509.Certificate) error {
	for _, uri := range r.uris {
		if isIP(uri.Hostname()) {
			return &NameConstraintError{uri.String(), fmt.Sprintf(
				"has an IP address for a host, which can't be compared with the nameConstraints of CA %s: use a domain name",
				quote(SubjectText(authority)))}
		}
	}
	return nil
}

// isUnder tells whether a host is the domain or under it; with a leading dot, only under it.
func isUnder(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(domain)
	return domain == "" || host == domain || strings.HasSuffix(host, "."+strings.TrimPrefix(domain, "."))
}

// mayBeUnder also counts a wildcard that stands for the domain.
func mayBeUnder(name, domain string) bool {
	if isUnder(name, domain) {
		return true
	}
	parent, wildcard := strings.CutPrefix(name, "*.")
	_, domainParent, _ := strings.Cut(domain, ".")
	return wildcard && strings.EqualFold(parent, domainParent)
}

// isHost tells whether a host is this one; with a leading dot, whether it is under the domain.
func isHost(host, constraint string) bool {
	if strings.HasPrefix(constraint, ".") {
		return isUnder(host, constraint)
	}
	return strings.EqualFold(host, constraint)
}

func isInNetwork(text, network string) bool {
	_, parsed, err := net.ParseCIDR(network)
	return err == nil && parsed.Contains(net.ParseIP(text))
}

func isMailbox(address, constraint string) bool {
	local, domain, _ := strings.Cut(address, "@")
	if wantLocal, wantDomain, whole := strings.Cut(constraint, "@"); whole {
		return local == wantLocal && strings.EqualFold(domain, wantDomain)
	}
	return isHost(domain, constraint)
}

func mayBeMailbox(address, constraint string) bool {
	if strings.Contains(constraint, "@") {
		return strings.EqualFold(address, constraint)
	}
	_, domain, _ := strings.Cut(address, "@")
	return isUnder(domain, constraint)
}

// hasOtherConstraints tells whether a CA limits kinds of names that crypto/x509 doesn't look at, such as directory
// names. Other verifiers do look at them.
func hasOtherConstraints(c *x509.Certificate) bool {
	var extension struct {
		Permitted []struct{ Base asn1.RawValue } `asn1:"optional,tag:0"`
		Excluded  []struct{ Base asn1.RawValue } `asn1:"optional,tag:1"`
	}
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidNameConstraints) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &extension); err != nil {
			return true
		}
		for _, subtree := range slices.Concat(extension.Permitted, extension.Excluded) {
			if !slices.Contains([]int{1, 2, 6, 7}, subtree.Base.Tag) { // e-mail, DNS, URI, IP
				return true
			}
		}
	}
	return false
}
