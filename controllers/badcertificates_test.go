package controllers

import (
	"fmt"
	"strings"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// long is a name of 10 KiB.
var long = strings.Repeat("a", 10<<10)

var badCertificates = map[string]badSpec{
	// Names with characters that aren't letters.
	"a control character in a DNS name": refusedSpec(`dnsNames: ["a\u0007.example.com"]`,
		"spec.dnsNames[0]|must be a lower-case DNS name"),
	"a zero byte in a DNS name": refusedSpec(`dnsNames: ["a.example.com\u0000.bad.com"]`,
		"spec.dnsNames[0]|must be a lower-case DNS name"),
	"a line feed in a common name":                refusedSpec(`commonName: "a\nb"`, "spec.commonName|should match"),
	"a common name that turns its reading around": refusedSpec(`commonName: "a\u202Eb"`, "spec.commonName|should match"),
	"a control character in an organization": refusedSpec(`subject: {organizations: ["a\u001bb"]}`,
		"spec.subject.organizations[0]|should match"),
	"a space in a DNS name": refusedSpec(`dnsNames: ["a b.example.com"]`,
		"spec.dnsNames[0]|must be a lower-case DNS name"),
	"an underscore in a DNS name": refusedSpec(`dnsNames: [a_b.example.com]`,
		"spec.dnsNames[0]|must be a lower-case DNS name"),
	"a space in a URI": invalidSpec(`uris: ["spiffe://example.com/a b"]`,
		"spec.uris[0]|percent-encoded"),
	"an e-mail address with letters beyond ASCII": refusedSpec(`emailAddresses: ["bücher@example.com"]`,
		"spec.emailAddresses[0]|must be an ASCII address"),
	"an HTML entity in a common name": invalidSpec(`commonName: "R&amp;D"`, "spec.commonName|HTML entity"),

	// Names that are too long.
	"a DNS name of 10 KiB":           refusedSpec(`dnsNames: ["`+long+`"]`, "spec.dnsNames[0]|Too long|253"),
	"a common name of 10 KiB":        refusedSpec(`commonName: "`+long+`"`, "spec.commonName|Too long|64"),
	"a common name of 65 characters": refusedSpec(`commonName: "`+long[:65]+`"`, "spec.commonName|Too long|64"),
	"a URI of 10 KiB":                refusedSpec(`uris: ["https://example.com/`+long+`"]`, "spec.uris[0]|Too long|2048"),
	"an e-mail address of 10 KiB": refusedSpec(`emailAddresses: ["`+long+`@example.com"]`,
		"spec.emailAddresses[0]|Too long|254"),
	"a label of 64 characters": invalidSpec(`dnsNames: ["`+long[:64]+`.example.com"]`, "spec.dnsNames[0]|63"),
	"an organization of 65 characters": invalidSpec(`subject: {organizations: ["`+long[:65]+`"]}`,
		"spec.subject.organizations[0]|no more than 64"),
	"a Secret's name of 10 KiB": refusedSpec(`secretName: "`+long+`"`, "spec.secretName|Too long|253"),
	"101 DNS names":             refusedSpec(`dnsNames: [`+numbered(101)+`]`, "spec.dnsNames|Too many|100"),

	// Wildcards.
	"a wildcard alone":                      refusedSpec(`dnsNames: ["*"]`, "spec.dnsNames[0]|*.example.com"),
	"a wildcard in the middle":              refusedSpec(`dnsNames: ["a.*.example.com"]`, "spec.dnsNames[0]|*.example.com"),
	"a wildcard for a part of a label":      refusedSpec(`dnsNames: ["a*.example.com"]`, "spec.dnsNames[0]|*.example.com"),
	"two wildcards":                         refusedSpec(`dnsNames: ["*.*.example.com"]`, "spec.dnsNames[0]|*.example.com"),
	"a wildcard for a whole top level":      invalidSpec(`dnsNames: ["*.com"]`, "spec.dnsNames[0]|too wide|*.example.com"),
	"a common name that is such a wildcard": invalidSpec(`commonName: "*.com"`, "spec.commonName|too wide|*.example.com"),

	// What only looks like a DNS name.
	"a name in another script":           refusedSpec(`dnsNames: [bücher.example.com]`, "spec.dnsNames[0]|xn--"),
	"an xn-- label that encodes nothing": invalidSpec(`dnsNames: [xn--a.example.com]`, "spec.dnsNames[0]|encode it again"),
	"a DNS name in upper case":           refusedSpec(`dnsNames: [Hello.example.com]`, "spec.dnsNames[0]|lower-case"),
	"a DNS name with a dot at its end": refusedSpec(`dnsNames: [hello.example.com.]`,
		"spec.dnsNames[0]|must be a lower-case DNS name"),
	"an empty DNS name":                   refusedSpec(`dnsNames: [""]`, "spec.dnsNames[0]"),
	"an IP address as DNS name":           refusedSpec(`dnsNames: ["10.0.0.1"]`, "spec.dnsNames[0]|ipAddresses"),
	"numbers that are read as an address": invalidSpec(`dnsNames: ["127.1"]`, "spec.dnsNames[0]|IP address"),
	"the name of a Service that is none": refusedSpec(`serviceName: hello.shop`,
		"spec.serviceName|must be the name of a Service"),

	// Other names.
	"an IP address with a zone":        refusedSpec(`ipAddresses: ["fe80::1%eth0"]`, "spec.ipAddresses[0]|canonical form"),
	"an IP address with leading zeros": refusedSpec(`ipAddresses: ["010.0.0.1"]`, "spec.ipAddresses[0]|canonical form"),
	"a network as IP address": refusedSpec(`ipAddresses: ["10.0.0.0/8"]`,
		"spec.ipAddresses[0]|must be an IP address"),
	"a relative URI":                      refusedSpec(`uris: [/ns/shop]`, "spec.uris[0]|must be an absolute URI"),
	"a URI with a password":               invalidSpec(`uris: ["https://me:secret@example.com/"]`, "spec.uris[0]|user name"),
	"a SPIFFE ID with a port":             invalidSpec(`uris: ["spiffe://example.com:1/ns/a"]`, "spec.uris[0]|port"),
	"a SPIFFE ID that climbs":             invalidSpec(`uris: ["spiffe://example.com/ns/../a"]`, "spec.uris[0]|'..'"),
	"an e-mail address with two at signs": invalidSpec(`emailAddresses: ["a@b@example.com"]`, "spec.emailAddresses[0]|isn't"),
	"a country in words":                  invalidSpec(`subject: {countries: [Germany]}`, "spec.subject.countries[0]|ISO 3166"),
	"a name that Kubernetes gives rights": refusedSpec(`commonName: "system:masters"`, "spec.commonName|system:"),
	"the same in upper case":              invalidSpec(`commonName: "SYSTEM:masters"`, "spec.commonName|choose another"),
	"a group that Kubernetes gives rights": invalidSpec(`subject: {organizations: ["system:masters"]}`,
		"spec.subject.organizations[0]|choose another"),
	"the name of the CA itself": invalidSpec(`{commonName: my-ca, usages: [Client], dnsNames: null}`,
		"spec.subject|choose another name"),

	// Lists.
	"a DNS name twice": refusedSpec(`dnsNames: [a.example.com, a.example.com]`,
		"spec.dnsNames[1]|Duplicate value"),
	"an e-mail address twice, in another case": invalidSpec(`emailAddresses: [a@example.com, A@example.com]`,
		"spec.emailAddresses[1]|there twice"),
	"an IP address twice, in another form": refusedSpec(`ipAddresses: ["::1", "0:0:0:0:0:0:0:1"]`,
		"spec.ipAddresses[1]|canonical form"),
	"a usage twice":              refusedSpec(`usages: [Server, Server]`, "spec.usages[1]|Duplicate value"),
	"a usage that doesn't exist": refusedSpec(`usages: [Peer]`, `spec.usages[0]|"Server", "Client"`),
	"no usage":                   refusedSpec(`usages: []`, "spec.usages|at least 1"),
	"no name at all":             refusedSpec(`dnsNames: null`, "spec.dnsNames|set at least one of"),
	"a server that only has a name for people": invalidSpec(`{dnsNames: null, commonName: my server}`, "dnsNames|ipAddresses"),

	// Durations.
	"a negative duration":         refusedSpec(`duration: -1h`, "spec.duration|should match"),
	"no duration":                 refusedSpec(`duration: 0s`, "spec.duration|at least 10m"),
	"a duration just too short":   refusedSpec(`duration: 9m59s`, "spec.duration|at least 10m"),
	"a duration that overflows":   refusedSpec(`duration: 9999999999999999h`, "spec.duration|should match"),
	"a duration in words":         refusedSpec(`duration: for ever`, "spec.duration|should match"),
	"a duration in days":          refusedSpec(`duration: 90d`, "spec.duration|should match"),
	"a duration that is a number": refusedSpec(`duration: 3600`, "spec.duration|must be of type string"),
	"a duration without digits":   refusedSpec(`duration: hm`, "spec.duration|should match"),
	"a negative renewBefore":      refusedSpec(`renewBefore: -1h`, "spec.renewBefore|should match"),
	"no renewBefore":              refusedSpec(`renewBefore: 0h`, "spec.renewBefore|at least 1m"),
	"renewBefore as long as duration": refusedSpec(`{duration: 1h, renewBefore: 1h}`,
		"spec.renewBefore|less than 90 % of duration"),
	"renewBefore of 90 % of duration": refusedSpec(`{duration: 100m, renewBefore: 90m}`,
		"spec.renewBefore|less than 90 % of duration"),
	"renewBefore longer than a default": refusedSpec(`renewBefore: 3000h`, "spec.renewBefore|less than 90 % of duration"),

	// The rest of a spec.
	"a key that is too weak": refusedSpec(`privateKey: {type: RSA1024}`, `spec.privateKey.type|"RSA2048"`),
	"a key in a form that it doesn't have": refusedSpec(`privateKey: {type: ED25519, encoding: PKCS1}`,
		"spec.privateKey.encoding|PKCS8"),
	"a Secret's name that isn't one":       refusedSpec(`secretName: My_Secret`, "spec.secretName|lower-case letters"),
	"the name of a Secret of an authority": refusedSpec(`secretName: my-ca-ca-1`, "spec.secretName|set another secretName"),
	"a Secret's name that changes": {
		spec: `secretName: other`, onlyEdit: true,
		says: "spec.secretName|make another MTLSCertificate",
	},
	"a label of the operator's own": refusedSpec(`secretTemplate: {labels: {mtls-operator.io/generation: "9"}}`,
		"spec.secretTemplate.labels|reserved"),
	"an annotation of Kubernetes' own": refusedSpec(`secretTemplate: {annotations: {kubernetes.io/x: z}}`,
		"spec.secretTemplate.annotations|reserved"),
	"a label's value that isn't one": refusedSpec(`secretTemplate: {labels: {team: "a b"}}`,
		"spec.secretTemplate.labels|must be a label value"),
	"an annotation's key that isn't one": refusedSpec(`secretTemplate: {annotations: {"a b": c}}`,
		"spec.secretTemplate.annotations|qualified name"),
	"an annotation of 5 KiB": refusedSpec(`secretTemplate: {annotations: {a: "`+long[:5<<10]+`"}}`,
		"spec.secretTemplate.annotations.a|Too long|4096"),
	"a deletion policy that doesn't exist": refusedSpec(`deletionPolicy: Keep`, `spec.deletionPolicy|"Delete", "Retain"`),
	"no authority":                         refusedSpec(`authorityRef: null`, "spec.authorityRef|Required value"),
	"an authority without a name": refusedSpec(`authorityRef: {namespace: shop}`,
		"spec.authorityRef.name|Required value"),
	"an authority's name that isn't one": refusedSpec(`authorityRef: {name: My CA}`,
		"spec.authorityRef.name|must be the name of an MTLSAuthority"),
	"an authority's namespace that isn't one": refusedSpec(`authorityRef: {name: my-ca, namespace: "../shop"}`,
		"spec.authorityRef.namespace|must be the name of a namespace"),
	"a field that doesn't exist":    refusedSpec(`dnsName: hello.example.com`, `unknown field "spec.dnsName"`),
	"a list where one name belongs": refusedSpec(`commonName: [a]`, "spec.commonName|must be of type string"),
	"a name where a list belongs":   refusedSpec(`dnsNames: hello.example.com`, "spec.dnsNames|must be of type array"),
}

// refusedSpec is one that the API server refuses.
func refusedSpec(spec, says string) badSpec { return badSpec{spec: spec, says: says} }

// invalidSpec is one that the operator tells of.
func invalidSpec(spec, says string) badSpec {
	return badSpec{spec: spec, reason: v1alpha1.ReasonInvalidSpec, says: says}
}

func numbered(count int) string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example.com", i)
	}
	return strings.Join(names, ", ")
}
