package controllers

import (
	"crypto/x509"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func TestARenewalThatIsAskedForIsServedExactlyOnce(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello")
	// The values are opaque: what they say, and which is the later one, doesn't matter.
	for _, token := range []string{"2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "please", `{"by": "me"}`} {
		before := w.soundLeaf("hello")
		w.requestRenewal(certificate, token)
		w.reconcileCertificate(certificate)
		w.wantOneEvent("Normal "+v1alpha1.ReasonRenewalRequested, "")
		after := w.soundLeaf("hello")
		if after.Equal(before) {
			t.Errorf("%q wasn't served", token)
		}
		if served := w.secret("hello").Annotations["mtls-operator.io/renew-served"]; served != token {
			t.Errorf("served is %q, want %q", served, token)
		}
		w.wantCertificateAtRest(certificate)
		w.restart()
		w.wantCertificateAtRest(certificate)
	}

	before := w.secret("hello")
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Annotations = nil })
	w.wantCertificateAtRest(certificate)
	w.wantUntouched(before)
}

func TestAnyCertificateServesTheRenewalThatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": "from the start"}
	})
	w.reconcileCertificate(certificate)
	w.wantCertificateAtRest(certificate)

	w.requestRenewal(certificate, "again")
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"other"} })
	w.reconcileCertificate(certificate)
	w.wantOneEvent("Normal "+v1alpha1.ReasonSpecChanged, "")
	w.wantCertificateAtRest(certificate)
}

func TestARenewalComesAtTheTimeThatStatusTells(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.RenewBefore = "24h" })
	wait := w.reconcileCertificate(certificate).RequeueAfter
	renewal := certificate.Status.Certificate.RenewalTime
	if at := w.clock.Now().Add(wait).Truncate(time.Second); !at.Equal(renewal.Time) {
		t.Errorf("the next pass is at %v, status tells %v", at, renewal)
	}
	life := certificate.Status.Certificate.NotAfter.Sub(certificate.Status.Certificate.NotBefore.Time)
	if before := certificate.Status.Expires.Sub(renewal.Time); before < 24*time.Hour || before > 24*time.Hour+life/20 {
		t.Errorf("it is renewed %v before its end, want 24h and at most a twentieth of its life more", before)
	}
	first := w.soundLeaf("hello")
	w.clock.SetTime(renewal.Add(-time.Second))
	w.wantQuiet(certificate)
	w.restart() // a new process finds the same time
	if again := w.reconcileCertificate(certificate).RequeueAfter; again != time.Second {
		t.Errorf("after a restart the next pass is in %v", again)
	}
	w.clock.SetTime(renewal.Time)
	w.reconcileCertificate(certificate)
	w.wantOneEvent("Normal "+v1alpha1.ReasonRenewalDue, "it ends at")
	if w.soundLeaf("hello").Equal(first) {
		t.Error("it wasn't renewed")
	}
}

func TestAChangeOfDurationsAloneDoesNotIssue(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("hello")
	before := w.secret("hello")
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration, c.Spec.RenewBefore = "1000h", "10h" })
	w.reconcileCertificate(certificate)
	w.wantUntouched(before)
	w.wantCertificateAtRest(certificate)
}

// TestACertificateLivesUntilItsAuthorityEnds goes from one time that the operator asks for to the next, through all
// renewals of a certificate, until its CA ends: an imported one, which only people can renew.
func TestACertificateLivesUntilItsAuthorityEnds(t *testing.T) {
	w := newWorld(t)
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "my-ca"}}
	ca := makeCA(t, "imported", nil, func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(100 * time.Hour) })
	w.putSecret("imported", "", ca.secret())
	imports("imported")(authority)
	w.create(authority)
	authorityNext := w.clock.Now().Add(w.reconcileAuthority(authority).RequeueAfter)
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration = "24h" })
	next := w.clock.Now().Add(w.reconcileCertificate(certificate).RequeueAfter)
	leaf := w.soundLeaf("hello")
	end := authority.Status.Expires.Time
	var reasons []string
	issued := 1
	for w.clock.Now().Before(end.Add(time.Minute)) {
		if next.Before(w.clock.Now()) || issued > 20 {
			t.Fatalf("issued %d certificates; the next pass is at %v, now is %v", issued, next, w.clock.Now())
		}
		w.clock.SetTime(earliest(next, authorityNext, end.Add(time.Minute)))
		if w.clock.Now().Equal(authorityNext) {
			authorityNext = end.Add(8760 * time.Hour)
			w.reconcileAuthority(authority)
		}
		wait := w.reconcileCertificate(certificate).RequeueAfter
		if next = w.clock.Now().Add(wait); wait == 0 {
			next = end.Add(8760 * time.Hour)
		}
		reason := meta.FindStatusCondition(certificate.Status.Conditions, "Ready").Reason
		// A last renewal that gains less than a tenth isn't made.
		lost := w.clock.Now().After(leaf.NotAfter) && leaf.NotAfter.Before(end.Add(-24*time.Hour/10))
		if lost || w.clock.Now().After(leaf.NotAfter) && reason == v1alpha1.ReasonIssued {
			t.Fatalf("at %v the certificate has ended, and status says %s", w.clock.Now(), reason)
		}
		if standing := w.leaf("hello"); !standing.Equal(leaf) {
			leaf = w.soundLeaf("hello")
			issued++
		}
		if leaf.NotAfter.After(end) {
			t.Fatalf("the certificate ends at %v, its CA at %v", leaf.NotAfter, end)
		}
		if len(reasons) == 0 || reasons[len(reasons)-1] != reason {
			reasons = append(reasons, reason)
		}
	}
	if issued < 6 || issued > 9 {
		t.Errorf("%d certificates were issued in 100h, each for 24h", issued)
	}
	want := []string{v1alpha1.ReasonIssued, v1alpha1.ReasonAuthorityExpiring, v1alpha1.ReasonAuthorityNotReady}
	if len(reasons) != 3 || reasons[0] != want[0] || reasons[1] != want[1] || reasons[2] != want[2] {
		t.Errorf("reasons were %q, want %q", reasons, want)
	}
	w.wantReady(authority, "False", v1alpha1.ReasonCAExpired, "")
	w.wantReady(certificate, "False", v1alpha1.ReasonAuthorityNotReady, `"my-ca"|ended at`)
	if leaf.NotAfter.Before(end.Add(-24 * time.Hour / 10)) {
		t.Errorf("the last certificate ends at %v, its CA at %v", leaf.NotAfter, end)
	}
	w.wantNoWrites(func() { w.reconcileCertificate(certificate) })
}

func earliest(times ...time.Time) time.Time {
	first := times[0]
	for _, at := range times[1:] {
		if at.Before(first) {
			first = at
		}
	}
	return first
}

// leaf reads the certificate in a Secret, without looking whether it is any good.
func (w *world) leaf(name string) *x509.Certificate {
	w.t.Helper()
	certificates, err := pki.ParseCertificates(w.secret(name).Data["tls.crt"])
	w.check(err)
	return certificates[0]
}
