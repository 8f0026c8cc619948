package plan

import (
	"errors"
	"fmt"
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
	for i := range problems {
		problems[i].Field = Origin(certificate, clusterDomain, problems[i].Field)
	}
	if durationErr == nil && renewErr == nil {
		problems = append(problems, wish.problems()...)
	}
	if len(problems) > 0 {
		return Wish{}, problems
	}
	return wish, nil
}

// problems are the rules for durations. The schema holds most of them too; it cannot hold those that look at a field and
// at another's default.
func (w Wish) problems() pki.FieldErrors {
	var problems pki.FieldErrors
	if w.Duration < minLeafDuration {
		problems = append(problems, pki.FieldError{Field: "duration", Message: "must be at least 10m"})
	}
	// Divided first: nine times the longest duration of the schema is more than a time.Duration holds.
	if w.RenewBefore >= w.Duration/10*9 && w.RenewBefore > 0 {
		problems = append(problems, pki.FieldError{Field: "renewBefore", Message: "must be less than 90 % of duration"})
	}
	return problems
}

// Origin names the field of the spec that a name of the request comes from, whose path there is given: the DNS names that
// serviceName and commonName add stand behind the listed ones.
func Origin(certificate *v1alpha1.MTLSCertificate, clusterDomain, path string) string {
	index := 0
	if _, err := fmt.Sscanf(path, "dnsNames[%d]", &index); err != nil || index < len(certificate.Spec.DNSNames) {
		return path
	}
	if name := names(certificate, clusterDomain).DNSNames[index]; slices.Contains(commonNameAsDNS(certificate.Spec), name) {
		return "commonName"
	}
	return "serviceName"
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
	return slices.DeleteFunc(all, endsInNumber)
}

// endsInNumber tells whether programs would read a name as an IP address (RFC 3696, section 2). None looks for such a name
// in a certificate, though a namespace may be called 2024.
func endsInNumber(name string) bool {
	last := name[strings.LastIndex(name, ".")+1:]
	return strings.Trim(last, "0123456789") == ""
}

// commonNameAsDNS: Go, Java and browsers don't look for a server's name in the common name (RFC 9525, section 1.4.1).
func commonNameAsDNS(spec v1alpha1.MTLSCertificateSpec) []string {
	name := strings.ToLower(spec.CommonName)
	isName := len(validation.IsDNS1123Subdomain(name)) == 0 || len(validation.IsWildcardDNS1123Subdomain(name)) == 0
	if !slices.Contains(spec.Usages, v1alpha1.UsageServer) || !isName || endsInNumber(name) {
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
