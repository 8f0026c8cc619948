package v1alpha1_test

import "strings"

var (
	long53 = strings.Repeat("a", 53)
	long64 = strings.Repeat("a", 64)
)

const (
	ownOf     = ": an imported authority has its own"
	notSystem = "must not begin with system: - Kubernetes gives such names rights"
	dnsDomain = "must be a lower-case DNS name such as example.com, without a leading dot"
	ipRange   = "must be a network such as 10.0.0.0/8, with no bits set behind its prefix"
	starsIn   = "* must be a whole label of a DNS name, or be in a URI or an e-mail address"
	noCAName  = "must not end in -ca-<number>: such names belong to the Secrets of authorities; set another secretName"
	immutable = "cannot be changed, since pods mount the Secret by this name; make another MTLSCertificate"
	someName  = "set at least one of dnsNames, serviceName, ipAddresses, uris, emailAddresses or commonName"
	dnsName   = "must be a lower-case DNS name such as hello.example.com or *.example.com; " +
		"write IP addresses into ipAddresses and non-ASCII names in their xn-- form"
	ipAddress   = "must be an IP address in its canonical form, such as 10.0.0.1 or fd00::1"
	uri         = "must be an absolute URI such as spiffe://example.com/ns/shop/sa/cart"
	email       = "must be an ASCII address of the form local@domain"
	tooEarly    = "must be less than 90 % of duration: a certificate that is renewed as soon as it is made is renewed for ever"
	tooLate     = "must be at least 1m: a renewed certificate has to reach its users before the old one ends"
	secretName  = "must be a name that a Secret can have: lower-case letters, digits, '-' and '.'"
	serviceName = "must be the name of a Service: lower-case letters, digits and '-'"
	qualified   = "every key must be a qualified name such as team or example.com/team"
	notBoth     = "set selfSigned or imported, not both"
	oneOfThree  = "set one of selfSigned, signedBy and imported"
	leastLife   = "must be at least 10m, the least duration of a certificate"
	placeholder = "{namespace} is the only placeholder there is"
	aSecret     = "must be the name of a Secret"
	noOldForm   = "must be PKCS8 for ED25519, which has no traditional form"
	reserved    = "keys under mtls-operator.io/, kubernetes.io/ and k8s.io/ are reserved (app.kubernetes.io/ is allowed)"
)

