package controllers

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// rotating is an authority with certificates, whose rotation is followed step by step.
type rotating struct {
	*world
	authority    *v1alpha1.MTLSAuthority
	certificates []*v1alpha1.MTLSCertificate
}

func newRotating(t *testing.T, names ...string) *rotating {
	t.Helper()
	w := newWorld(t)
	r := &rotating{world: w, authority: w.authority("my-ca")}
	for _, name := range names {
		r.certificates = append(r.certificates, w.issued(name))
	}
	return r
}

// ask for a rotation.
func (r *rotating) ask(token string) {
	r.t.Helper()
	r.later(time.Minute)
	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) {
		a.Annotations[v1alpha1.RotateRequestedAtAnnotation] = token
	})
}

// later lets time go by.
func (r *rotating) later(by time.Duration) { r.clock.SetTime(r.clock.Now().Add(by)) }

// round makes a pass over everything, as the events of what was written would.
func (r *rotating) round() {
	r.t.Helper()
	r.reconcileAuthority(r.authority)
	for _, certificate := range r.certificates {
		r.reconcileCertificate(certificate)
	}
	r.reconcileAuthority(r.authority)
}

// roots are the generations whose CA a Secret trusts, by the common name.
func (r *rotating) roots(name string) string {
	r.t.Helper()
	certificates, err := pki.ParseCertificates(r.secret(name).Data[v1alpha1.BundleKey])
	r.check(err)
	return commonNames(certificates)
}

func (r *rotating) issuerOf(name string) string {
	r.t.Helper()
	certificates, err := pki.ParseCertificates(r.secret(name).Data[v1alpha1.CertificateKey])
	r.check(err)
	return certificates[0].Issuer.CommonName
}

// commonNames come in the order of the alphabet: certificates of one second have none in a bundle.
func commonNames(certificates []*x509.Certificate) string {
	names := make([]string, len(certificates))
	for i, certificate := range certificates {
		names[i] = certificate.Subject.CommonName
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (r *rotating) wantStage(stage v1alpha1.RotationStage, progress string) {
	r.t.Helper()
	r.check(r.admin.Get(r.ctx, client.ObjectKeyFromObject(r.authority), r.authority))
	rotation := r.authority.Status.Rotation
	if rotation == nil || rotation.Stage != stage || rotation.Progress != progress {
		r.t.Fatalf("the rotation is %+v, want %s %s", rotation, stage, progress)
	}
}

func (r *rotating) wantRoots(want string) {
	r.t.Helper()
	for _, certificate := range r.certificates {
		if got := r.roots(certificate.Name); got != want {
			r.t.Fatalf("%s trusts %q, want %q", certificate.Name, got, want)
		}
	}
}

func (r *rotating) wantIssuer(want string) {
	r.t.Helper()
	for _, certificate := range r.certificates {
		if got := r.issuerOf(certificate.Name); got != want {
			r.t.Fatalf("%s was issued by %q, want %q", certificate.Name, got, want)
		}
	}
}

func TestARotationDeliversThenSignsThenRetires(t *testing.T) {
	r := newRotating(t, "a", "b", "c")
	r.ask("now")

	r.round()
	r.wantStage(v1alpha1.StageDistributing, "3/3")
	r.wantRoots("my-ca, my-ca G2")
	r.wantIssuer("my-ca")

	r.later(4 * time.Minute)
	r.round()
	r.wantStage(v1alpha1.StageDistributing, "3/3")
	r.wantIssuer("my-ca")

	r.later(2 * time.Minute)
	r.round()
	r.wantIssuer("my-ca G2")
	r.wantRoots("my-ca, my-ca G2")
	r.wantStage(v1alpha1.StageRetiring, "")

	r.later(6 * time.Minute)
	r.round()
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
	err := r.admin.Get(r.ctx, types.NamespacedName{Namespace: r.namespace, Name: "my-ca-ca-1"}, secretMetadata())
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Fatalf("the Secret of generation 1 is still there: %v", err)
	}
	for _, certificate := range r.certificates {
		r.wantQuiet(certificate)
	}
}
