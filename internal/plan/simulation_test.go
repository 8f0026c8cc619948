package plan_test

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// mostIssues bounds the certificates of one simulation: each costs a signature.
const mostIssues = 30

// anyDuration draws what the schema accepts and is worth a certificate, each order of magnitude as often as another.
func anyDuration(t *rapid.T) time.Duration {
	unit := rapid.SampledFrom([]time.Duration{10 * time.Minute, time.Hour, day, 90 * day, year}).Draw(t, "unit")
	seconds := rapid.Int64Range(int64(unit/time.Second), int64(5*unit/time.Second)).Draw(t, "seconds")
	return time.Duration(seconds) * time.Second
}

// anyRenewBefore draws what goes with the duration, or nothing.
func anyRenewBefore(t *rapid.T, duration time.Duration) time.Duration {
	if rapid.Bool().Draw(t, "renewBefore is unset") {
		return 0
	}
	percent := rapid.SampledFrom([]int{0, 1, 10, 33, 34, 60, 89}).Draw(t, "renewBefore in percent")
	return max(time.Minute, (duration * time.Duration(percent) / 100).Truncate(time.Second))
}

func livesExactly(duration, renewBefore time.Duration) change {
	return func(c *v1alpha1.MTLSCertificate) {
		c.Spec.Duration = v1alpha1.Duration(duration.String())
		if renewBefore > 0 {
			c.Spec.RenewBefore = v1alpha1.Duration(renewBefore.String())
		}
	}
}

// simulation is a cluster in which time goes on.
type simulation struct {
	*cluster
	*rapid.T
	now, end time.Time // end of the CA
	// useful is how much of the CA's life must be left for a promise to hold: a tenth of the longest duration asked for.
	useful time.Duration
}

// Helper and Fatalf are in both.
func (s *simulation) Helper() { s.T.Helper() }

func (s *simulation) Fatalf(format string, args ...any) { s.T.Helper(); s.T.Fatalf(format, args...) }

// newSimulation draws durations, and a CA whose life may be less than one duration or as many as are affordable, in which
// the certificate is made at any time.
func newSimulation(t *rapid.T) *simulation {
	duration := anyDuration(t)
	lives := rapid.SampledFrom([]float64{0.05, 0.15, 0.3, 0.5, 0.9, 1, 1.05, 1.1, 1.2, 2, 3, 7, 15}).
		Draw(t, "durations in the CA's life")
	caLife := max(time.Hour, time.Duration(lives*float64(duration)).Truncate(time.Second))
	wish := wishOf(t, livesExactly(duration, anyRenewBefore(t, duration)))
	ca := newCA(t, caLife, noon)
	s := &simulation{cluster: newCluster(t, ca, wish), T: t, end: noon.Add(caLife), useful: duration / 10}
	s.in.UID = types.UID(rapid.StringN(0, 36, -1).Draw(t, "UID"))
	s.now = noon.Add(time.Duration(rapid.Float64Range(0, 1).Draw(t, "made at") * float64(caLife)))
	return s
}

// decision is what doesn't change by itself before Next.
type decision struct {
	issue, expiring bool
	reason          string
	renewAt, next   time.Time
}

func decisionOf(p plan.LeafPlan) decision {
	return decision{p.Issue, p.Expiring, p.Reason, p.RenewAt, p.Next}
}

// step makes one pass and checks all that holds whenever a pass is made. It returns when to make the next one.
func (s *simulation) step() time.Time {
	s.Helper()
	p := s.pass(s.now)
	left := s.end.Sub(s.now)
	if len(s.issued) > mostIssues {
		s.Fatalf("%d certificates: %v", len(s.issued), s.issued)
	}
	if p.Expiring && left >= s.useful {
		s.Fatalf("at %s a new certificate is called useless, which would live for %s", s.now, left)
	}
	if p.Issue {
		s.checkIssued(p)
	}
	if s.in.Secret == nil {
		return p.Next
	}
	return s.checkKept().Next
}

// checkIssued: what was issued is worth it.
func (s *simulation) checkIssued(p plan.LeafPlan) {
	s.Helper()
	wanted := min(s.in.Wish.Duration, s.end.Sub(s.now))
	if got := s.leaf().NotAfter.Sub(s.now); got < wanted-time.Second || got < s.in.Wish.Duration/10-time.Second {
		s.Fatalf("at %s a certificate is issued that lives for %s of %s", s.now, got, s.in.Wish.Duration)
	}
	at, next := plan.Renewal(s.in.UID, s.in.Wish, s.in.Issuer, s.leaf(), s.now)
	if kept := plan.Leaf(s.in, s.now); !at.Equal(kept.RenewAt) || !next.Equal(kept.Next) {
		s.Fatalf("after the issue: renewed at %s, next at %s; the next pass says %s, %s", at, next, kept.RenewAt, kept.Next)
	}
	if !at.IsZero() && p.Reason == v1alpha1.ReasonRenewalDue {
		if gain := at.Sub(s.now); gain < p.Validity.Life()/20 {
			s.Fatalf("at %s a certificate is issued that is renewed %s later", s.now, gain)
		}
	}
}

