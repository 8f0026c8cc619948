package controllers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

var badAuthorities = map[string]badSpec{
	"two kinds of CA at once": refusedSpec(`{selfSigned: {}, imported: {secretName: x}}`,
		"spec.imported|not both"),
	"a name for a CA that has one": refusedSpec(`{imported: {secretName: x}, commonName: x}`,
		"spec.commonName|remove commonName"),
	"a subject for a CA that has one": refusedSpec(`{imported: {secretName: x}, subject: {countries: [DE]}}`,
		"spec.subject|remove subject"),
	"a life for a CA that has one": refusedSpec(`{imported: {secretName: x}, duration: 24h}`,
		"spec.duration|remove duration"),
	"a Secret's name that isn't one": refusedSpec(`imported: {secretName: "a/b"}`,
		"spec.imported.secretName|must be the name of a Secret"),
	"a common name of 57 characters":         refusedSpec(`commonName: "`+long[:57]+`"`, "spec.commonName|Too long|56"),
	"a common name with a control character": refusedSpec(`commonName: "a\u0000"`, "spec.commonName|should match"),
	"a common name that has rights":          refusedSpec(`commonName: system:node:a`, "spec.commonName|system:"),
	"the same in upper case":                 invalidSpec(`commonName: System:node:a`, "spec.commonName|choose another"),
	"a country in words": invalidSpec(`subject: {countries: [Germany]}`,
		"spec.subject.countries[0]|ISO 3166"),
	"a subject without a part":              refusedSpec(`subject: {}`, "spec.subject|at least 1"),
	"a key that is too weak":                refusedSpec(`privateKey: {type: RSA1024}`, `spec.privateKey.type|"RSA2048"`),
	"a key without a type":                  refusedSpec(`privateKey: {}`, "spec.privateKey.type|Required value"),
	"a life of less than an hour":           refusedSpec(`duration: 59m`, "spec.duration|at least 1h"),
	"a life of more than a lifetime":        refusedSpec(`duration: 99999999h`, "spec.duration|should match"),
	"a negative life":                       refusedSpec(`duration: -1h`, "spec.duration|should match"),
	"a negative life for certificates":      refusedSpec(`maxLeafDuration: -1h`, "spec.maxLeafDuration|should match"),
	"a life for certificates that none has": refusedSpec(`maxLeafDuration: 9m`, "spec.maxLeafDuration|at least 10m"),
	"a negative path length":                refusedSpec(`maxPathLength: -1`, "spec.maxPathLength|greater than or equal to 0"),
	"a path length of 9":                    refusedSpec(`maxPathLength: 9`, "spec.maxPathLength|less than or equal to 8"),
	"a constraint with a leading dot": refusedSpec(`nameConstraints: {permitted: {dnsDomains: [.example.com]}}`,
		"dnsDomains[0]|without a leading dot"),
	"a constraint with an address alone": refusedSpec(`nameConstraints: {permitted: {ipRanges: [10.0.0.1]}}`,
		"ipRanges[0]|such as 10.0.0.0/8"),
	"a constraint with bits behind its prefix": refusedSpec(`nameConstraints: {excluded: {ipRanges: [10.0.0.1/8]}}`,
		"ipRanges[0]|no bits set"),
	"a constraint of nothing": refusedSpec(`nameConstraints: {permitted: {}}`,
		"spec.nameConstraints.permitted|at least 1"),
	"a constraint that is no e-mail address": invalidSpec(`nameConstraints: {permitted: {emailAddresses: ["@example.com"]}}`,
		"spec.nameConstraints.permitted.emailAddresses[0]|local@domain"),
	"a constraint on a host of one label": invalidSpec(`nameConstraints: {excluded: {uriDomains: [localhost]}}`,
		"spec.nameConstraints.excluded.uriDomains[0]|full domain name"),
	"a constraint on a URI": invalidSpec(`nameConstraints: {excluded: {uriDomains: ["https://example.com"]}}`,
		"spec.nameConstraints.excluded.uriDomains[0]"),
	"a selector without from: Selector": refusedSpec(`allowedNamespaces: {selector: {}}`,
		"spec.allowedNamespaces.selector|from: Selector"),
	"from: Selector without a selector": refusedSpec(`allowedNamespaces: {from: Selector}`,
		"spec.allowedNamespaces.selector|from: Selector"),
	"namespaces from nowhere": refusedSpec(`allowedNamespaces: {from: Everywhere}`,
		`spec.allowedNamespaces.from|"All"`),
	"a selector with an unknown operator": invalidSpec(selecting(`{key: team, operator: Near}`),
		`spec.allowedNamespaces.selector|"Near"`),
	"a selector In no values": invalidSpec(selecting(`{key: team, operator: In}`),
		"spec.allowedNamespaces.selector|values"),
	"a selector that Exists with values": invalidSpec(selecting(`{key: team, operator: Exists, values: [a]}`),
		"spec.allowedNamespaces.selector|values"),
	"a selector for a key that none has": invalidSpec(selecting(`{key: "a b", operator: Exists}`),
		"spec.allowedNamespaces.selector|a b"),
	"a selector for an impossible value": invalidSpec(`allowedNamespaces: {from: Selector, selector: {matchLabels: {team: "a b"}}}`,
		"spec.allowedNamespaces.selector|a b"),
	"a placeholder that doesn't exist": refusedSpec(`allowedNames: ["*.{name}"]`, "spec.allowedNames[0]|{namespace}"),
	"a pattern for a part of a label": refusedSpec(`allowedNames: ["a*.example.com"]`,
		"spec.allowedNames[0]|whole label"),
	"a pattern of 10 KiB":        refusedSpec(`allowedNames: ["`+long+`"]`, "spec.allowedNames[0]|Too long|256"),
	"a field that doesn't exist": refusedSpec(`keyType: RSA2048`, `unknown field "spec.keyType"`),
}

