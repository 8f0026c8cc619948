package plan_test

import (
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func rotation(policy v1alpha1.RotationPolicy) change {
	return func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.RotationPolicy = policy }
}

func TestTheKeyIsUsedAgain(t *testing.T) {
	never := rotation(v1alpha1.RotationNever)
	for sentence, c := range map[string]struct {
		policy v1alpha1.RotationPolicy
		step   func(testing.TB, *cluster)
		want   bool
	}{
		"with Never, in a renewal that was asked for": {v1alpha1.RotationNever, func(t testing.TB, c *cluster) {
			c.in.Wish = wishOf(t, never, renewToken("x"))
		}, true},
		"with Never, for another name": {v1alpha1.RotationNever, func(t testing.TB, c *cluster) {
			c.in.Wish = wishOf(t, never, commonName("x"))
		}, true},
		"with Never, in another encoding": {v1alpha1.RotationNever, func(t testing.TB, c *cluster) {
			c.in.Wish = wishOf(t, never, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Encoding = v1alpha1.EncodingPKCS1 })
		}, true},
		"with Never, under another CA": {v1alpha1.RotationNever, func(t testing.TB, c *cluster) {
			c.in.Issuer = newCA(t, year, noon).Issuer()
		}, true},
		"not with Never when it is of another type": {v1alpha1.RotationNever, func(t testing.TB, c *cluster) {
			c.in.Wish = wishOf(t, never, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Type = "ECDSAP384" })
		}, false},
		"not with Never when it is another's": {v1alpha1.RotationNever, holds(func(s *plan.LeafSecret) {
			s.Key = plan.KeyMismatch
		}), false},
		"not with Never when it is damaged": {v1alpha1.RotationNever, holds(func(s *plan.LeafSecret) {
			s.Key = plan.KeyMalformed
		}), false},
		"not with Never when it is gone": {v1alpha1.RotationNever, holds(func(s *plan.LeafSecret) {
			s.Key = plan.KeyMissing
		}), false},
		"not with Never when nothing tells whose it is": {v1alpha1.RotationNever, holds(func(s *plan.LeafSecret) {
			s.Certificate = nil
		}), false},
		"not with Never when there is no Secret": {v1alpha1.RotationNever, func(_ testing.TB, c *cluster) {
			c.in.Secret = nil
		}, false},
		"not with Never when nothing is issued": {v1alpha1.RotationNever, func(testing.TB, *cluster) {}, false},
		"not with Always": {v1alpha1.RotationAlways, func(t testing.TB, c *cluster) {
			c.in.Wish = wishOf(t, renewToken("x"))
		}, false},
		"not when unset": {"", func(t testing.TB, c *cluster) { c.in.Wish = wishOf(t, rotation(""), renewToken("x")) }, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t, rotation(c.policy))
			c.step(t, cluster)
			if got := plan.Leaf(cluster.in, noon.Add(time.Hour)); got.ReuseKey != c.want {
				t.Errorf("got %t, want %t (%s: %s)", got.ReuseKey, c.want, got.Reason, got.Message)
			}
		})
	}
}

// Each step is the annotation as people set it, one after the other: an empty one is none.
func TestARenewalTokenIsServedOnce(t *testing.T) {
	cluster := running(t)
	for _, step := range []struct {
		sentence, token string
		issue           bool
	}{
		{"no annotation", "", false},
		{"a first token", "2026-11-24", true},
		{"the same token again", "2026-11-24", false},
		{"the annotation is removed", "", false},
		{"the served token is set again", "2026-11-24", false},
		{"an earlier time: tokens aren't times", "1999-01-01", true},
		{"any other text", " ", true},
		{"a first token again, which isn't the last one served", "2026-11-24", true},
	} {
		cluster.in.Wish = wishOf(t, renewToken(step.token))
		got := cluster.pass(noon.Add(time.Minute))
		if got.Issue != step.issue {
			t.Errorf("%s: issue is %t, want %t", step.sentence, got.Issue, step.issue)
		}
		if again := cluster.pass(noon.Add(time.Minute)); again.Issue {
			t.Errorf("%s: it is served twice", step.sentence)
		}
	}
}

// A token is recorded by whatever write there is: one that was set with another change isn't served by itself later.
func TestARenewalTokenIsServedByAnIssueForAnotherReason(t *testing.T) {
	cluster := running(t)
	cluster.in.Wish = wishOf(t, renewToken("x"), commonName("x"))
	if got := cluster.pass(noon); got.Reason != v1alpha1.ReasonSpecChanged {
		t.Errorf("the reason is %s, want SpecChanged", got.Reason)
	}
	if got := cluster.pass(noon); got.Issue {
		t.Errorf("it is issued once more, for %s", got.Reason)
	}
}