// checkKept: a pass right after another one does nothing, and nor does any before Next, which is when the decision changes.
func (s *simulation) checkKept() plan.LeafPlan {
	s.Helper()
	kept := plan.Leaf(s.in, s.now)
	if kept.Issue {
		s.Fatalf("at %s two certificates are issued at once, for %s: %s", s.now, kept.Reason, kept.Message)
	}
	if kept.Next.IsZero() {
		return kept
	}
	if !kept.Next.After(s.now) {
		s.Fatalf("at %s the next pass is at %s", s.now, kept.Next)
	}
	share := rapid.Float64Range(0, 1).Draw(s.T, "some time before the next pass")
	for _, at := range []time.Time{s.now.Add(time.Duration(share * float64(kept.Next.Sub(s.now)))), kept.Next.Add(-1)} {
		if got := decisionOf(plan.Leaf(s.in, at)); at.Before(kept.Next) && got != decisionOf(kept) {
			s.Fatalf("before the next pass, at %s: %+v, was %+v", at, got, decisionOf(kept))
		}
	}
	then := plan.Leaf(s.in, kept.Next)
	ended := kept.Next.Equal(s.leaf().NotAfter.Add(time.Second)) // which is told of it
	if then.Issue == kept.Issue && then.Expiring == kept.Expiring && !ended {
		s.Fatalf("the next pass, at %s, finds nothing new: %+v", kept.Next, decisionOf(then))
	}
	return kept
}

// checkUnbroken: from the first certificate on there was always one that was valid, for as long as the CA could give one.
func (s *simulation) checkUnbroken() {
	s.Helper()
	for i, one := range s.issued {
		until := s.end.Add(-s.useful)
		if i+1 < len(s.issued) && s.issued[i+1].from.Before(until) {
			until = s.issued[i+1].from
		}
		if one.to.Before(until) {
			s.Fatalf("the certificate issued at %s ended at %s, and until %s there is none: %v", one.from, one.to, until, s.issued)
		}
	}
}

// checkSparing: while a certificate lives there is at most one more.
func (s *simulation) checkSparing() {
	s.Helper()
	for i, one := range s.issued {
		within := 0
		for _, other := range s.issued[i:] {
			if other.from.Before(one.to) {
				within++
			}
		}
		if within > 2 {
			s.Fatalf("%d certificates in the life of one, of %s: %v", within, one.to.Sub(one.from), s.issued)
		}
	}
}

func TestACertificateOverTheYears(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(t)
		passes := 0
		for next := s.now; !next.IsZero(); passes++ {
			s.now = next
			next = s.step()
		}
		s.checkUnbroken()
		s.checkSparing()
		if passes > 2*len(s.issued)+3 {
			t.Fatalf("%d passes for %d certificates", passes, len(s.issued))
		}
		if s.now.Before(s.end.Add(-s.useful)) {
			t.Fatalf("nobody looks again after %s, and the CA ends at %s", s.now, s.end)
		}
	})
}

// Passes are late when the operator was away, and early when anything else happens.
func TestACertificateWhosePassesComeAtAnyTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(t)
		for range rapid.IntRange(1, 40).Draw(t, "passes") {
			s.step()
			pause := rapid.Float64Range(0, 0.7).Draw(t, "pause in durations")
			s.now = s.now.Add(time.Duration(pause * float64(s.in.Wish.Duration)))
			if s.now.After(s.end) {
				break // a controller looks whether the CA is valid first
			}
		}
		s.checkSparing()
	})
}

// Edits of duration and renewBefore alone, however wild: never an outage, never a loop.
func TestACertificateWhoseDurationsAreEdited(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(t)
		durations := []time.Duration{s.in.Wish.Duration}
		for len(s.issued) < mostIssues {
			next := s.step()
			if next.IsZero() {
				break
			}
			if !rapid.Bool().Draw(t, "edit") {
				s.now = next
				continue
			}
			share := rapid.Float64Range(0, 1).Draw(t, "edited at")
			s.now = s.now.Add(time.Duration(share * float64(next.Sub(s.now))))
			duration := anyDuration(t)
			durations = append(durations, duration)
			s.useful = slices.Max(durations) / 10
			s.in.Wish = wishOf(t, livesExactly(duration, anyRenewBefore(t, duration)))
		}
		if len(s.issued) < mostIssues {
			s.checkUnbroken()
		}
	})
}
