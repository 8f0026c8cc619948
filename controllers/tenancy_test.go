package controllers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// tenancy is authority my-ca in the world's namespace, which two tenants in namespaces of their own share.
type tenancy struct {
	*world
	shop, bank string
}

func newTenancy(t *testing.T, change ...func(*v1alpha1.MTLSAuthority)) tenancy {
	t.Helper()
	w := newWorld(t)
	w.authority("my-ca", append([]func(*v1alpha1.MTLSAuthority){forAll}, change...)...)
	return tenancy{w, w.newNamespace("", nil), w.newNamespace("", nil)}
}

func forAll(authority *v1alpha1.MTLSAuthority) {
	authority.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
}

func (c tenancy) in(t *testing.T) tenancy { return tenancy{c.world.in(t), c.shop, c.bank} }

// named fills in the namespaces: {own} is the shop's, {other} the bank's, {owner} that of the authority.
func (c tenancy) named(text string) string {
	return strings.NewReplacer("{own}", c.shop, "{other}", c.bank, "{owner}", c.namespace).Replace(text)
}

// asks has the shop ask for a certificate; spec is YAML over one without any names.
func (c tenancy) asks(name, spec string) *v1alpha1.MTLSCertificate {
	c.t.Helper()
	certificate := &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: c.shop, Name: name}}
	base := c.named(`{authorityRef: {name: my-ca, namespace: "{owner}"}, dnsNames: null}`)
	c.check(c.applySpec(certificate, base, c.named(spec)))
	c.reconcileCertificate(certificate)
	return certificate
}

// leaf is the certificate in the Secret of a certificate, wherever that is.
func (c tenancy) leafSecret(certificate *v1alpha1.MTLSCertificate) *corev1.Secret {
	c.t.Helper()
	secret := &corev1.Secret{}
	c.check(c.admin.Get(c.ctx, client.ObjectKey{Namespace: certificate.Namespace, Name: secretName(certificate)}, secret))
	return secret
}

// wantNoInternals: nothing that a tenant can read tells how the authority is made or who else uses it.
func (c tenancy) wantNoInternals(certificate *v1alpha1.MTLSCertificate) {
	c.t.Helper()
	texts := c.told.take()
	for _, condition := range certificate.Status.Conditions {
		texts = append(texts, condition.Message)
	}
	for _, text := range texts {
		for _, internal := range []string{"my-ca-ca", "imported", "secretName", c.bank} {
			if strings.Contains(text, internal) {
				c.t.Errorf("a tenant is told of %q: %q", internal, text)
			}
		}
	}
}

// asked is what a tenant asks for, and what of it is told when it isn't given; nothing when it is.
type asked struct{ spec, says string }

// askedByDefault is asked of an authority without allowedNames. What is refused is another's, or anybody's.
var askedByDefault = map[string]asked{
	"a Service of its own":               {`dnsNames: ["hello.{own}.svc"]`, ""},
	"the same with the cluster's domain": {`dnsNames: ["hello.{own}.svc.cluster.local"]`, ""},
	"the same in short":                  {`dnsNames: ["hello.{own}"]`, ""},
	"all Services of its own":            {`dnsNames: ["*.{own}.svc"]`, ""},
	"the same as common name":            {`commonName: "hello.{own}.svc"`, ""},
	"a serviceName":                      {`serviceName: hello`, ""},
	"a SPIFFE ID of its own":             {`uris: ["spiffe://cluster.local/ns/{own}/sa/hello"]`, ""},
	"a bare name":                        {`dnsNames: [hello]`, `spec.dnsNames[0]: "hello"`},
	"localhost":                          {`dnsNames: [localhost]`, `spec.dnsNames[0]: "localhost"`},
	"a bare name behind its own":         {`dnsNames: ["hello.{own}.svc", hello]`, `spec.dnsNames[1]: "hello"`},
	"a bare common name":                 {`commonName: hello`, `spec.commonName: "hello"`},
	"a Service of another":               {`dnsNames: ["hello.{other}.svc"]`, `spec.dnsNames[0]: "hello.{other}.svc"`},
	"a Service of another, in full":      {`dnsNames: ["hello.{other}.svc.cluster.local"]`, `spec.dnsNames[0]: "hello.{other}`},
	"a Service of another, in short":     {`dnsNames: ["hello.{other}"]`, `spec.dnsNames[0]: "hello.{other}"`},
	"all Services of another":            {`dnsNames: ["*.{other}.svc"]`, `spec.dnsNames[0]: "*.{other}.svc"`},
	"all Services of all":                {`dnsNames: ["*.svc.cluster.local"]`, `spec.dnsNames[0]: "*.svc.cluster.local"`},
	"a Service of the authority's owner": {`dnsNames: ["hello.{owner}.svc"]`, `spec.dnsNames[0]: "hello.{owner}.svc"`},
	"the API server":                     {`dnsNames: [kubernetes.default.svc]`, `spec.dnsNames[0]: "kubernetes.default.svc"`},
	"another as common name": {
		`{usages: [Client], commonName: "hello.{other}.svc"}`,
		`spec.commonName: "hello.{other}.svc"`,
	},
	"a name in the internet":               {`dnsNames: [www.example.com]`, `spec.dnsNames[0]: "www.example.com"`},
	"a name under its own in the internet": {`dnsNames: ["{own}.svc.example.com"]`, `spec.dnsNames[0]`},
	"its own, in another cluster's domain": {`dnsNames: ["hello.{own}.svc.example.com"]`, `spec.dnsNames[0]`},
	"its namespace alone":                  {`dnsNames: ["{own}"]`, `spec.dnsNames[0]: "{own}"`},
	"the SPIFFE ID of another": {
		`uris: ["spiffe://cluster.local/ns/{other}/sa/hello"]`,
		`spec.uris[0]: "spiffe://cluster.local/ns/{other}/sa/hello"`,
	},
	"the same behind its own":       {`uris: ["spiffe://cluster.local/ns/{own}/ns/{other}/sa/x"]`, `spec.uris[0]`},
	"a SPIFFE ID without namespace": {`uris: ["spiffe://cluster.local/{own}"]`, `spec.uris[0]`},
	"the SPIFFE ID of another, as CN": {
		`{usages: [Client], commonName: "spiffe://a.b/ns/{other}/sa/x"}`,
		`spec.commonName: "spiffe`,
	},
	"an address":              {`ipAddresses: ["10.0.0.1"]`, `spec.ipAddresses[0]: "10.0.0.1"`},
	"an address of version 6": {`ipAddresses: ["fd00::1"]`, `spec.ipAddresses[0]: "fd00::1"`},
	"its own machine":         {`ipAddresses: ["127.0.0.1"]`, `spec.ipAddresses[0]: "127.0.0.1"`},
	"an e-mail address": {
		`{usages: [Client], emailAddresses: ["me@{own}.svc"]}`,
		`spec.emailAddresses[0]: "me@{own}.svc"`,
	},
	"a group": {
		`{dnsNames: ["a.{own}.svc"], subject: {organizations: [admins]}}`,
		`spec.subject.organizations[0]: "admins"`,
	},
	"a locality that reads as a name": {
		`{dnsNames: ["a.{own}.svc"], subject: {localities: ["x/CN=admin"]}}`,
		`spec.subject.localities[0]`,
	},
}

