package plan

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	// defaultLeafDuration is the life of a certificate whose spec doesn't say (as the schema's default).
	defaultLeafDuration = 2160 * time.Hour
	// minLeafDuration leaves room for kubelet to deliver a renewed certificate before the old one ends.
	minLeafDuration = 10 * time.Minute
)

// Wish is what an MTLSCertificate asks for: validated, with every default filled in.
type Wish struct {
	Request     pki.Request
	KeyType     pki.KeyType
	KeyEncoding pki.KeyEncoding
	// KeepKey is rotationPolicy Never: a key that fits is used again.
	KeepKey  bool
	Duration time.Duration
	// RenewBefore is zero when unset.
	RenewBefore time.Duration
	// RenewToken is the value of the renewal annotation, empty when there is none.
	RenewToken string
}

// NewWish reads a certificate's spec. The error is pki.FieldErrors, with everything that is wrong and fields named from
// the spec on. clusterDomain is that of Service names, such as cluster.local.
func NewWish(certificate *v1alpha1.MTLSCertificate, clusterDomain string) (Wish, error) {
	spec := certificate.Spec
	request, requestErr := pki.NewRequest(names(certificate, clusterDomain), usages(spec.Usages))
	duration, durationErr := parseDuration("duration", spec.Duration, defaultLeafDuration)
	renewBefore, renewErr := parseDuration("renewBefore", spec.RenewBefore, 0)
	wish := Wish{
		Request:     request,
		KeyType:     pki.KeyType(orDefault(spec.PrivateKey.Type, v1alpha1.KeyTypeDefault)),
		KeyEncoding: pki.KeyEncoding(orDefault(spec.PrivateKey.Encoding, v1alpha1.EncodingPKCS8)),
		KeepKey:     spec.PrivateKey.RotationPolicy == v1alpha1.RotationNever,
		Duration:    duration,
		RenewBefore: renewBefore,
		RenewToken:  certificate.Annotations[v1alpha1.RenewRequestedAtAnnotation],
	}
	problems := fieldErrors(requestErr, durationErr, renewErr)
	problems = append(problems, wish.problems(requestErr == nil, durationErr == nil && renewErr == nil)...)
	if len(problems) > 0 {
		return Wish{}, problems
	}
	return wish, nil
}

// problems are the rules between fields. The schema holds most of them too; it cannot hold those that look at a field
// and at another's default.
func (w Wish) problems(namesValid, durationsValid bool) pki.FieldErrors {
	var problems pki.FieldErrors
	if namesValid && !w.servable() {
		problems = append(problems, pki.FieldError{Field: "commonName", Message: "is no DNS name, and programs look for " +
			"a server's name only in dnsNames and ipAddresses: add one of these"})
	}
	if durationsValid && w.Duration < minLeafDuration {
		problems = append(problems, pki.FieldError{Field: "duration", Message: "must be at least 10m"})
	}
	if durationsValid && w.RenewBefore*10 >= w.Duration*9 && w.RenewBefore > 0 {
		problems = append(problems, pki.FieldError{Field: "renewBefore", Message: "must be less than 90 % of duration"})
	}
	return problems
}

// servable: a certificate for servers has a name that clients look at.
func (w Wish) servable() bool {
	if !slices.Contains(w.Request.Usages(), pki.UsageServer) {
		return true
	}
	names := w.Request.Names()
	return len(names.DNSNames)+len(names.IPAddresses)+len(names.URIs)+len(names.EmailAddresses) > 0
}

// names collects all names of a certificate. What is added to the DNS names comes after the listed ones, so that an
// index in an error is one of the spec's.
func names(certificate *v1alpha1.MTLSCertificate, clusterDomain string) pki.Names {
	spec := certificate.Spec
	dnsNames := slices.Clone(spec.DNSNames)
	for _, name := range append(serviceNames(certificate, clusterDomain), commonNameAsDNS(spec)...) {
		if !slices.Contains(dnsNames, name) {
			dnsNames = append(dnsNames, name)
		}
	}
	return pki.Names{
		Subject:        subject(spec.CommonName, spec.Subject),
		DNSNames:       dnsNames,
		IPAddresses:    spec.IPAddresses,
		URIs:           spec.URIs,
		EmailAddresses: spec.EmailAddresses,
	}
}

// serviceNames are the DNS names of the Service. Alone, without its namespace, the name means a Service of whoever asks:
// it is given only under an authority of the same namespace, whose certificates don't go anywhere else.
func serviceNames(certificate *v1alpha1.MTLSCertificate, clusterDomain string) []string {
	service, namespace := certificate.Spec.ServiceName, certificate.Namespace
	if service == "" {
		return nil
	}
	qualified := service + "." + namespace
	all := []string{qualified, qualified + ".svc", qualified + ".svc." + clusterDomain}
	if reference := certificate.Spec.AuthorityRef.Namespace; reference == "" || reference == namespace {
		all = append(all, service)
	}
	return all
}

// commonNameAsDNS: Go, Java and browsers don't look for a server's name in the common name (RFC 9525, section 1.4.1).
func commonNameAsDNS(spec v1alpha1.MTLSCertificateSpec) []string {
	name := strings.ToLower(spec.CommonName)
	isName := len(validation.IsDNS1123Subdomain(name)) == 0 || len(validation.IsWildcardDNS1123Subdomain(name)) == 0
	_, notAnAddress := netip.ParseAddr(name)
	if !slices.Contains(spec.Usages, v1alpha1.UsageServer) || !isName || notAnAddress == nil {
		return nil
	}
	return []string{name}
}

func subject(commonName string, s *v1alpha1.Subject) pki.Subject {
	if s == nil {
		return pki.Subject{CommonName: commonName}
	}
	return pki.Subject{
		CommonName:          commonName,
		Organizations:       texts(s.Organizations),
		OrganizationalUnits: texts(s.OrganizationalUnits),
		Countries:           texts(s.Countries),
		Provinces:           texts(s.Provinces),
		Localities:          texts(s.Localities),
	}
}

func texts(values []v1alpha1.Text) []string {
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = string(value)
	}
	return all
}

func usages(values []v1alpha1.Usage) []pki.Usage {
	all := make([]pki.Usage, len(values))
	for i, value := range values {
		all[i] = pki.Usage(value)
	}
	return all
}

func orDefault[T ~string](value, unset T) T {
	if value == "" {
		return unset
	}
	return value
}

// fieldErrors collects the field errors in errs.
func fieldErrors(errs ...error) pki.FieldErrors {
	var all pki.FieldErrors
	for _, err := range errs {
		fields, ok := errors.AsType[pki.FieldErrors](err)
		if err != nil && !ok {
			fields = pki.FieldErrors{{Message: err.Error()}}
		}
		all = append(all, fields...)
	}
	return all
}
