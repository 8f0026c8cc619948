package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// replaced is a cluster whose certificate was issued at noon, and whose CA was replaced by another one since.
func replaced(t testing.TB, changes ...change) (c *cluster, old plan.Generation) {
	t.Helper()
	c = running(t, changes...)
	old = plan.Generation{Number: 1, Activated: noon, Issuer: c.in.Issuer}
	c.ca = newCA(t, 10*year, noon)
	c.in.Issuer, c.in.Others = c.ca.Issuer(), []plan.Generation{old}
	c.in.Bundle = old.Issuer.Bundle().Union(c.in.Issuer.Bundle())
	return c, old
}

func TestACertificateOfTheOlderCAIsKeptUntilItsTurn(t *testing.T) {
	c, _ := replaced(t)
	got := plan.Leaf(c.in, noon.Add(day))
	if got.Issue || got.Signed || got.On == nil || got.On.Number != 1 || !got.DeliverTrust {
		t.Errorf("issue %t (%s), signed %t, on %v, deliver trust %t; want kept on 1, with other roots", got.Issue, got.Message,
			got.Signed, got.On, got.DeliverTrust)
	}
	if !got.IssuerSince.Equal(noon) || !got.BundleSince.Equal(noon.Add(day)) {
		t.Errorf("issuer since %s, bundle since %s; want noon and now", got.IssuerSince, got.BundleSince)
	}
	c.in.Turn = true
	got = plan.Leaf(c.in, noon.Add(day))
	if !got.Issue || got.Reason != v1alpha1.ReasonIssuerChanged || !got.IssuerSince.Equal(noon.Add(day)) {
		t.Errorf("its turn: issue %t for %s, issuer since %s", got.Issue, got.Reason, got.IssuerSince)
	}
	c.pass(noon.Add(day))
	if got = plan.Leaf(c.in, noon.Add(2*day)); got.Issue || !got.Signed || got.On != nil {
		t.Errorf("after it: issue %t (%s), signed %t, on %v", got.Issue, got.Message, got.Signed, got.On)
	}
}

// Only ca.crt is written: leaf and key stay, and the time of the issuer with them.
func TestTheRootsAreDeliveredWithoutANewCertificate(t *testing.T) {
	c, _ := replaced(t)
	c.in.Secret.Bundle = c.in.Bundle.PEM()
	got := plan.Leaf(c.in, noon.Add(day))
	if got.Issue || got.DeliverTrust || !got.BundleSince.Equal(noon) {
		t.Errorf("everything is there: issue %t, deliver trust %t, bundle since %s", got.Issue, got.DeliverTrust, got.BundleSince)
	}
	c.in.Bundle = c.in.Issuer.Bundle() // the older one retired
	if got = plan.Leaf(c.in, noon.Add(day)); got.Issue || !got.DeliverTrust || !got.BundleSince.Equal(noon.Add(day)) {
		t.Errorf("a root less: issue %t, deliver trust %t, bundle since %s", got.Issue, got.DeliverTrust, got.BundleSince)
	}
}

// Whatever else asks for a certificate is served at once, and by the one that signs.
func TestACertificateOfTheOlderCAIsIssuedBecause(t *testing.T) {
	for sentence, c := range map[string]struct {
		step   func(testing.TB, *cluster)
		now    time.Time
		reason string
	}{
		"it is due":           {func(testing.TB, *cluster) {}, noon.Add(1500 * time.Hour), v1alpha1.ReasonRenewalDue},
		"a renewal was asked": {wishes(renewToken("x")), noon.Add(day), v1alpha1.ReasonRenewalRequested},
		"its names changed":   {wishes(commonName("x")), noon.Add(day), v1alpha1.ReasonSpecChanged},
		"its key doesn't fit": {
			holds(func(s *plan.LeafSecret) { s.Key = plan.KeyMismatch }), noon.Add(day), v1alpha1.ReasonKeyMismatch,
		},
		"its Secret is gone": {
			func(_ testing.TB, c *cluster) { c.in.Secret = nil }, noon.Add(day), v1alpha1.ReasonSecretMissing,
		},
		"the older CA is no more": {
			func(_ testing.TB, c *cluster) { c.in.Others = nil }, noon.Add(day), v1alpha1.ReasonIssuerChanged,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster, _ := replaced(t)
			c.step(t, cluster)
			got := cluster.pass(c.now)
			if !got.Issue || got.Reason != c.reason || !got.IssuerSince.Equal(c.now) {
				t.Errorf("issue %t for %s, issuer since %s", got.Issue, got.Reason, got.IssuerSince)
			}
			if !cluster.in.Issuer.Issued(cluster.leaf()) {
				t.Error("it wasn't issued by the CA that signs")
			}
			if again := plan.Leaf(cluster.in, c.now); again.Issue {
				t.Errorf("it is issued again for %s", again.Reason)
			}
		})
	}
}