func TestATenantGetsNamesOfItsOwnNamespaceOnly(t *testing.T) {
	newTenancy(t).wantAsked(t, askedByDefault)
}

// wantAsked has a tenant ask for each, as a new certificate and as a change of one that it has.
func (c tenancy) wantAsked(t *testing.T, all map[string]asked) {
	for number, sentence := range slices.Sorted(maps.Keys(all)) {
		asked := all[sentence]
		t.Run(sentence, func(t *testing.T) {
			c := c.in(t)
			c.told.take()
			fresh := c.asks(fmt.Sprintf("fresh-%d", number), asked.spec)
			if asked.says == "" {
				c.wantReady(fresh, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
				return
			}
			says := c.named(asked.says) + "|ask the owner of the authority"
			c.wantReady(fresh, metav1.ConditionFalse, v1alpha1.ReasonDenied, says)
			c.wantCondition(fresh, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonDenied, says)
			err := c.admin.Get(c.ctx, client.ObjectKeyFromObject(fresh), &corev1.Secret{})
			if client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("reading the Secret gives %v, want NotFound", err)
			}

			kept := c.asks(fmt.Sprintf("kept-%d", number), `dnsNames: ["*.{own}.svc"]`)
			before := c.leafSecret(kept)
			kept = c.asks(kept.Name, asked.spec)
			c.wantReady(kept, metav1.ConditionFalse, v1alpha1.ReasonDenied, says+"|keeps its certificate")
			if !reflect.DeepEqual(before, c.leafSecret(kept)) {
				t.Error("its Secret isn't what it was")
			}
			if !strings.Contains(asked.spec, "{other}") {
				c.wantNoInternals(kept)
			}
		})
	}
}

func TestNamesThatGiveRightsAreForNobody(t *testing.T) {
	anyName := func(authority *v1alpha1.MTLSAuthority) {
		authority.Spec.AllowedNames = []string{"System:node:a", "O=system:masters", "OU=system:x", "hello.{namespace}"}
	}
	c := newTenancy(t, anyName)
	for sentence, asked := range map[string]asked{
		"as common name": {`{usages: [Client], commonName: "System:node:a"}`, "spec.commonName"},
		"as organization": {
			`{dnsNames: ["hello.{own}"], subject: {organizations: ["system:masters"]}}`,
			"spec.subject.organizations[0]",
		},
		"as part of the one": {
			`{dnsNames: ["hello.{own}"], subject: {organizationalUnits: ["system:x"]}}`,
			"spec.subject.organizationalUnits[0]",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := c.in(t)
			for _, namespace := range []string{c.shop, c.namespace} {
				c.shop = namespace // the authority's own namespace doesn't get it either
				certificate := c.asks("c", asked.spec)
				c.wantReady(certificate, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, asked.says+"|system:")
				c.check(c.client.Delete(c.ctx, certificate))
			}
		})
	}
}

