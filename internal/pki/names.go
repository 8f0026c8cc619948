package pki

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The checks in this file return what is wrong and what to write instead, or "" when nothing is.

// Upper bounds of the parts of a distinguished name, in characters (RFC 5280, appendix A.1).
const (
	maxCommonName       = 64
	maxOrganization     = 64
	maxOrganizationUnit = 64
	maxProvince         = 128
	maxLocality         = 128

	maxDNSName = 253 // RFC 1035, section 2.3.4, without the length octets
	maxLabel   = 63
	maxURI     = 2048 // SPIFFE-ID, section 2.3
	maxEmail   = 254  // RFC 5321, section 4.5.3.1.3, without the brackets
	maxLocal   = 64   // RFC 5321, section 4.5.3.1.1
)

func asIs(text string) string { return text }

func (e *fieldChecks) subject(s Subject) {
	if s.CommonName != "" {
		e.add("commonName", checkIdentity(s.CommonName, maxCommonName))
	}
	upTo := func(most int, check func(string, int) string) func(string) string {
		return func(value string) string { return check(value, most) }
	}
	e.list("subject.organizations", s.Organizations, upTo(maxOrganization, checkIdentity), asIs)
	e.list("subject.organizationalUnits", s.OrganizationalUnits, upTo(maxOrganizationUnit, checkIdentity), asIs)
	e.list("subject.countries", s.Countries, checkCountry, asIs)
	e.list("subject.provinces", s.Provinces, upTo(maxProvince, checkText), asIs)
	e.list("subject.localities", s.Localities, upTo(maxLocality, checkText), asIs)
}

// checkIdentity is for what Kubernetes takes for the name of a user or of a group.
func checkIdentity(text string, most int) string {
	if isSystemName(text) {
		return quote(text) + ` begins with "system:", to which Kubernetes gives rights: choose another name`
	}
	return checkText(text, most)
}

func isSystemName(text string) bool {
	const system = "system:"
	return len(text) >= len(system) && strings.EqualFold(text[:len(system)], system)
}

var (
	htmlEntity = regexp.MustCompile(`&#?[a-zA-Z0-9]+;`)
	// UTF-8 that somebody read as Latin-1: the first byte of a letter becomes Ã and the next one isn't ASCII either.
	mixedUp = regexp.MustCompile(`Ã[^\x00-\x7F]`)
)

func checkText(text string, most int) string {
	switch {
	case text == "":
		return "is empty: remove it"
	case !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError):
		return quote(text) + " isn't UTF-8: write it again"
	case strings.ContainsFunc(text, isUnprintable):
		return quote(text) + " has a control, format or line-separating character: remove it"
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("%s has %d characters: there may be no more than %d",
			quote(text), utf8.RuneCountInString(text), most)
	case strings.TrimSpace(text) != text:
		return quote(text) + " begins or ends with a space: remove it"
	case htmlEntity.MatchString(text):
		return quote(text) + " has an HTML entity: write the character itself"
	case mixedUp.MatchString(text):
		return quote(text) + " is UTF-8 that was read as Latin-1: write it again"
	}
	return ""
}

func isUnprintable(r rune) bool { return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) }

func checkCountry(text string) string {
	if len(text) != 2 || text[0] < 'A' || text[0] > 'Z' || text[1] < 'A' || text[1] > 'Z' {
		return quote(text) + " isn't two upper-case letters: write an ISO 3166 code, such as DE"
	}
	return ""
}

