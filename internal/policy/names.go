package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// placeholder stands for the certificate's namespace in a pattern.
const placeholder = "{namespace}"

// rule is what one namespace may be called by certificates of one authority.
type rule struct {
	patterns  []pattern
	namespace string
	byDefault bool // allowedNames is unset
}

// newRule reads the authority's patterns for the namespace; without any, the names derived from it are allowed.
func newRule(allowedNames []string, namespace, clusterDomain string) rule {
	r := rule{namespace: namespace, byDefault: len(allowedNames) == 0}
	if r.byDefault {
		allowedNames = defaultNames(clusterDomain)
	}
	isNamespace := len(validation.IsDNS1123Label(namespace)) == 0
	for _, text := range allowedNames {
		// What is no namespace (a cluster-scoped requester has none) must not leave a gap for others to fill.
		if !isNamespace && strings.Contains(text, placeholder) {
			continue
		}
		r.patterns = append(r.patterns, newPattern(strings.ReplaceAll(text, placeholder, namespace)))
	}
	return r
}

// defaultNames are the patterns for names that no other namespace has: of its Services, and of its service accounts.
func defaultNames(clusterDomain string) []string {
	names := []string{"*." + placeholder + ".svc"}
	if clusterDomain != "" {
		names = append(names, "*."+placeholder+".svc."+clusterDomain)
	}
	return append(names, "*."+placeholder, "spiffe://*/ns/"+placeholder+"/*")
}

// review judges every name there is in a request.
func (r rule) review(names pki.Names) Violations {
	var all Violations
	commonName := names.Subject.CommonName
	if commonName != "" && !r.allows(commonName, pattern.coversCommonName) {
		all = append(all, r.refuse("spec.commonName", commonName, commonName))
	}
	for _, part := range subjectParts {
		for i, value := range part.values(names.Subject) {
			if entry := part.attribute + "=" + value; !r.allows(entry, pattern.coversSubject) {
				all = append(all, r.refuse(fmt.Sprintf("spec.subject.%s[%d]", part.field, i), value, entry))
			}
		}
	}
	refusedCommonName := len(all) > 0 && all[0].Field == "spec.commonName"
	for _, list := range nameLists {
		for i, value := range list.values(names) {
			// A commonName that became a DNS name is one name, and told once.
			if r.allows(value, list.covers) || (refusedCommonName && value == commonName) {
				continue
			}
			all = append(all, r.refuse(fmt.Sprintf("spec.%s[%d]", list.field, i), value, value))
		}
	}
	return all
}

func (r rule) allows(value string, covers func(pattern, string) bool) bool {
	return slices.ContainsFunc(r.patterns, func(p pattern) bool { return covers(p, value) })
}

// refuse tells what isn't allowed, what is (only by the default rule: an owner's patterns are the owner's), and what
// entry would allow it.
func (r rule) refuse(field, value, entry string) Violation {
	allowed := "what the authority allows namespace " + quote(r.namespace)
	if r.byDefault {
		texts := make([]string, len(r.patterns))
		for i, p := range r.patterns {
			texts[i] = p.text
		}
		allowed = "what namespace " + quote(r.namespace) + " may have, only names of its own namespace: " +
			strings.Join(texts, ", ")
	}
	return Violation{Field: field, Message: fmt.Sprintf(
		"%s is not among %s; remove it, or ask the owner of the authority to list %s in allowedNames",
		quote(value), allowed, quote(entry))}
}

// nameLists are the lists of subject alternative names and how a pattern covers an element.
var nameLists = []struct {
	field  string
	values func(pki.Names) []string
	covers func(pattern, string) bool
}{
	{"dnsNames", func(n pki.Names) []string { return n.DNSNames }, pattern.coversDNSName},
	{"ipAddresses", func(n pki.Names) []string { return n.IPAddresses }, pattern.coversIPAddress},
	{"uris", func(n pki.Names) []string { return n.URIs }, pattern.coversURI},
	{"emailAddresses", func(n pki.Names) []string { return n.EmailAddresses }, pattern.coversEmailAddress},
}

// subjectParts are the attributes of a distinguished name beside the CN, under their short names of RFC 4514, section 3.
// Those that name nobody are judged too: a verifier that reads "/L=Bonn/CN=admin" in OpenSSL's one-line form cannot tell
// it from a locality and a common name.
var subjectParts = []struct {
	field, attribute string
	values           func(pki.Subject) []string
}{
	{"organizations", "O", func(s pki.Subject) []string { return s.Organizations }},
	{"organizationalUnits", "OU", func(s pki.Subject) []string { return s.OrganizationalUnits }},
	{"countries", "C", func(s pki.Subject) []string { return s.Countries }},
	{"provinces", "ST", func(s pki.Subject) []string { return s.Provinces }},
	{"localities", "L", func(s pki.Subject) []string { return s.Localities }},
}