// refusals are examples by a sentence each.
var refusals = map[string]refusal{
	// MTLSAuthority
	"an authority's name of 53 characters": {
		kind: authority, name: long53, field: "metadata",
		message: "name must be no more than 52 characters: the names of the authority's Secrets are made from it",
	},
	"selfSigned beside imported": ca(`{imported: {secretName: a}}`, "spec.imported", notBoth),
	"selfSigned beside signedBy": ca(`{signedBy: {name: a}}`, "spec.signedBy", oneOfThree),
	"renewBefore of an imported authority": {
		kind: authority, spec: `{selfSigned: null, imported: {secretName: a}, renewBefore: 24h}`, field: "spec.renewBefore",
		message: "remove renewBefore: an imported authority is renewed by whoever made it",
	},
	"a selector of authorities with All": ca(`{allowedAuthorities: {from: All, selector: {}}}`,
		"spec.allowedAuthorities.selector", "set selector together with from: Selector, and only then"),
	"an authority above that can't be": {
		kind: authority, spec: `{selfSigned: null, signedBy: {name: A_b}}`, field: "spec.signedBy.name",
		message: "must be the name of an MTLSAuthority",
	},
	"an authority above in a namespace that can't be": {
		kind: authority, spec: `{selfSigned: null, signedBy: {name: a, namespace: a.b}}`, field: "spec.signedBy.namespace",
		message: "must be the name of a namespace",
	},
	"a ConfigMap that can't be": ca(`{trustBundle: {configMap: {name: A_b, namespaceSelector: {}}}}`,
		"spec.trustBundle.configMap.name",
		"must be a name that a ConfigMap can have: lower-case letters, digits, '-' and '.'"),
	"commonName of an imported authority":      own("commonName", `x`),
	"subject of an imported authority":         own("subject", `{organizations: [x]}`),
	"privateKey of an imported authority":      own("privateKey", `{type: RSA2048}`),
	"duration of an imported authority":        own("duration", `24h`),
	"maxPathLength of an imported authority":   own("maxPathLength", `0`),
	"nameConstraints of an imported authority": own("nameConstraints", `{permitted: {dnsDomains: [x]}}`),
	"an authority of less than an hour":        ca(`{duration: 59m59s}`, "spec.duration", "must be at least 1h"),
	"an authority of no time":                  ca(`{duration: 0h}`, "spec.duration", "must be at least 1h"),
	"a longest life below the least":           ca(`{maxLeafDuration: 9m59s}`, "spec.maxLeafDuration", leastLife),
	"a placeholder that isn't one":             ca(`{allowedNames: [a, "{ns}.example.com"]}`, "spec.allowedNames[1]", placeholder),
	"a star in a label":                        ca(`{allowedNames: ["a*.b"]}`, "spec.allowedNames[0]", starsIn),
	"a star in an organization":                ca(`{allowedNames: ["O=*"]}`, "spec.allowedNames[0]", starsIn),
	"a star in a scheme":                       ca(`{allowedNames: ["*://a/b"]}`, "spec.allowedNames[0]", starsIn),
	"Selector without a selector":              selector(`{from: Selector}`),
	"a selector with All":                      selector(`{from: All, selector: {}}`),
	"a selector with nothing said":             selector(`{selector: {}}`),
	"an authority called like a node":          ca(`{commonName: "system:ca"}`, "spec.commonName", notSystem),
	"a Secret that cannot be": ca(`{selfSigned: null, imported: {secretName: A_b}}`,
		"spec.imported.secretName", aSecret),
	"a permitted domain with a leading dot": constraint("permitted", "dnsDomains", ".example.com", dnsDomain),
	"a permitted domain in upper case":      constraint("permitted", "dnsDomains", "Example.com", dnsDomain),
	"a permitted domain that is an address": constraint("permitted", "dnsDomains", "10.0.0.1", dnsDomain),
	"an excluded domain with a star":        constraint("excluded", "dnsDomains", "*.example.com", dnsDomain),
	"a permitted range with bits behind":    constraint("permitted", "ipRanges", "10.0.0.1/8", ipRange),
	"an excluded range that is an address":  constraint("excluded", "ipRanges", "10.0.0.1", ipRange),

	// MTLSCertificate
	"a Secret called like an authority's": mcert(`{secretName: my-ca-ca-2}`, "spec.secretName", noCAName),
	"a certificate called like an authority's Secret": {
		kind: certificate, name: "my-ca-ca-1", field: "spec.secretName", message: noCAName,
	},
	"another Secret": {
		kind: certificate, before: `{secretName: a}`, spec: `{secretName: b}`, field: "spec.secretName", message: immutable,
	},
	"another Secret where none was written": {
		kind: certificate, before: `{duration: 24h}`, spec: `{secretName: b}`, field: "spec.secretName", message: immutable,
	},
	"the Secret's name taken away": {
		kind: certificate, before: `{secretName: a}`, spec: `{}`, field: "spec.secretName", message: immutable,
	},
	"no name at all":                     mcert(`{commonName: null}`, "spec.dnsNames", someName),
	"no name but a subject":              mcert(`{commonName: null, subject: {organizations: [x]}}`, "spec.dnsNames", someName),
	"a life of less than ten minutes":    mcert(`{duration: 9m59s}`, "spec.duration", "must be at least 10m"),
	"no life":                            mcert(`{duration: 0s}`, "spec.duration", "must be at least 10m"),
	"renewed at once":                    mcert(`{duration: 10h, renewBefore: 9h}`, "spec.renewBefore", tooEarly),
	"renewed before it is made":          mcert(`{duration: 10h, renewBefore: 11h}`, "spec.renewBefore", tooEarly),
	"renewed early by default":           mcert(`{renewBefore: 1944h}`, "spec.renewBefore", tooEarly),
	"renewed at its end":                 mcert(`{renewBefore: 0s}`, "spec.renewBefore", tooLate),
	"renewed just before":                mcert(`{renewBefore: 59s}`, "spec.renewBefore", tooLate),
	"an authority that can't be":         reference(`{name: A}`, "name", "must be the name of an MTLSAuthority"),
	"a namespace that can't be":          reference(`{name: a, namespace: a.b}`, "namespace", "must be the name of a namespace"),
	"a client called like a node":        mcert(`{commonName: "system:node:a"}`, "spec.commonName", notSystem),
	"a DNS name in upper case":           list("dnsNames", "Hello.example.com", dnsName),
	"a DNS name that is an address":      list("dnsNames", "10.0.0.1", dnsName),
	"a DNS name that is not ASCII":       list("dnsNames", "bücher.example", dnsName),
	"a DNS name with a dot at its end":   list("dnsNames", "a.example.", dnsName),
	"a star inside of a DNS name":        list("dnsNames", "a.*.example", dnsName),
	"two stars":                          list("dnsNames", "*.*.example", dnsName),
	"a star in a label of a DNS name":    list("dnsNames", "a*.example", dnsName),
	"an underscore":                      list("dnsNames", "a_b.example", dnsName),
	"an address with zeros":              list("ipAddresses", "0:0:0:0:0:0:0:1", ipAddress),
	"an address with leading zeros":      list("ipAddresses", "010.0.0.1", ipAddress),
	"a range as an address":              list("ipAddresses", "10.0.0.0/8", ipAddress),
	"an address with a zone":             list("ipAddresses", "fe80::1%eth0", ipAddress),
	"a relative URI":                     list("uris", "/ns/shop", uri),
	"a URI that cannot be":               list("uris", "https://a b", uri),
	"an address without a domain":        list("emailAddresses", "bob@", email),
	"an address with a name":             list("emailAddresses", "Bob <bob@example.com>", email),
	"an e-mail address that isn't ASCII": list("emailAddresses", "bücher@example.com", email),
	"a key without a traditional form": mcert(`{privateKey: {type: ED25519, encoding: PKCS1}}`,
		"spec.privateKey.encoding", noOldForm),
	"a Secret's name in upper case": mcert(`{secretName: A}`, "spec.secretName", secretName),
	"a Service's name with a dot":   mcert(`{serviceName: a.b}`, "spec.serviceName", serviceName),
	"a label that can't be":         template("labels", `"a b": c`, "", qualified),
	"an annotation that can't be":   template("annotations", `"/x": c`, "", qualified),
	"our own label":                 template("labels", `mtls-operator.io/generation: "1"`, "", reserved),
	"our own annotation":            template("annotations", `mtls-operator.io/pair-hash: x`, "", reserved),
	"kubectl's annotation":          template("annotations", `kubectl.kubernetes.io/restartedAt: x`, "", reserved),
	"a label of Kubernetes":         template("labels", `node.k8s.io/x: z`, "", reserved),
	"a label's value that can't be": template("labels", `team: "a b"`, "[team]",
		"must be a label value: letters, digits, '-', '_' and '.'"),
}