// A certificate that its own CA cut short is renewed by the next one when it is due: it has life to give.
func TestACertificateThatTheOlderCACutShortIsRenewedByTheNextOne(t *testing.T) {
	c := newCluster(t, newCA(t, 30*day, noon), wishOf(t))
	c.pass(noon)
	if got := plan.Leaf(c.in, noon.Add(21*day)); got.Issue || !got.RenewAt.IsZero() {
		t.Fatalf("under the older CA: issue %t, renewed at %s; want never", got.Issue, got.RenewAt)
	}
	c.in.Others = []plan.Generation{{Number: 1, Activated: noon, Issuer: c.in.Issuer}}
	c.ca = newCA(t, 10*year, noon)
	c.in.Issuer = c.ca.Issuer()
	if got := plan.Leaf(c.in, noon.Add(15*day)); got.Issue || got.RenewAt.IsZero() || got.Expiring {
		t.Errorf("before it is due: issue %t, renewed at %s, expiring %t", got.Issue, got.RenewAt, got.Expiring)
	}
	if got := plan.Leaf(c.in, noon.Add(21*day)); got.Reason != v1alpha1.ReasonRenewalDue {
		t.Errorf("when it is due: %s (%s)", got.Reason, got.Message)
	}
}

// Of several older ones the newest that signed it counts, and Generation tells which it is.
func TestTheGenerationOfACertificate(t *testing.T) {
	c, old := replaced(t)
	twin := plan.Generation{Number: 2, Activated: noon, Issuer: old.Issuer}
	third := plan.Generation{Number: 3, Activated: noon, Issuer: newCA(t, year, noon).Issuer()}
	signer := plan.Generation{Number: 4, Issuer: c.in.Issuer}
	c.in.Others = []plan.Generation{old, twin, third}
	decided := plan.Leaf(c.in, noon)
	if on, found := decided.Generation(signer); !found || on.Number != 2 {
		t.Errorf("it is of %d, found %t; want 2", on.Number, found)
	}
	c.in.Turn = true
	c.pass(noon)
	decided = plan.Leaf(c.in, noon)
	if on, found := decided.Generation(signer); !found || on.Number != 4 {
		t.Errorf("it is of %d, found %t; want the signer's", on.Number, found)
	}
	c.in.Secret.Certificate = nil
	decided = plan.Leaf(c.in, noon)
	if on, found := decided.Generation(signer); found {
		t.Errorf("there is none, and it is of %d", on.Number)
	}
}

// renewedAbove is a certificate of an imported intermediate, and that intermediate renewed with its key under the same root.
func renewedAbove(t testing.TB) (c *cluster, old, renewed pki.Issuer) {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := handmade(t, "root", rootKey, nil, nil)
	first := imported(t, key, handmade(t, "intermediate", key, root, rootKey), root)
	c = newCluster(t, first, wishOf(t))
	c.pass(noon)
	second := imported(t, key, handmade(t, "intermediate", key, root, rootKey), root)
	return c, first.Issuer(), second.Issuer()
}

// An intermediate is sent with the certificate: one that was renewed with its key has to be sent instead.
func TestARenewedIntermediateIsSent(t *testing.T) {
	c, old, renewed := renewedAbove(t)
	c.in.Others = []plan.Generation{{Number: 1, Activated: noon, Issuer: old}}
	c.in.Issuer = renewed
	c.in.Turn = true
	if got := plan.Leaf(c.in, noon.Add(day)); !got.Issue {
		t.Error("it isn't issued again")
	}
}

// A thousand certificates have their turns, whatever happens between: each is issued once.
func TestACertificateIsIssuedOncePerSigner(t *testing.T) {
	c, _ := replaced(t)
	c.in.Turn = true
	now := noon.Add(day)
	for _, turn := range []bool{true, true, false, true, false} {
		c.in.Turn = turn
		c.pass(now)
		now = now.Add(time.Minute)
	}
	if len(c.issued) != 2 || !slices.IsSortedFunc(c.issued, func(a, b life) int { return a.from.Compare(b.from) }) {
		t.Errorf("%d certificates: %v", len(c.issued), c.issued)
	}
}
