package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// A certificate whose names its CA may not sign can't be issued, and its peers depend on its roots all the same.
func TestACertificateThatItsCAMayNotSignGetsTheRoots(t *testing.T) {
	w := newWorld(t)
	r := &rotating{world: w, authority: w.authority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		a.Spec.NameConstraints = &v1alpha1.NameConstraints{
			Permitted: &v1alpha1.NameConstraintSet{DNSDomains: []string{"example.com"}},
		}
	})}
	r.certificates = append(r.certificates, w.issued("a", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.DNSNames = []string{"a.example.com"}
	}))
	edit(w, r.certificates[0], func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "a.other") })
	r.round()
	r.wantReady(r.certificates[0], "False", v1alpha1.ReasonNameConstraintViolation, "a.other")
	r.ask("now")
	r.round()
	r.wantRoots("my-ca, my-ca G2")
	r.wantStage(v1alpha1.StageDistributing, "1/1")
	r.later(6 * time.Minute)
	r.round()
	r.wantBlocker("Secret", "a", "isn't issued again|a.other")
	r.wantNoWrites(func() { r.round() })
}

// The next CA lives so short that it can't issue what there is.
func TestACAThatEndsTooSoonForACertificateDoesNotReplaceTheOneThatSigns(t *testing.T) {
	w := newWorld(t)
	r := &rotating{world: w, authority: w.authority("my-ca")}
	r.certificates = append(r.certificates, w.issued("a", func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration = "8760h" }))
	edit(w, r.authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.Duration = "720h" })
	r.ask("now")
	for range 2 {
		r.round()
		r.later(6 * time.Minute)
	}
	r.round()
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	r.wantBlocker("Secret", "a", "generation 2 can't issue its certificate|less than a tenth")
}

// The Secret of a CA that doesn't sign any more is gone, and certificates of it are in use.
func TestARootThatIsStillNeededStaysWhenItsSecretIsGone(t *testing.T) {
	r := newRotating(t, "a", "b")
	edit(r.world, r.certificates[1], noServer) // is kept
	r.ask("now")
	for range 2 {
		r.round()
		r.later(6 * time.Minute)
	}
	r.round()
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	r.loseKey("my-ca-ca-1")
	for range 3 {
		r.round()
		r.wantRoots("my-ca, my-ca G2")
	}
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	if got := r.issuerOf("a"); got != "my-ca G2" {
		t.Errorf("a was issued by %q", got)
	}
	edit(r.world, r.certificates[1], func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"b.example.com"} })
	r.finish()
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
}

// A certificate that moves to another authority, which denies it, is none of the other's rotations.
func TestACertificateThatIsDeniedAfterItMovedHoldsUpNobody(t *testing.T) {
	r := newRotating(t, "moves")
	other := r.world.authority("other", func(a *v1alpha1.MTLSAuthority) { a.Spec.MaxLeafDuration = "1h" })
	edit(r.world, r.certificates[0], func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "other" })
	second := &rotating{world: r.world, authority: other, certificates: r.certificates}
	second.round()
	second.wantReady(second.certificates[0], "False", v1alpha1.ReasonDenied, "duration")
	second.ask("now")
	for range 4 {
		second.round()
		second.later(6 * time.Minute)
	}
	second.round()
	second.wantReady(other, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	second.wantStage(v1alpha1.StageStable, "")
	if got := second.issuerOf("moves"); got != "my-ca" {
		t.Errorf("it was issued by %q", got)
	}
}

// The root can't be kept under its number when somebody has the name.
func TestARootIsKeptUnderAnotherNumber(t *testing.T) {
	r := newRotating(t, "a")
	edit(r.world, r.certificates[0], noServer) // is kept
	r.ask("now")
	for range 2 {
		r.round()
		r.later(6 * time.Minute)
	}
	r.loseKey("my-ca-ca-1")
	r.foreignSecret("my-ca-ca-1")
	r.told.take()
	r.round()
	r.wantRoots("my-ca, my-ca G2")
	if !r.exists("my-ca-ca-3") {
		t.Error("the root isn't kept")
	}
	r.wantTold("Warning "+v1alpha1.ReasonCASecretConflict, "Warning "+v1alpha1.ReasonCALost)
	r.wantNoWrites(func() { r.round() })
}

// The CA that signed last is lost while the one before is still trusted: that one doesn't sign again without being asked to, as
// pods may not have been told yet to go back to it.
func TestTheOneBeforeALostCADoesNotSignAgain(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	for range 2 {
		r.round()
		r.later(6 * time.Minute)
	}
	r.wantIssuer("my-ca G2")
	r.loseKey("my-ca-ca-2")
	r.round()
	r.wantReady(r.authority, "False", v1alpha1.ReasonCALost, "")
	r.wantIssuer("my-ca G2")
	r.wantRoots("my-ca, my-ca G2, my-ca G3")
	r.later(6 * time.Minute)
	r.round()
	r.wantIssuer("my-ca G3")
	r.later(6 * time.Minute)
	r.round()
	r.wantRoots("my-ca G2, my-ca G3")
	r.later(6 * time.Minute)
	r.round()
	r.wantRoots("my-ca G3")
	r.wantStage(v1alpha1.StageStable, "")
}

// What nobody can renew is brought the roots, also when nothing of the authority is left in it: its pods may still run.
func TestACertificateThatIsKeptGetsTheRootsBack(t *testing.T) {
	r := newRotating(t, "a", "b")
	edit(r.world, r.certificates[0], noServer)
	r.ask("now")
	r.annotate(v1alpha1.IgnoreBlockersAnnotation, "2")
	for range 3 {
		r.round()
		r.later(6 * time.Minute)
	}
	r.wantRoots("my-ca G2") // nobody waited for it
	r.later(time.Hour)
	r.editSecret("a", func(s *corev1.Secret) { delete(s.Data, v1alpha1.BundleKey) })
	r.ask("again")
	r.round()
	r.wantRoots("my-ca G2, my-ca G3")
	r.later(6 * time.Minute)
	r.round()
	if got := r.issuerOf("b"); got != "my-ca G3" {
		t.Errorf("b was issued by %q", got)
	}
}