func ca(spec, field, message string) refusal {
	return refusal{kind: authority, spec: spec, field: field, message: message}
}

func mcert(spec, field, message string) refusal {
	return refusal{kind: certificate, spec: spec, field: field, message: message}
}

// own: an imported authority may not set the field.
func own(field, value string) refusal {
	return refusal{
		kind: authority, spec: `{selfSigned: null, imported: {secretName: a}, ` + field + `: ` + value + `}`,
		field: "spec." + field, message: "remove " + field + ownOf,
	}
}

func selector(allowedNamespaces string) refusal {
	return refusal{
		kind: authority, spec: `{allowedNamespaces: ` + allowedNamespaces + `}`,
		field: "spec.allowedNamespaces.selector", message: "set selector together with from: Selector, and only then",
	}
}

func constraint(side, field, value, message string) refusal {
	return refusal{
		kind: authority, spec: `{nameConstraints: {` + side + `: {` + field + `: ["` + value + `"]}}}`,
		field: "spec.nameConstraints." + side + "." + field + "[0]", message: message,
	}
}

func reference(value, field, message string) refusal {
	return refusal{
		kind: certificate, spec: `{authorityRef: ` + value + `}`, field: "spec.authorityRef." + field, message: message,
	}
}

func list(field, value, message string) refusal {
	return refusal{kind: certificate, spec: `{` + field + `: ["` + value + `"]}`, field: "spec." + field + "[0]", message: message}
}

func template(field, entry, below, message string) refusal {
	return refusal{
		kind: certificate, spec: `{secretTemplate: {` + field + `: {` + entry + `}}}`,
		field: "spec.secretTemplate." + field + below, message: message,
	}
}

