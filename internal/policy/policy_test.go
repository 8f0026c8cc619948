package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

const (
	day   = 24 * time.Hour
	owner = "pki"
)

func authority(spec v1alpha1.MTLSAuthoritySpec) *v1alpha1.MTLSAuthority {
	return &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: owner, Name: "ca"}, Spec: spec}
}

func request(t testing.TB, names pki.Names) pki.Request {
	t.Helper()
	request, err := pki.NewRequest(names, []pki.Usage{pki.UsageServer, pki.UsageClient})
	if err != nil {
		t.Fatalf("the request of the test is invalid: %v", err)
	}
	return request
}

func TestPermits(t *testing.T) {
	team := map[string]string{"team": "a"}
	selector := func(s metav1.LabelSelector) *v1alpha1.AllowedNamespaces {
		return &v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &s}
	}
	expression := func(operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "restricted", Operator: operator, Values: values}},
		}
	}
	from := func(from v1alpha1.FromNamespaces) *v1alpha1.AllowedNamespaces {
		return &v1alpha1.AllowedNamespaces{From: from}
	}
	teamA := selector(metav1.LabelSelector{MatchLabels: team})
	unrestricted := selector(expression(metav1.LabelSelectorOpDoesNotExist))
	notYes := selector(expression(metav1.LabelSelectorOpNotIn, "yes"))
	for sentence, c := range map[string]struct {
		allowed   *v1alpha1.AllowedNamespaces
		namespace string
		labels    map[string]string
		want      bool
	}{
		"its own namespace, unset":                          {nil, owner, nil, true},
		"another namespace, unset":                          {nil, "shop", team, false},
		"its own namespace, Same":                           {from(v1alpha1.FromSame), owner, nil, true},
		"another namespace, Same":                           {from(v1alpha1.FromSame), "shop", team, false},
		"another namespace, a word of later":                {from("None"), "shop", team, false},
		"another namespace, empty":                          {from(""), "shop", team, false},
		"another namespace, All":                            {from(v1alpha1.FromAll), "shop", nil, true},
		"a selected namespace":                              {teamA, "shop", team, true},
		"a namespace that isn't selected":                   {teamA, "shop", map[string]string{"team": "b"}, false},
		"its own namespace isn't selected":                  {teamA, owner, map[string]string{}, true},
		"an empty selector selects all":                     {selector(metav1.LabelSelector{}), "shop", nil, true},
		"Selector without a selector":                       {from(v1alpha1.FromSelector), "shop", team, false},
		"selected by a label it doesn't have":               {unrestricted, "shop", team, true},
		"unknown labels are not missing labels":             {unrestricted, "shop", nil, false},
		"unknown labels are not other labels":               {notYes, "shop", nil, false},
		"its own namespace, a selector that cannot be read": {selector(expression("Foo", "x")), owner, nil, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := policy.Permits(authority(v1alpha1.MTLSAuthoritySpec{AllowedNamespaces: c.allowed}), c.namespace, c.labels)
			if err != nil || got != c.want {
				t.Errorf("permitted is %t, %v; want %t", got, err, c.want)
			}
		})
	}
}

func TestASelectorThatCannotBeReadIsSaid(t *testing.T) {
	ca := authority(v1alpha1.MTLSAuthoritySpec{AllowedNamespaces: &v1alpha1.AllowedNamespaces{
		From: v1alpha1.FromSelector,
		Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Foo"}},
		},
	}})
	permitted, err := policy.Permits(ca, "shop", map[string]string{})
	want := `spec.allowedNamespaces.selector cannot be read: "Foo" is not a valid label selector operator`
	if permitted || err == nil || err.Error() != want {
		t.Errorf("permitted is %t, %v; want %q", permitted, err, want)
	}
}