func TestFactsOfTheSecret(t *testing.T) {
	later := noon.Add(day)
	const kept, now = "kept", "now"
	otherCA := func(t testing.TB, c *cluster) { c.ca = newCA(t, year, noon); c.in.Issuer = c.ca.Issuer() }
	for sentence, c := range map[string]struct {
		step           func(testing.TB, *cluster)
		issuer, bundle string // since when
		deliver        bool
	}{
		"stay when nothing happens":            {func(testing.TB, *cluster) {}, kept, kept, false},
		"stay in a renewal":                    {wishes(renewToken("x")), kept, kept, false},
		"stay when a name is added":            {wishes(commonName("x")), kept, kept, false},
		"begin anew under another CA":          {otherCA, now, now, true},
		"begin with the Secret":                {func(_ testing.TB, c *cluster) { c.in.Secret = nil }, now, now, true},
		"the roots change alone":               {holds(func(s *plan.LeafSecret) { s.Bundle = nil }), kept, now, true},
		"the roots have a comment in front":    {holds(commentedRoots), kept, now, true},
		"the certificate is damaged":           {holds(func(s *plan.LeafSecret) { s.Certificate = nil }), now, kept, false},
		"only the issuer's is lost":            {holds(func(s *plan.LeafSecret) { s.IssuerSince = time.Time{} }), now, kept, false},
		"only the roots' is lost":              {holds(func(s *plan.LeafSecret) { s.BundleSince = time.Time{} }), kept, now, false},
		"the key doesn't matter to who signed": {holds(func(s *plan.LeafSecret) { s.Key = plan.KeyMissing }), kept, kept, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t)
			c.step(t, cluster)
			got := plan.Leaf(cluster.in, later)
			times := map[string]time.Time{kept: noon, now: later}
			if !got.IssuerSince.Equal(times[c.issuer]) {
				t.Errorf("issuer since %s, want %s (%s)", got.IssuerSince, times[c.issuer], c.issuer)
			}
			if !got.BundleSince.Equal(times[c.bundle]) {
				t.Errorf("bundle since %s, want %s (%s)", got.BundleSince, times[c.bundle], c.bundle)
			}
			if got.DeliverTrust != c.deliver {
				t.Errorf("deliver trust is %t, want %t", got.DeliverTrust, c.deliver)
			}
			cluster.pass(later)
			if again := plan.Leaf(cluster.in, later.Add(time.Hour)); again.DeliverTrust || again.Issue {
				t.Errorf("the next pass writes again: issue %t, deliver trust %t", again.Issue, again.DeliverTrust)
			}
		})
	}
}

func commentedRoots(s *plan.LeafSecret) { s.Bundle = append([]byte("#\n"), s.Bundle...) }

// What another CA signed keeps that one's roots while a new one cannot be issued: Signed tells.
func TestSignedTellsWhoseRootsBelongToTheCertificate(t *testing.T) {
	cluster := running(t)
	if got := plan.Leaf(cluster.in, noon); !got.Signed {
		t.Error("it was signed by the issuer, and isn't Signed")
	}
	cluster.in.Issuer = newCA(t, time.Hour, noon).Issuer()
	if got := plan.Leaf(cluster.in, noon.Add(time.Minute)); got.Signed || got.Issue || !got.Expiring {
		t.Errorf("got signed %t, issue %t, expiring %t; want only expiring", got.Signed, got.Issue, got.Expiring)
	}
	cluster.in.Secret.Certificate = nil
	if got := plan.Leaf(cluster.in, noon); got.Signed || got.Certificate != nil {
		t.Errorf("there is no certificate, and signed is %t", got.Signed)
	}
}

func TestANewCertificateLives(t *testing.T) {
	young := newCA(t, 100*day, noon) // until then
	backdated := func(at time.Time) time.Time { return at.Add(-pki.Backdate) }
	for sentence, c := range map[string]struct {
		duration v1alpha1.Duration
		now      time.Time
		want     pki.Validity
	}{
		"for its duration from now on, and backdated": {
			"240h", noon.Add(day), pki.Validity{NotBefore: backdated(noon.Add(day)), NotAfter: noon.Add(11 * day)},
		},
		"for 2160h when unset": {"", noon, pki.Validity{NotBefore: backdated(noon), NotAfter: noon.Add(90 * day)}},
		"no longer than its CA": {
			"2160h", noon.Add(20 * day), pki.Validity{NotBefore: backdated(noon.Add(20 * day)), NotAfter: noon.Add(100 * day)},
		},
		"in whole seconds": {
			"10m", noon.Add(day + time.Second/2), pki.Validity{
				NotBefore: backdated(noon.Add(day)), NotAfter: noon.Add(day + 10*time.Minute),
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			wish := wishOf(t, func(x *v1alpha1.MTLSCertificate) { x.Spec.Duration = c.duration })
			if got := newCluster(t, young, wish).pass(c.now); got.Validity != c.want || !got.Issue {
				t.Errorf("issue is %t, validity %s; want %s", got.Issue, got.Validity, c.want)
			}
		})
	}
}
