package controllers

import (
	"crypto/x509"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// newImporting is an authority that imported a pair, with a certificate.
func newImporting(t *testing.T, pair *madeCA) *rotating {
	t.Helper()
	w := newWorld(t)
	w.putSecret("pair", "", pair.secret())
	r := &rotating{world: w, authority: w.authority("my-ca", imports("pair"))}
	r.certificates = append(r.certificates, w.issued("a"))
	r.later(time.Hour)
	return r
}

// swap the pair for another one.
func (r *rotating) swap(pair *madeCA) {
	r.t.Helper()
	r.editSecret("pair", func(s *corev1.Secret) { s.Data = pair.secret() })
}

func TestAnotherImportedPairIsRotatedTo(t *testing.T) {
	r := newImporting(t, makeCA(t, "one", nil, nil))
	r.swap(makeCA(t, "two", nil, nil))
	r.finish()
	r.wantIssuer("two")
	r.wantRoots("two")
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 2 signs")
	r.wantNoWrites(func() { r.later(time.Hour); r.round() })
}

// What was to be the next CA is given up before it signs.
func TestAnImportedPairThatIsSwappedTwice(t *testing.T) {
	r := newImporting(t, makeCA(t, "one", nil, nil))
	r.swap(makeCA(t, "two", nil, nil))
	r.round()
	r.wantRoots("one, two")
	r.swap(makeCA(t, "three", nil, nil))
	r.round()
	r.wantIssuer("one")
	for range 4 {
		r.later(6 * time.Minute)
		r.round()
	}
	r.wantIssuer("three")
	r.wantRoots("three")
	r.wantStage(v1alpha1.StageStable, "")
}

func TestAnImportedPairThatIsSwappedBack(t *testing.T) {
	for sentence, wait := range map[string]time.Duration{"before it signs": 0, "while it signs": 6 * time.Minute} {
		t.Run(sentence, func(t *testing.T) {
			one := makeCA(t, "one", nil, nil)
			r := newImporting(t, one)
			leaf := r.leaf("a")
			r.swap(makeCA(t, "two", nil, nil))
			r.round()
			r.later(wait)
			r.round()
			r.swap(one)
			for range 6 {
				r.round()
				r.later(6 * time.Minute)
			}
			r.wantIssuer("one")
			r.wantRoots("one")
			r.wantStage(v1alpha1.StageStable, "")
			if same := r.leaf("a").Equal(leaf); same != (wait == 0) {
				t.Errorf("the certificate is the same: %v", same)
			}
			r.wantCondition(r.authority, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "")
			r.wantNoWrites(func() { r.later(time.Hour); r.round() })
		})
	}
}

// The certificate of a CA was renewed, with the same key. Everybody must have the new one before the old one ends; what was
// issued is as good as it was.
func TestAnImportedPairThatIsRenewedWithTheSameKeyIssuesNothing(t *testing.T) {
	one := makeCA(t, "one", nil, nil)
	r := newImporting(t, one)
	leaf := r.leaf("a")
	renewed := makeCAWithKey(t, "one", one.key, nil, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(8760 * time.Hour) })
	r.swap(renewed)
	r.round()
	r.wantRoots("one, one")
	for range 3 {
		r.later(6 * time.Minute)
		r.round()
		r.soundLeaf("a")
	}
	r.wantRoots("one")
	r.wantStage(v1alpha1.StageStable, "")
	if !r.leaf("a").Equal(leaf) {
		t.Error("the certificate was issued again")
	}
	if got := r.authority.Status.Expires; !got.Time.Equal(renewed.certificate.NotAfter) {
		t.Errorf("the CA ends at %v", got)
	}
	r.wantNoWrites(func() { r.later(time.Hour); r.round() })
}

// A pair that is refused leaves everything as it is, and the next good one is taken.
func TestAfterABadPairAGoodOneIsTaken(t *testing.T) {
	r := newImporting(t, makeCA(t, "one", nil, nil))
	r.swap(makeCA(t, "short", nil, func(c *x509.Certificate) { c.NotAfter = r.clock.Now().Add(100 * time.Hour) }))
	r.round()
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonImportedTooShort, "")
	r.wantRoots("one")
	r.swap(makeCA(t, "good", nil, nil))
	r.finish()
	r.wantIssuer("good")
}