func TestReview(t *testing.T) {
	everything := pki.Names{
		Subject:        pki.Subject{CommonName: "my-client", Organizations: []string{"payments"}},
		DNSNames:       []string{"localhost", "db.bank.svc"},
		IPAddresses:    []string{"127.0.0.1"},
		URIs:           []string{"spiffe://cluster.local/ns/bank/sa/db"},
		EmailAddresses: []string{"a@example.com"},
	}
	atMost := func(limit v1alpha1.Duration) v1alpha1.MTLSAuthoritySpec {
		return v1alpha1.MTLSAuthoritySpec{MaxLeafDuration: limit}
	}
	own := pki.Names{DNSNames: []string{"cart.shop.svc"}, URIs: []string{"spiffe://cluster.local/ns/shop/sa/cart"}}
	for sentence, c := range map[string]struct {
		spec      v1alpha1.MTLSAuthoritySpec
		namespace string
		names     pki.Names
		duration  time.Duration
		want      []string // fields
	}{
		"the authority's namespace may have every name": {v1alpha1.MTLSAuthoritySpec{}, owner, everything, 90 * day, nil},
		"allowedNames isn't about the authority's namespace": {
			v1alpha1.MTLSAuthoritySpec{AllowedNames: []string{"x"}}, owner, everything, 90 * day, nil,
		},
		"maxLeafDuration is about the authority's namespace too": {
			atMost("24h"), owner, everything, 90 * day, []string{"spec.duration"},
		},
		"another namespace may have its own names": {v1alpha1.MTLSAuthoritySpec{}, "shop", own, 90 * day, nil},
		"another namespace may not have others, nor live too long": {
			v1alpha1.MTLSAuthoritySpec{MaxLeafDuration: "24h"},
			"shop", everything, 90 * day,
			[]string{
				"spec.commonName", "spec.subject.organizations[0]", "spec.dnsNames[0]", "spec.dnsNames[1]", "spec.ipAddresses[0]",
				"spec.uris[0]", "spec.emailAddresses[0]", "spec.duration",
			},
		},
		"allowedNames opens what it lists": {
			v1alpha1.MTLSAuthoritySpec{AllowedNames: []string{
				"my-client", "O=payments", "localhost", "127.0.0.0/8", "a@example.com", "*.bank.svc", "spiffe://cluster.local/ns/bank/*",
			}}, "shop", everything, 90 * day, nil,
		},
		"exactly the longest life":    {atMost("24h"), "shop", own, day, nil},
		"a second more":               {atMost("24h"), "shop", own, day + time.Second, []string{"spec.duration"}},
		"a limit that is no duration": {atMost("90d"), "shop", own, time.Hour, []string{"spec.duration"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			violations := policy.Review(authority(c.spec), c.namespace, "cluster.local", request(t, c.names), c.duration)
			var fields []string
			for _, violation := range violations {
				fields = append(fields, violation.Field)
			}
			if diff := cmp.Diff(c.want, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s\n%v", diff, violations)
			}
			if (violations == nil) != (len(c.want) == 0) {
				t.Errorf("violations are nil: %t", violations == nil)
			}
		})
	}
}

func TestMessagesAboutDuration(t *testing.T) {
	for sentence, c := range map[string]struct {
		limit    v1alpha1.Duration
		duration time.Duration
		want     string
	}{
		"whole hours": {
			"24h", 90 * day,
			"spec.duration: 2160h is longer than the longest life that the authority gives; ask for at most 24h",
		},
		"hours and minutes": {
			"1h30m", 100 * time.Minute,
			"spec.duration: 1h40m is longer than the longest life that the authority gives; ask for at most 1h30m",
		},
		"minutes": {
			"10m", 20*time.Minute + 5*time.Second,
			"spec.duration: 20m5s is longer than the longest life that the authority gives; ask for at most 10m",
		},
		"no duration": {
			"9d", day, `spec.duration: the authority's maxLeafDuration "9d" is no duration; ask its owner to correct it`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			ca := authority(v1alpha1.MTLSAuthoritySpec{MaxLeafDuration: c.limit})
			names := pki.Names{DNSNames: []string{"a.shop.svc"}}
			got := policy.Review(ca, "shop", "cluster.local", request(t, names), c.duration).Error()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// A condition's message holds 32 KiB, and the API server refuses a status that has more.
func TestTheTextOfTheMostViolationsFitsIntoACondition(t *testing.T) {
	var names pki.Names
	for i := range 100 {
		names.DNSNames = append(names.DNSNames, fmt.Sprintf("%s.n%d.example.com", strings.Repeat("x", 63), i))
	}
	for i := range 8 {
		text := strings.Repeat("\U0001F511", 63) + string(rune('a'+i))
		names.Subject.Organizations = append(names.Subject.Organizations, text)
		names.Subject.OrganizationalUnits = append(names.Subject.OrganizationalUnits, text)
	}
	violations := policy.Review(authority(v1alpha1.MTLSAuthoritySpec{}), "shop", "cluster.local", request(t, names), day)
	if len(violations) != 116 {
		t.Fatalf("%d violations, want all 116", len(violations))
	}
	text := violations.Error()
	if len(text) > 32768 {
		t.Errorf("the text has %d bytes", len(text))
	}
	if want := "; and 100 more like these"; !strings.HasSuffix(text, want) {
		t.Errorf("the text ends in %q, want %q", text[len(text)-40:], want)
	}
}