func checkDNSName(name string) string {
	host, wildcard := strings.CutPrefix(name, "*.")
	switch {
	case name == "":
		return "is empty: remove it"
	case isIP(name):
		return quote(name) + " is an IP address: write it into ipAddresses"
	case strings.Contains(host, "*"):
		return quote(name) + ` is no wildcard: "*" must be the whole first label and nowhere else, as in *.example.com`
	case wildcard && !strings.Contains(host, "."):
		return quote(name) + " is too wide: a wildcard needs at least two labels after it, as in *.example.com"
	case len(name) > maxDNSName:
		return fmt.Sprintf("%s has %d characters: a DNS name has no more than %d", quote(name), len(name), maxDNSName)
	}
	return checkHost(host)
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// checkHost is for a DNS name without wildcards.
func checkHost(host string) string {
	switch {
	case len(host) > maxDNSName:
		return fmt.Sprintf("%s has %d characters: a DNS name has no more than %d", quote(host), len(host), maxDNSName)
	case strings.HasSuffix(host, "."):
		return quote(host) + " ends with a dot: remove it"
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if message := checkLabel(label); message != "" {
			return quote(host) + " isn't a DNS name: " + message
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return quote(host) + " would be read as an IP address: its last label must have a letter" // RFC 3696, section 2
	}
	return ""
}

// checkLabel wants a lower-case LDH label (RFC 5890, section 2.3.1).
func checkLabel(label string) string {
	switch {
	case label == "":
		return "a label is empty"
	case strings.ContainsFunc(label, func(r rune) bool { return r > unicode.MaxASCII }):
		return fmt.Sprintf("write label %s in its xn-- form", quote(label))
	case strings.ToLower(label) != label:
		return fmt.Sprintf("write label %s in lower case", quote(label))
	case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.ContainsFunc(label, notLDH):
		return fmt.Sprintf("label %s may only have letters, digits and '-'", quote(label))
	case len(label) > maxLabel:
		return fmt.Sprintf("label %s has %d characters, which may be no more than %d", quote(label), len(label), maxLabel)
	case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
		return fmt.Sprintf("label %s begins or ends with '-'", quote(label))
	}
	if encoded, is := strings.CutPrefix(label, "xn--"); is && !isPunycodeLabel(encoded) {
		return fmt.Sprintf("label %s isn't the xn-- form of any name: encode it again", quote(label))
	}
	return ""
}

func notLDH(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}

func checkIPAddress(text string) string {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return quote(text) + " isn't an IP address: write one such as 10.0.0.1 or fd00::1"
	case ip.Zone() != "":
		return quote(text) + " has a zone: remove what follows the '%'"
	case ip.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address written as IPv6: write %s", quote(text), ip.Unmap())
	case ip.String() != text:
		return fmt.Sprintf("%s isn't in its canonical form: write %s", quote(text), ip)
	}
	return ""
}

func checkURI(text string) string {
	if len(text) > maxURI {
		return fmt.Sprintf("%s has %d characters: there may be no more than %d", quote(text), len(text), maxURI)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return quote(text) + " has spaces or characters that aren't ASCII: write them percent-encoded"
	}
	uri, err := url.Parse(text)
	switch {
	case err != nil || uri.Scheme == "" || uri.Opaque != "" || uri.Host == "":
		return quote(text) + " isn't an absolute URI with a host: write one such as spiffe://example.com/ns/shop/sa/cart"
	case uri.User != nil:
		return quote(uri.Redacted()) + " has a user name: remove what precedes the '@'"
	case uri.String() != text:
		return fmt.Sprintf("%s isn't in its normal form: write %s", quote(text), quote(uri.String()))
	case uri.Scheme == "spiffe":
		return checkSPIFFE(text, uri)
	}
	return checkURIHost(text, uri)
}

func checkURIHost(text string, uri *url.URL) string {
	if port := uri.Port(); port != "" || strings.HasSuffix(uri.Host, ":") {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(number, 10) != port {
			return quote(text) + " has a port that isn't a number up to 65535"
		}
	}
	host := uri.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if message := checkIPAddress(ip.String()); message != "" || ip.String() != host {
			return quote(text) + " has a host that isn't a canonical IP address"
		}
		return ""
	}
	if message := checkHost(host); message != "" {
		return quote(text) + ": its host " + message
	}
	if !strings.Contains(host, ".") {
		return quote(text) + ": its host has one label only: write a full domain name (RFC 5280, section 4.2.1.6)"
	}
	return ""
}

// checkSPIFFE is for the name of a workload (SPIFFE-ID, section 2).
func checkSPIFFE(text string, uri *url.URL) string {
	switch {
	case uri.Port() != "" || strings.HasSuffix(uri.Host, ":"):
		return quote(text) + " has a port, which a SPIFFE ID can't have"
	case uri.RawQuery != "" || uri.ForceQuery || strings.Contains(text, "#"):
		return quote(text) + " has a query or a fragment, which a SPIFFE ID can't have"
	}
	if message := checkSPIFFEPath(uri.EscapedPath()); message != "" {
		return quote(text) + message
	}
	return checkTrustDomain(text, uri.Host)
}

func checkSPIFFEPath(path string) string {
	path, _ = strings.CutPrefix(path, "/")
	if path == "" {
		return " is the trust domain alone: add a path that names the workload"
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return " has an empty, '.' or '..' segment in its path: remove it"
		}
		if strings.ContainsFunc(segment, notSPIFFE) {
			return " has a character in its path that isn't a letter, a digit, '.', '-' or '_'"
		}
	}
	return ""
}

func notSPIFFE(r rune) bool {
	return notLDH(unicode.ToLower(r)) && r != '.' && r != '_'
}

// checkTrustDomain allows what the SPIFFE specification does, '_' too, as long as it is a full domain name or an IPv4
// address: RFC 5280 has no other hosts.
func checkTrustDomain(text, domain string) string {
	if isIP(domain) {
		return ""
	}
	if message := checkHost(strings.ReplaceAll(domain, "_", "x")); message != "" {
		return fmt.Sprintf("%s: its trust domain %s isn't a lower-case domain name", quote(text), quote(domain))
	}
	if !strings.Contains(domain, ".") {
		return quote(text) + ": its trust domain has one label only: use a full domain name, such as cluster.local"
	}
	return ""
}

// dotAtom is a local part without quotes (RFC 5322, section 3.2.3).
var dotAtom = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")

func checkEmailAddress(text string) string {
	local, domain, found := strings.Cut(text, "@")
	switch {
	case !found || !dotAtom.MatchString(local):
		return quote(text) + " isn't an e-mail address: write local@domain in ASCII, without a display name"
	case len(text) > maxEmail || len(local) > maxLocal:
		return fmt.Sprintf("%s has %d characters: there may be no more than %d, and %d before the '@'",
			quote(text), len(text), maxEmail, maxLocal)
	}
	if message := checkHost(domain); message != "" {
		return quote(text) + ": its domain " + message
	}
	return ""
}