func TestEveryNameThatIsNotGivenIsToldAtOnce(t *testing.T) {
	c := newTenancy(t, func(authority *v1alpha1.MTLSAuthority) { authority.Spec.MaxLeafDuration = "24h" })
	certificate := c.asks("c", `{commonName: a b, dnsNames: [x, "y.{own}", z], ipAddresses: ["10.0.0.1"], duration: 25h}`)
	c.wantReady(certificate, metav1.ConditionFalse, v1alpha1.ReasonDenied,
		"spec.commonName|spec.dnsNames[0]|spec.dnsNames[2]|spec.ipAddresses[0]|spec.duration|24h")
}

func TestAServiceHasABareNameOnlyBesideItsAuthority(t *testing.T) {
	c := newTenancy(t)
	elsewhere := c.asks("elsewhere", `serviceName: hello`)
	beside := c.issued("beside", func(certificate *v1alpha1.MTLSCertificate) {
		certificate.Spec.DNSNames, certificate.Spec.ServiceName = nil, "hello"
		certificate.Spec.AuthorityRef.Namespace = c.namespace
	})
	for namespace, certificate := range map[string]*v1alpha1.MTLSCertificate{c.shop: elsewhere, c.namespace: beside} {
		want := []string{"hello." + namespace, "hello." + namespace + ".svc", "hello." + namespace + ".svc.cluster.local"}
		if certificate == beside {
			want = append(want, "hello")
		}
		certificates, err := pki.ParseCertificates(c.leafSecret(certificate).Data[v1alpha1.CertificateKey])
		c.check(err)
		if got := certificates[0].DNSNames; !slices.Equal(got, want) {
			t.Errorf("%s has the names %q, want %q", certificate.Name, got, want)
		}
	}
}

func TestAllowedNamesAllowsExactlyThese(t *testing.T) {
	newTenancy(t, func(authority *v1alpha1.MTLSAuthority) {
		authority.Spec.AllowedNames = []string{
			"*.{namespace}.svc", "pay.example.com", "*.pay.example.com", "10.0.0.0/24", "O=payments", "client of {namespace}",
			"spiffe://td.example.com/ns/{namespace}/*", "*@{namespace}.example.com",
		}
	}).wantAsked(t, map[string]asked{
		"a Service of its own":           {`dnsNames: ["hello.{own}.svc"]`, ""},
		"a name in the internet":         {`dnsNames: [pay.example.com]`, ""},
		"a name under it":                {`dnsNames: [eu.pay.example.com]`, ""},
		"an address of the range":        {`ipAddresses: ["10.0.0.7"]`, ""},
		"an organization":                {`{dnsNames: [pay.example.com], subject: {organizations: [payments]}}`, ""},
		"a common name":                  {`{commonName: "client of {own}", dnsNames: [pay.example.com]}`, ""},
		"a SPIFFE ID":                    {`uris: ["spiffe://td.example.com/ns/{own}/sa/a"]`, ""},
		"an e-mail address":              {`{usages: [Client], emailAddresses: ["me@{own}.example.com"]}`, ""},
		"a default name, not listed":     {`dnsNames: ["hello.{own}"]`, `spec.dnsNames[0]: "hello.{own}"`},
		"a serviceName, of which one is": {`serviceName: hello`, `spec.serviceName: "hello.{own}"`},
		"a name two labels under it":     {`dnsNames: [a.b.pay.example.com]`, `spec.dnsNames[0]: "a.b.pay.example.com"`},
		"a name that ends alike":         {`dnsNames: [xpay.example.com]`, `spec.dnsNames[0]: "xpay.example.com"`},
		"a name above it":                {`dnsNames: [example.com]`, `spec.dnsNames[0]: "example.com"`},
		"an address beside the range":    {`ipAddresses: ["10.0.1.7"]`, `spec.ipAddresses[0]: "10.0.1.7"`},
		"an organization beside it": {
			`{dnsNames: [pay.example.com], subject: {organizations: [admins]}}`,
			`spec.subject.organizations[0]: "admins"`,
		},
		"the organization as common name": {
			`{dnsNames: [pay.example.com], commonName: O=payments}`,
			`spec.commonName: "O=payments"`,
		},
		"another's common name": {
			`{dnsNames: [pay.example.com], commonName: "client of {other}"}`,
			`spec.commonName: "client of {other}"`,
		},
		"another's SPIFFE ID": {
			`uris: ["spiffe://td.example.com/ns/{other}/sa/a"]`,
			`spec.uris[0]: "spiffe://td.example.com/ns/{other}`,
		},
		"another trust domain": {
			`uris: ["spiffe://cluster.local/ns/{own}/sa/a"]`,
			`spec.uris[0]: "spiffe://cluster.local/`,
		},
		"another's e-mail address": {
			`{usages: [Client], emailAddresses: ["me@{other}.example.com"]}`,
			`spec.emailAddresses[0]: "me@{other}`,
		},
	})
}
