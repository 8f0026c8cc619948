// Package policy decides whether a requester may have a certificate from an authority: whether the namespace may refer
// to the authority at all, which names a certificate there may carry, and how long it may live.
//
// It is pure: the same authority and request give the same answer. It promises three things. What isn't allowed is
// refused: a name passes only when all that it could stand for is covered by one pattern, and text that a verifier
// might read in another way than we do is never what a "*" stands for. All violations are told at once, each with the
// field of the certificate it is about. And no message tells what exists in other namespaces.
package policy

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Permits tells whether certificates of a namespace may refer to the authority (spec.allowedNamespaces); the authority's
// own namespace always may. namespaceLabels are the labels of that namespace, nil when they aren't known. The error says
// that the authority's selector cannot be read.
func Permits(authority *v1alpha1.MTLSAuthority, namespace string, namespaceLabels map[string]string) (bool, error) {
	return permits("allowedNamespaces", authority.Namespace, authority.Spec.AllowedNamespaces, namespace, namespaceLabels)
}

// PermitsAuthorities tells the same of the MTLSAuthorities of a namespace, which this one would sign.
func PermitsAuthorities(authority *v1alpha1.MTLSAuthority, namespace string, namespaceLabels map[string]string) (bool, error) {
	return permits("allowedAuthorities", authority.Namespace, authority.Spec.AllowedAuthorities, namespace, namespaceLabels)
}

func permits(field, own string, allowed *v1alpha1.AllowedNamespaces, namespace string, namespaceLabels map[string]string,
) (bool, error) {
	switch {
	case namespace == own:
		return true, nil
	case allowed == nil:
		return false, nil
	case allowed.From == v1alpha1.FromAll:
		return true, nil
	case allowed.From != v1alpha1.FromSelector:
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		return false, fmt.Errorf("spec.%s.selector cannot be read: %w", field, err)
	}
	// A selector such as "!restricted" selects what has no labels. Not knowing the labels is not having none.
	if namespaceLabels == nil && !selector.Empty() {
		return false, nil
	}
	return selector.Matches(labels.Set(namespaceLabels)), nil
}

// Violation is one thing a certificate asks for and doesn't get.
type Violation struct {
	// Field is the path in the MTLSCertificate, such as spec.commonName or spec.dnsNames[1]. An index is that of the
	// request: whoever adds names to those of the spec puts them behind.
	Field string
	// Message says what isn't allowed and what to do; what the user wrote is quoted and cut.
	Message string
}

// Violations are all of them; none is nil.
type Violations []Violation

// Error joins the violations: "field: message; field: message". Of very many it counts the last ones, so that the text
// fits into a condition.
func (v Violations) Error() string {
	const most = 16
	var texts []string
	for _, violation := range v[:min(len(v), most)] {
		texts = append(texts, violation.Field+": "+violation.Message)
	}
	if more := len(v) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more like these", more))
	}
	return strings.Join(texts, "; ")
}

// Review judges the final request of a certificate in a namespace, with every name that will be signed, against the
// authority's allowedNames (for other namespaces than the authority's own) and maxLeafDuration (for all).
// clusterDomain is that of the cluster, such as "cluster.local"; duration is the life that is asked for.
func Review(
	authority *v1alpha1.MTLSAuthority, namespace, clusterDomain string, request pki.Request, duration time.Duration,
) Violations {
	var violations Violations
	if namespace != authority.Namespace {
		rule := newRule(authority.Spec.AllowedNames, namespace, clusterDomain)
		violations = rule.review(request.Names())
	}
	if violation, found := reviewDuration(authority.Spec.MaxLeafDuration, duration); found {
		violations = append(violations, violation)
	}
	return violations
}

func reviewDuration(limit v1alpha1.Duration, duration time.Duration) (_ Violation, found bool) {
	if limit == "" {
		return Violation{}, false
	}
	longest, err := time.ParseDuration(string(limit))
	var message string
	switch {
	case err != nil: // the schema doesn't let it through; no limit would be the wrong guess
		message = fmt.Sprintf("the authority's maxLeafDuration %s is no duration; ask its owner to correct it",
			quote(string(limit)))
	case duration > longest:
		message = fmt.Sprintf("%s is longer than the longest life that the authority gives; ask for at most %s",
			short(duration), short(longest))
	}
	return Violation{Field: "spec.duration", Message: message}, message != ""
}

// short is the duration without zero units: 24h and not 24h0m0s.
func short(duration time.Duration) string {
	text := duration.String()
	if before, found := strings.CutSuffix(text, "m0s"); found {
		text = before + "m"
	}
	if before, found := strings.CutSuffix(text, "h0m"); found {
		text = before + "h"
	}
	return text
}

// quote makes what a user wrote harmless in a message.
func quote(text string) string {
	const longest = 100
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
