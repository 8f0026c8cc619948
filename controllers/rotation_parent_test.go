package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// family is an authority that signs another one, which has a certificate.
type family struct {
	*rotating
	parent *v1alpha1.MTLSAuthority
}

func newFamily(t *testing.T) *family {
	t.Helper()
	w := newWorld(t)
	f := &family{rotating: &rotating{world: w}}
	f.parent = w.authority("root", func(a *v1alpha1.MTLSAuthority) { a.Spec.MaxPathLength = new(int32(1)) })
	f.authority = w.authority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		a.Spec.SignedBy = &v1alpha1.SignedBy{Name: "root"}
		a.Spec.Duration = "2160h"
	})
	f.certificates = append(f.certificates, w.issued("a"))
	return f
}

// generation is a round over all of them, the parent first and last.
func (f *family) generation() {
	f.t.Helper()
	f.reconcileAuthority(f.parent)
	f.round()
	f.reconcileAuthority(f.parent)
	f.round()
}

func TestACertificateOfAnIntermediate(t *testing.T) {
	f := newFamily(t)
	f.wantReady(f.authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "generation 1 signs")
	f.wantRoots("root")
	f.wantIssuer("my-ca")
	chain, err := pki.ParseCertificates(f.secret("a").Data[v1alpha1.CertificateKey])
	f.check(err)
	if got := commonNames(chain[1:]); got != "my-ca" {
		t.Errorf("the certificate is followed by %q, want %q", got, "my-ca")
	}
	f.wantQuiet(f.certificates[0])
	f.wantNoWrites(func() { f.generation() })
}

func TestAnIntermediateRotatesUnderTheSameRoot(t *testing.T) {
	f := newFamily(t)
	f.ask("now")
	f.finish()
	f.wantIssuer("my-ca G2")
	f.wantRoots("root")
}

func TestTheParentOfAnIntermediateRotates(t *testing.T) {
	f := newFamily(t)
	f.later(time.Minute)
	edit(f.world, f.parent, func(a *v1alpha1.MTLSAuthority) {
		a.Annotations[v1alpha1.RotateRequestedAtAnnotation] = "now"
	})
	f.generation()
	f.wantRoots("root, root G2")
	f.wantIssuer("my-ca")

	for range 5 {
		f.later(6 * time.Minute)
		f.generation()
	}
	f.wantIssuer("my-ca G2")
	f.wantRoots("root G2")
	f.wantStage(v1alpha1.StageStable, "")
	for _, name := range []string{"root-ca-1", "my-ca-ca-1"} {
		if f.exists(name) {
			t.Errorf("Secret %q is still there", name)
		}
	}
}

// parentRows has every reason of Ready=False that an authority has because of the one above it.
var parentRows = []authorityRow{
	{
		sentence: "the authority above doesn't exist", reason: v1alpha1.ReasonParentNotReady,
		spec:    signedBy("", "root"),
		message: `spec.signedBy: MTLSAuthority "root" doesn't exist in this namespace|create it`, waits: true,
	},
	{
		sentence: "the authority above is elsewhere and permits nobody", reason: v1alpha1.ReasonParentNotReady,
		spec: signedBy("default", "root"), waits: true,
		message: `spec.signedBy: there is no MTLSAuthority "default/root" that signs authorities|spec.allowedAuthorities`,
	},
	{
		sentence: "the authority above has no CA", reason: v1alpha1.ReasonParentNotReady,
		before:  func(w *world) { w.authority("root", imports("none")) },
		spec:    signedBy("", "root"),
		message: `spec.signedBy: MTLSAuthority "root" cannot sign now|Secret "none" doesn't exist`, waits: true,
	},
	{
		sentence: "the authority above has no room for another one", reason: v1alpha1.ReasonParentRefuses,
		before:  func(w *world) { w.authority("root") },
		spec:    signedBy("", "root"),
		message: "spec.maxPathLength",
	},
}

func signedBy(namespace, name string) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) {
		a.Spec.SignedBy = &v1alpha1.SignedBy{Namespace: namespace, Name: name}
	}
}

func TestAnAuthorityThatSignedAnotherIsHeld(t *testing.T) {
	f := newFamily(t)
	f.check(f.admin.Delete(f.ctx, f.parent))
	f.seesDeletion(f.parent)
	f.reconcileAuthority(f.parent)
	f.wantCondition(f.parent, "Stalled", "True", v1alpha1.ReasonInUse, `MTLSAuthorities refer to it ("my-ca" in this namespace)`)
}