// accepted are specs by a sentence each, at the edge of what is allowed where there is one.
var accepted = map[*kind]map[string]string{
	authority: {
		"with nothing said":        `{selfSigned: null}`,
		"selfSigned":               `{}`,
		"imported":                 `{selfSigned: null, imported: {secretName: my.ca}}`,
		"with a common name of 56": `{commonName: ` + strings.Repeat("ü", 56) + `}`,
		"with text of all scripts": `{commonName: "Authorité № 1 – 株式会社", subject: {organizations: ["A, B + C = \"D\"/E"]}}`,
		"with all of a subject": `{subject: {organizations: [a], organizationalUnits: [b], countries: [DE],
			provinces: [c], localities: [d]}}`,
		"of exactly an hour":            `{duration: 1h}`,
		"of an hour in seconds":         `{duration: 3600s}`,
		"in the words of time.Duration": `{duration: 8760h0m0s}`,
		"of the longest duration":       `{duration: 999999h999999m999999s}`,
		"with the least longest life":   `{maxLeafDuration: 10m}`,
		"that signs intermediates":      `{maxPathLength: 8}`,
		"that signs leaves alone":       `{maxPathLength: 0}`,
		"with constraints": `{nameConstraints: {
			permitted: {dnsDomains: [svc, example.com], ipRanges: [10.0.0.0/8, "fd00::/8"]},
			excluded: {emailAddresses: [.example.com], uriDomains: [a.example.com]}}}`,
		"for its own namespace":         `{allowedNamespaces: {from: Same}}`,
		"for its own namespace, unsaid": `{allowedNamespaces: {}}`,
		"for all namespaces":            `{allowedNamespaces: {from: All}}`,
		"for selected namespaces":       `{allowedNamespaces: {from: Selector, selector: {matchLabels: {team: a}}}}`,
		"for all by an empty selector":  `{allowedNamespaces: {from: Selector, selector: {}}}`,
		"with patterns of DNS names":    `{allowedNames: ["*", "*.{namespace}.example.com", "a.*.b", "{namespace}-client"]}`,
		"with patterns of other names": `{allowedNames: ["10.0.0.0/8", "spiffe://*/ns/{namespace}/*", "*@{namespace}.example.com",
			"O=payments", "Shop Client"]}`,
		"with a pattern of 256 letters":   `{allowedNames: [` + strings.Repeat("a", 256) + `]}`,
		"with a key of another algorithm": `{privateKey: {type: ED25519}}`,
	},
	certificate: {
		"with a common name alone":       `{}`,
		"with a common name of 64":       `{commonName: ` + long64 + `}`,
		"with a DNS name alone":          `{commonName: null, dnsNames: [hello]}`,
		"with a Service alone":           `{commonName: null, serviceName: hello}`,
		"with an address alone":          `{commonName: null, ipAddresses: [10.0.0.1]}`,
		"with a URI alone":               `{commonName: null, uris: ["spiffe://example.com/ns/shop/sa/cart"]}`,
		"with an e-mail address alone":   `{commonName: null, emailAddresses: [a@b]}`,
		"for both uses":                  `{usages: [Server, Client]}`,
		"with wildcards":                 `{dnsNames: ["*.example.com", "*.svc"]}`,
		"with names in their ASCII form": `{dnsNames: [xn--bcher-kva.example, "1.example", localhost]}`,
		"with addresses":                 `{ipAddresses: [127.0.0.1, "::1", "fd00::1"]}`,
		"of exactly ten minutes":         `{duration: 10m}`,
		"renewed as early as can be":     `{duration: 10h, renewBefore: 8h59m59s}`,
		"renewed as late as can be":      `{renewBefore: 1m}`,
		"renewed without a duration":     `{duration: null, renewBefore: 720h}`,
		"of an authority elsewhere":      `{authorityRef: {name: ca, namespace: mtls-system}}`,
		"with a key of its own form":     `{privateKey: {type: RSA2048, encoding: PKCS1, rotationPolicy: Never}}`,
		"with a key of the modern form":  `{privateKey: {type: ED25519, encoding: PKCS8}}`,
		"with a Secret of another name":  `{secretName: a-ca.b}`,
		"with a Secret called almost so": `{secretName: my-ca-ca-2x}`,
		"with labels and annotations": `{secretTemplate: {labels: {team: a, app.kubernetes.io/name: b, example.com/c: "",
			notkubernetes.io/x: z}, annotations: {note: "any text\nat all"}}}`,
		"whose Secret stays": `{deletionPolicy: Retain}`,
	},
}
