package policy

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What a "*" stands for in URIs and e-mail addresses, never for nothing. It is harmless characters alone: what could
// begin a user, port, query, fragment, path parameter or escape, or be a separator to somebody, must be in the pattern.
const (
	anyHarmless = `[A-Za-z0-9._~+=-]+`
	anyRest     = `[A-Za-z0-9._~+=/-]+`
)

// kind is what a pattern is a pattern of.
type kind int

const (
	kindDNSName kind = iota // or plain text, for a CN that is no DNS name
	kindURI
	kindEmailAddress
	kindIPAddress
	kindSubject // "O=…"
)

// pattern is one entry of allowedNames, the namespace filled in.
type pattern struct {
	text    string
	kind    kind
	labels  string                // for kindDNSName
	shape   func() *regexp.Regexp // for kindURI and kindEmailAddress, nil without "*"; compiled for the first such name
	network netip.Prefix          // for kindIPAddress
}

func newPattern(text string) pattern {
	text = strings.ToValidUTF8(text, "\uFFFD") // an expression must be UTF-8
	p := pattern{text: text, kind: kindOf(text)}
	switch p.kind {
	case kindDNSName:
		p.labels = strings.ToLower(text)
	case kindURI:
		p.shape = shape(text, anyRest)
	case kindEmailAddress:
		p.shape = shape(text, anyHarmless)
	case kindIPAddress:
		p.network, _ = network(text)
	case kindSubject:
		// is compared as it is
	}
	return p
}

func kindOf(text string) kind {
	if attribute, _, found := strings.Cut(text, "="); found && isAttribute(attribute) {
		return kindSubject
	}
	if before, _, found := strings.Cut(text, "://"); found && scheme.MatchString(before) {
		return kindURI
	}
	if strings.Contains(text, "@") {
		return kindEmailAddress
	}
	if _, isNetwork := network(text); isNetwork {
		return kindIPAddress
	}
	return kindDNSName
}

func isAttribute(text string) bool {
	for _, part := range subjectParts {
		if part.attribute == text {
			return true
		}
	}
	return false
}

// scheme: RFC 3986, section 3.1, lower case. A "*" in a scheme is no scheme.
var scheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

func network(text string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix, err == nil
}

// coversLabels: each label of the pattern that is a "*" stands for one label, also for a certificate's own wildcard.
func coversLabels(pattern, name string) bool {
	for {
		wanted, patternRest, patternGoesOn := strings.Cut(pattern, ".")
		label, rest, goesOn := strings.Cut(name, ".")
		if wanted != label && wanted != "*" || patternGoesOn != goesOn {
			return false
		}
		if !goesOn {
			return true
		}
		pattern, name = patternRest, rest
	}
}

// shape: each "*" stands for harmless characters, the one at the end for what atEnd matches. Nil without "*".
func shape(text, atEnd string) func() *regexp.Regexp {
	if !strings.Contains(text, "*") {
		return nil
	}
	return sync.OnceValue(func() *regexp.Regexp { return expression(text, atEnd) })
}

func expression(text, atEnd string) *regexp.Regexp {
	before, found := strings.CutSuffix(text, "*")
	parts := strings.Split(before, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	whole := strings.Join(parts, anyHarmless)
	if found {
		whole += atEnd
	}
	return regexp.MustCompile(`^` + whole + `$`)
}

func (p pattern) coversDNSName(name string) bool {
	return p.kind == kindDNSName && isDNSName(name) && coversLabels(p.labels, name)
}

func (p pattern) coversIPAddress(text string) bool {
	address, err := netip.ParseAddr(text)
	return p.kind == kindIPAddress && err == nil && p.network.Contains(address)
}

func (p pattern) coversEmailAddress(address string) bool {
	return p.kind == kindEmailAddress && p.matches(address)
}

func (p pattern) coversURI(uri string) bool {
	if p.kind != kindURI || !p.matches(uri) {
		return false
	}
	return p.shape == nil || p.keepsSegments(uri)
}

// coversCommonName judges a CN as what a verifier will take it for.
func (p pattern) coversCommonName(name string) bool {
	switch {
	case isDNSName(name):
		return p.coversDNSName(name)
	case strings.Contains(name, "://"):
		return p.coversURI(name)
	default:
		return p.kind != kindSubject && p.coversText(name)
	}
}

// coversSubject: entry is an attribute in the form of a pattern, "O=payments".
func (p pattern) coversSubject(entry string) bool {
	return p.kind == kindSubject && p.coversText(entry)
}

// coversText: in text "*" stands for nothing, and text with a "*" might stand for more than itself.
func (p pattern) coversText(text string) bool {
	return p.text == text && !strings.Contains(text, "*")
}

func (p pattern) matches(value string) bool {
	if p.shape == nil {
		return p.text == value
	}
	return p.shape().MatchString(value)
}

// keepsSegments tells whether what the stars of the pattern stand for leaves the meaning of the URI's segments alone:
// no segment is empty or a dot segment, and in a pattern that says "ns" none of them does, since verifiers look for
// "/ns/<namespace>/" anywhere in a SPIFFE ID.
func (p pattern) keepsSegments(uri string) bool {
	own, segments := segments(p.text), segments(uri)
	for _, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return !slices.Contains(own, "ns") || count(segments, "ns") == count(own, "ns")
}

// segments are the host and the segments of the path.
func segments(uri string) []string {
	_, rest, _ := strings.Cut(uri, "://")
	return strings.Split(rest, "/")
}

func count(list []string, wanted string) int {
	n := 0
	for _, element := range list {
		if strings.EqualFold(element, wanted) {
			n++
		}
	}
	return n
}

// isDNSName: lower-case letters, digits and hyphens in labels of 1 to 63, the first of which may be "*". A name of
// numbers alone is an address to many programs: 127.1 is 127.0.0.1.
func isDNSName(name string) bool {
	labels := strings.Split(strings.TrimPrefix(name, "*."), ".")
	numbers := 0
	for _, label := range labels {
		if len(validation.IsDNS1123Label(label)) > 0 {
			return false
		}
		if isNumber(label) {
			numbers++
		}
	}
	return numbers < len(labels) && len(name) <= validation.DNS1123SubdomainMaxLength
}

// isNumber as C's inet_aton reads one.
func isNumber(label string) bool {
	digits, isHex := strings.CutPrefix(label, "0x")
	return strings.Trim(digits, "0123456789") == "" || (isHex && strings.Trim(digits, "0123456789abcdef") == "")
}
