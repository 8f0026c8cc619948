package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func lives(duration, renewBefore v1alpha1.Duration) change {
	return func(c *v1alpha1.MTLSCertificate) { c.Spec.Duration, c.Spec.RenewBefore = duration, renewBefore }
}

// The jitter takes up to a twentieth of the life off: that much is the width of each window.
func TestACertificateIsRenewedBeforeItsEndBy(t *testing.T) {
	for sentence, c := range map[string]struct {
		duration, renewBefore v1alpha1.Duration
		least                 time.Duration
	}{
		"a third of its life when unset":              {"2160h", "", 720 * time.Hour},
		"what was asked":                              {"2160h", "240h", 240 * time.Hour},
		"a minute, if that is what was asked":         {"2160h", "1m", time.Minute},
		"a third when more was asked":                 {"2160h", "1900h", 720 * time.Hour},
		"a third of the shortest life":                {"10m", "", 200 * time.Second},
		"a third of the shortest, when more was so":   {"10m", "8m59s", 200 * time.Second},
		"a third of what the CA's end is far beyond":  {"1h30m", "", 30 * time.Minute},
		"a third of the longest life under its CA":    {"70000h", "", 70000 * time.Hour / 3},
		"what was asked of the longest life":          {"70000h", "72h", 72 * time.Hour},
		"seconds, which the schema doesn't ask about": {"12m34s", "61s", 61 * time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t, lives(c.duration, c.renewBefore))
			got := plan.Leaf(cluster.in, noon)
			life := cluster.leaf().NotAfter.Sub(noon)
			before := got.Certificate.NotAfter.Sub(got.RenewAt)
			if before < c.least || before > c.least+life/20 {
				t.Errorf("it is renewed %s before its end, want %s to %s", before, c.least, c.least+life/20)
			}
			if !got.Next.Equal(got.RenewAt) {
				t.Errorf("next is %s, want %s", got.Next, got.RenewAt)
			}
			if early := plan.Leaf(cluster.in, got.RenewAt.Add(-1)); early.Issue {
				t.Errorf("it is issued a moment before: %s", early.Message)
			}
			due := plan.Leaf(cluster.in, got.RenewAt)
			want := "it ends at " + cluster.leaf().NotAfter.Format(time.RFC3339)
			if !due.Issue || due.Reason != v1alpha1.ReasonRenewalDue || due.Message != want {
				t.Errorf("at its time: issue %t, %s: %q; want %q", due.Issue, due.Reason, due.Message, want)
			}
		})
	}
}

// Whoever makes a thousand certificates in one minute doesn't renew a thousand in one minute.
func TestRenewalsAreSpread(t *testing.T) {
	cluster := running(t)
	life := cluster.leaf().NotAfter.Sub(noon)
	latest := cluster.leaf().NotAfter.Add(-life / 3)
	const slots, all = 20, 1000
	var counts [slots]int
	for i := range all {
		cluster.in.UID = types.UID(fmt.Sprintf("4f9c2d7e-0000-4000-8000-%012d", i))
		at := plan.Leaf(cluster.in, noon).RenewAt
		early := latest.Sub(at)
		if early < 0 || early >= life/20 {
			t.Fatalf("certificate %d is renewed %s before it is due, want less than %s", i, early, life/20)
		}
		if again := plan.Leaf(cluster.in, noon.Add(day)).RenewAt; !again.Equal(at) {
			t.Fatalf("certificate %d was to be renewed at %s and is a day later at %s", i, at, again)
		}
		counts[early*slots/(life/20)]++
	}
	if slices.Min(counts[:]) < all/slots/2 || slices.Max(counts[:]) > all/slots*2 {
		t.Errorf("the renewals aren't spread evenly: %d", counts)
	}
}

// The end of the CA cuts certificates short: without the rule that a renewal must gain a tenth, each of them would be due
// as soon as it is made.
func TestTheEndOfTheCA(t *testing.T) {
	for sentence, c := range map[string]struct {
		duration, renewBefore v1alpha1.Duration
		left                  time.Duration // of the CA's life when the certificate is first made
		issues                int
		expiring              time.Duration // before the end of the CA: at a tenth of the duration, or when it is due
	}{
		"is near, and more than the renewal window is left": {"2160h", "720h", 1000 * time.Hour, 1, 216 * time.Hour},
		"is near, and the rest is in the renewal window":    {"2160h", "720h", 500 * time.Hour, 1, 500 * time.Hour / 3},
		"is near, and a large window was asked for":         {"2160h", "1900h", 500 * time.Hour, 1, 500 * time.Hour / 3},
		"is near, and a small window was asked for":         {"2160h", "1m", 500 * time.Hour, 1, time.Minute},
		"is at a tenth of the duration":                     {"2160h", "", 216 * time.Hour, 1, 72 * time.Hour},
		"is a whole life away":                              {"2160h", "", 2160 * time.Hour, 1, 216 * time.Hour},
		"is a life and less than the gain away":             {"2160h", "", 2375 * time.Hour, 1, 216 * time.Hour},
		"is a life and just the gain away":                  {"2160h", "", 2376 * time.Hour, 2, 216 * time.Hour},
		"is two lives away":                                 {"2160h", "1m", 4320 * time.Hour, 2, time.Minute},
	} {
		t.Run(sentence, func(t *testing.T) {
			end := noon.Add(10 * year)
			cluster := newCluster(t, newCA(t, 10*year, noon), wishOf(t, lives(c.duration, c.renewBefore)))
			now, passes := end.Add(-c.left), 0
			var expiring time.Time
			for ; !now.IsZero(); passes++ {
				p := cluster.pass(now)
				if p.Expiring && expiring.IsZero() {
					expiring = now
				}
				now = plan.Leaf(cluster.in, now).Next
			}
			if len(cluster.issued) != c.issues {
				t.Errorf("it is issued %d times, want %d: %v", len(cluster.issued), c.issues, cluster.issued)
			}
			// A second late, or early by the jitter of each of two certificates.
			if got := end.Sub(expiring); got < c.expiring-time.Second || got > c.expiring+2*108*time.Hour {
				t.Errorf("it is told %s before the CA's end, want about %s", got, c.expiring)
			}
			if passes > 2+2*c.issues {
				t.Errorf("%d passes for %d issues", passes, c.issues)
			}
		})
	}
}

