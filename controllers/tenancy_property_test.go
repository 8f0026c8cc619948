package controllers

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

const (
	propertyOwner  = "pki"
	propertyTenant = "shop"
	propertyDomain = "cluster.local"
)

// drawer draws names that a tenant may try: its own, of others and of nobody, and now and then pieces of all put together.
type drawer struct {
	*rapid.T
	field string
}

func (d drawer) of(texts ...string) string { return rapid.SampledFrom(texts).Draw(d.T, d.field) }

func (d drawer) oneIn(number int) bool { return rapid.IntRange(1, number).Draw(d.T, d.field) == number }

func (d drawer) namespace() string {
	return d.of(propertyTenant, propertyTenant, propertyTenant, "bank", propertyOwner, "default")
}

func (d drawer) word() string {
	return d.of("hello", "*", "shop", "bank", "svc", "ns", "sa", "local", "1", "xn--bcher-kva", "SHOP", "%2e", "..", "")
}

func (d drawer) dnsName() string {
	suffix := d.of("", ".svc", ".svc.cluster.local", ".example.com")
	return d.of("hello", "*", "bank", "shop", d.word()) + "." + d.namespace() + suffix
}

func (d drawer) uri() string {
	uri := "spiffe://" + d.of("cluster.local", "td.example.com", d.dnsName()) + "/ns/" + d.namespace()
	for range rapid.IntRange(0, 4).Draw(d.T, d.field) {
		uri += "/" + d.of("sa", d.word(), d.namespace())
	}
	return uri
}

func (d drawer) garbage() string {
	text := d.word()
	for range rapid.IntRange(0, 5).Draw(d.T, d.field) {
		text += d.of(".", "/", "://", "-", ":", " ", "=", "@", "\u3002", "?", "#", ";", `\`) + d.of(d.word(), d.dnsName())
	}
	return text
}

// names draws none, or a list of one or two, most of them of the kind that belongs there.
func (d drawer) names(fitting func() string, chance int) []string {
	if !d.oneIn(chance) {
		return nil
	}
	var names []string
	for range rapid.IntRange(1, 2).Draw(d.T, d.field) {
		if d.oneIn(8) {
			names = append(names, d.of(d.garbage(), d.dnsName(), d.uri()))
		} else {
			names = append(names, fitting())
		}
	}
	return names
}

// drawSpec draws a spec that a tenant may write.
func drawSpec(t *rapid.T) v1alpha1.MTLSCertificateSpec {
	d := func(field string) drawer { return drawer{t, field} }
	spec := v1alpha1.MTLSCertificateSpec{
		AuthorityRef: v1alpha1.AuthorityRef{Name: "my-ca", Namespace: propertyOwner},
		Usages: rapid.SampledFrom([][]v1alpha1.Usage{
			{v1alpha1.UsageServer}, {v1alpha1.UsageClient}, {v1alpha1.UsageServer, v1alpha1.UsageClient},
		}).Draw(t, "usages"),
		CommonName:     first(d("commonName").names(d("commonName").dnsName, 3)),
		DNSNames:       d("dnsNames").names(d("dnsNames").dnsName, 2),
		URIs:           d("uris").names(d("uris").uri, 3),
		IPAddresses:    d("ipAddresses").names(func() string { return d("ipAddresses").of("10.0.0.1", "::1") }, 16),
		EmailAddresses: d("emailAddresses").names(func() string { return "me@" + d("emailAddresses").dnsName() }, 16),
		ServiceName:    first(d("serviceName").names(func() string { return d("serviceName").of("hello", "1", "shop", "bank") }, 3)),
	}
	if d("subject").oneIn(16) {
		spec.Subject = &v1alpha1.Subject{Localities: []v1alpha1.Text{v1alpha1.Text(d("subject").garbage())}}
	}
	return spec
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// Whatever a tenant writes, under an authority without allowedNames every name that would be signed is of its namespace.
func TestEveryNameThatIsSignedForATenantIsOfItsNamespace(t *testing.T) {
	given, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		certificate := &v1alpha1.MTLSCertificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: propertyTenant, Name: "c"},
			Spec:       drawSpec(t),
		}
		wish, err := plan.NewWish(certificate, propertyDomain)
		if err != nil {
			return
		}
		order := Order{
			Authority:     &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: propertyOwner, Name: "my-ca"}},
			Namespace:     certificate.Namespace,
			ClusterDomain: propertyDomain,
			Request:       wish.Request,
			Duration:      time.Hour,
		}
		if order.Review() != nil {
			refused++
			return
		}
		given++
		names := wish.Request.Names()
		for _, name := range names.DNSNames {
			wantOwnDNSName(t, name)
		}
		for _, uri := range names.URIs {
			wantOwnURI(t, uri)
		}
		switch name := names.Subject.CommonName; {
		case strings.Contains(name, "://"):
			wantOwnURI(t, name)
		case name != "":
			wantOwnDNSName(t, name)
		}
		subject := names.Subject
		others := len(subject.Organizations) + len(subject.OrganizationalUnits) + len(subject.Countries) +
			len(subject.Provinces) + len(subject.Localities) + len(names.IPAddresses) + len(names.EmailAddresses)
		if others > 0 {
			t.Errorf("a tenant gets %+v", names)
		}
	})
	if given == 0 || refused == 0 {
		t.Errorf("%d requests were given and %d refused: this tells nothing", given, refused)
	}
}

// wantOwnDNSName: a name of a Service of the tenant, in one of the three forms that cluster DNS has, read from its end.
func wantOwnDNSName(t *rapid.T, name string) {
	t.Helper()
	labels := strings.Split(name, ".")
	if _, err := netip.ParseAddr(name); err == nil {
		t.Errorf("a tenant gets the address %q", name)
	}
	short := len(labels) == 2 && labels[1] == propertyTenant
	middle := len(labels) == 3 && labels[1] == propertyTenant && labels[2] == "svc"
	long := len(labels) == 5 && labels[1] == propertyTenant && strings.HasSuffix(name, ".svc.cluster.local")
	if (!short && !middle && !long) || labels[0] == "" {
		t.Errorf("a tenant gets %q", name)
	}
}

// wantOwnURI: a SPIFFE ID that every way to read one takes for the tenant's.
func wantOwnURI(t *rapid.T, text string) {
	t.Helper()
	uri, err := url.Parse(text)
	if err != nil || uri.Scheme != "spiffe" || uri.RawPath != "" || uri.RawQuery != "" || uri.Fragment != "" {
		t.Fatalf("a tenant gets %q", text)
	}
	if !strings.HasPrefix(uri.Path, "/ns/"+propertyTenant+"/") || strings.Count(strings.ToLower(text), "/ns/") != 1 {
		t.Errorf("a tenant gets %q", text)
	}
}