func selecting(expression string) string {
	return `allowedNamespaces: {from: Selector, selector: {matchExpressions: [` + expression + `]}}`
}

func TestABadAuthorityIsToldAndSignsOn(t *testing.T) {
	w := newWorld(t)
	for number, sentence := range slices.Sorted(maps.Keys(badAuthorities)) {
		bad := badAuthorities[sentence]
		t.Run(sentence, func(t *testing.T) {
			w := w.in(t)
			signs := w.authority(fmt.Sprintf("signs-%d", number))
			before := w.secret(generationName(signs.Name, 1))
			w.wantAuthorityTold(bad, signs, metav1.ConditionTrue, v1alpha1.ReasonSigning, w.applySpec(signs, bad.spec))
			if after := w.secret(before.Name); !reflect.DeepEqual(before, after) {
				t.Errorf("its Secret isn't what it was: version %s and then %s", before.ResourceVersion, after.ResourceVersion)
			}
			w.issued(fmt.Sprintf("cert-%d", number), func(certificate *v1alpha1.MTLSCertificate) {
				certificate.Spec.AuthorityRef.Name = signs.Name
			})

			fresh := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{
				Namespace: w.namespace, Name: fmt.Sprintf("fresh-%d", number),
			}}
			w.wantAuthorityTold(bad, fresh, metav1.ConditionFalse, bad.reason, w.applySpec(fresh, bad.spec))
			w.wantNoSecret(generationName(fresh.Name, 1))
		})
	}
}

// wantAuthorityTold checks what tells a person that an authority they applied, with this outcome, is bad.
func (w *world) wantAuthorityTold(
	bad badSpec, authority *v1alpha1.MTLSAuthority, ready metav1.ConditionStatus, readyReason string, outcome error,
) {
	w.t.Helper()
	if bad.reason == "" {
		w.wantRefused(outcome, bad.says)
		return
	}
	w.check(outcome)
	w.reconcileAuthority(authority)
	w.wantReady(authority, ready, readyReason, "")
	w.wantCondition(authority, v1alpha1.ConditionStalled, metav1.ConditionTrue, bad.reason, bad.says)
	w.wantFewWords(authority)
	w.requests.reset()
	w.reconcileAuthority(authority)
	if writes := w.requests.writes(); len(writes) > 0 {
		w.t.Errorf("a second pass writes %v", writes)
	}
}

func (w *world) wantNoSecret(name string) {
	w.t.Helper()
	err := w.admin.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, &corev1.Secret{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		w.t.Errorf("reading Secret %s gives %v, want NotFound", name, err)
	}
}