// When less than a tenth of what was asked for is left, nothing is issued, for whatever reason.
func TestAnIssuerThatEndsSoonIssuesNothing(t *testing.T) {
	end := noon.Add(10 * year)
	for sentence, step := range map[string]func(testing.TB, *cluster){
		"no Secret":           func(_ testing.TB, c *cluster) { c.in.Secret = nil },
		"another name":        func(t testing.TB, c *cluster) { c.in.Wish = wishOf(t, lives("100h", ""), commonName("x")) },
		"a requested renewal": func(t testing.TB, c *cluster) { c.in.Wish = wishOf(t, lives("100h", ""), renewToken("x")) },
		"an ended leaf":       func(testing.TB, *cluster) {},
	} {
		t.Run(sentence, func(t *testing.T) {
			cluster := running(t, lives("100h", ""))
			step(t, cluster)
			if got := plan.Leaf(cluster.in, end.Add(-10*time.Hour)); !got.Issue || got.Expiring {
				t.Errorf("a tenth is left: issue %t, expiring %t; want true, false", got.Issue, got.Expiring)
			}
			got := plan.Leaf(cluster.in, end.Add(-10*time.Hour+1))
			if got.Issue || !got.Expiring {
				t.Errorf("less than a tenth is left: issue %t, expiring %t; want false, true", got.Issue, got.Expiring)
			}
			if !got.Next.IsZero() {
				t.Errorf("the next pass is at %s, and time alone changes nothing", got.Next)
			}
		})
	}
}

func commonName(name string) change {
	return func(c *v1alpha1.MTLSCertificate) { c.Spec.CommonName = name }
}

func TestAShortenedDurationWaits(t *testing.T) {
	cluster := running(t)
	cluster.in.Wish = wishOf(t, lives("10m", ""))
	end := cluster.leaf().NotAfter
	got := plan.Leaf(cluster.in, noon)
	// A new certificate that lives for ten minutes gains a minute when it is made nine minutes before the end.
	if want := end.Add(-9 * time.Minute); got.Issue || !got.RenewAt.Equal(want) || !got.Next.Equal(want) {
		t.Errorf("issue %t, renewed at %s, next at %s; want false, %s twice", got.Issue, got.RenewAt, got.Next, want)
	}
	if got := cluster.pass(got.Next); !got.Issue || !cluster.leaf().NotAfter.Equal(end.Add(time.Minute)) {
		t.Errorf("issue %t, ends at %s; want true, %s", got.Issue, cluster.leaf().NotAfter, end.Add(time.Minute))
	}
}

func TestALengthenedDurationTakesEffectWithTheNextRenewal(t *testing.T) {
	cluster := running(t, lives("3h", ""))
	before := plan.Leaf(cluster.in, noon).RenewAt
	cluster.in.Wish = wishOf(t, lives("2160h", ""))
	if got := plan.Leaf(cluster.in, noon); got.Issue || !got.RenewAt.Equal(before) {
		t.Errorf("issue %t, renewed at %s; want false, %s", got.Issue, got.RenewAt, before)
	}
	cluster.pass(before)
	if want := before.Add(2160 * time.Hour); !cluster.leaf().NotAfter.Equal(want.Truncate(time.Second)) {
		t.Errorf("the new one ends at %s, want %s", cluster.leaf().NotAfter, want)
	}
}

// What is written into the status right after issuing is what every later pass finds.
func TestRenewalTellsWhatTheNextPassTells(t *testing.T) {
	cluster := running(t)
	renewal := func(now time.Time) (at, next time.Time) {
		return plan.Renewal(cluster.in.UID, cluster.in.Wish, cluster.in.Issuer, cluster.leaf(), now)
	}
	at, next := renewal(noon)
	got := plan.Leaf(cluster.in, noon)
	if !at.Equal(got.RenewAt) || !next.Equal(got.Next) || at.IsZero() {
		t.Errorf("renewed at %s, next at %s; the next pass says %s and %s", at, next, got.RenewAt, got.Next)
	}
	// The clock jumped while the certificate was signed.
	if _, next := renewal(at.Add(time.Hour)); next.IsZero() {
		t.Error("nothing would look at it again")
	}
}
