package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// mints makes the CAs of a timeline, each of as long a life as the first one.
func mints(t testing.TB) func(plan.Step, time.Time) (pki.Issuer, error) {
	return func(_ plan.Step, now time.Time) (pki.Issuer, error) { return newCA(t, caLife, now).Issuer(), nil }
}

// timeline of a scene, one moment a line.
func timeline(t testing.TB, s *scene, now, until time.Time) []string {
	t.Helper()
	s.Lineage = plan.NewLineage(s.all)
	moments, err := plan.Timeline(s.RotationInput, now, until, mints(t))
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(moments))
	for i, m := range moments {
		step := "waits"
		if m.Plan.Step.Kind != "" {
			step = strings.TrimSpace(fmt.Sprintf("%s %d %s", m.Plan.Step.Kind, m.Plan.Step.Number, m.Plan.Step.Cause))
		}
		if len(m.Plan.Step.RanOver) > 0 {
			step += " ran over " + ranOver(m.Plan.Step)
		}
		lines[i] = fmt.Sprintf("%s %s: %s", m.At.Format("01-02 15:04:05"), m.Plan.Stage, step)
	}
	return lines
}

func wantTimeline(t testing.TB, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheTimelineOfAPlainRotation(t *testing.T) {
	wantTimeline(t, timeline(t, stable(t), noon, due.Add(day)),
		"11-24 12:00:00 Stable: waits",
		"01-30 04:00:00 Stable: Mint 2 RenewalDue",
		"01-30 04:00:00 Distributing: waits",
		"01-30 04:05:00 Distributing: Activate 2",
		"01-30 04:05:00 Reissuing: waits",
		"01-30 04:05:00 Retiring: waits",
		"01-30 04:10:00 Retiring: Retire 1",
		"01-30 04:10:00 Stable: Delete 1",
		"01-30 04:10:00 Stable: waits",
	)
}

// A webhook refuses to have the roots written: that is told from half-way on, and run over at the deadline. What is renewed
// meanwhile is renewed by the present CA; the certificate that can't be written holds the old CA until its end.
func TestTheTimelineOfABlockedRotation(t *testing.T) {
	s := stable(t)
	s.Consumers[1].Problem, s.Consumers[1].Leaf.Kept = "a webhook refuses it", "a webhook refuses it"
	got := timeline(t, s, noon, noon.Add(101*day))
	wantTimeline(t, got[:6],
		"11-24 12:00:00 Stable: waits",
		"01-30 04:00:00 Stable: Mint 2 RenewalDue",
		"01-30 04:00:00 Distributing: waits",
		"02-07 12:00:00 Distributing: waits",
		"02-15 20:00:00 Distributing: waits",
		"02-15 20:01:30 Distributing: Activate 2 ran over Secret shop/web",
	)
	retires := slices.IndexFunc(got, func(line string) bool { return strings.HasSuffix(line, ": Retire 1") })
	if retires < 0 || got[retires] < "02-22 12:01:30" || got[len(got)-1][15:] != "Stable: waits" {
		t.Errorf("the certificate ends on 02-22, and then %v", got[6:])
	}
}

// A pod stays as it is: it is run over by both gates.
func TestTheTimelineWithAPodThatReadsOnce(t *testing.T) {
	s := stable(t)
	s.Pods = []plan.PodView{oldPod(noon)}
	got := timeline(t, s, noon, noon.Add(101*day))
	wantTimeline(t, slices.DeleteFunc(got, func(line string) bool { return strings.HasSuffix(line, ": waits") }),
		"01-30 04:00:00 Stable: Mint 2 RenewalDue",
		"02-15 20:00:00 Distributing: Activate 2 ran over Pod shop/cart-1",
		"03-04 12:00:01 Retiring: Retire 1", // it ended
		"03-04 12:00:01 Stable: Delete 1",
	)
}

// A rotation at two thirds of every 100 days.
func TestTheTimelineOfSeveralYears(t *testing.T) {
	got := timeline(t, stable(t), noon, noon.Add(3*year))
	minted, waiting := 0, 0
	for _, line := range got {
		switch {
		case strings.Contains(line, "Mint"):
			minted++
		case strings.Contains(line, "Stable: waits"):
			waiting++
		case strings.Contains(line, "ran over") || strings.Contains(line, "Lost"):
			t.Error(line)
		}
	}
	if minted != 16 || waiting != 17 || len(got) != 16*8+1 {
		t.Errorf("%d generations are made and %d times nothing is to do, in %d moments: %v", minted, waiting, len(got), got)
	}
}

func TestATimelineEnds(t *testing.T) {
	for sentence, edit := range map[string]func(*scene){
		"when everything is far away":        func(*scene) {},
		"when nothing will ever happen":      func(s *scene) { s.Wish.ImportedSecret, s.Imported.Issuer = "x", s.of(1).Issuer },
		"when the spec is wrong":             func(s *scene) { s.WishErr = errWish },
		"when nobody has anything":           func(s *scene) { s.Consumers[0].Holds, s.Consumers[1].Missing = nil, true },
		"when a certificate is kept":         func(s *scene) { s.cart().Leaf.Kept = "x" },
		"when nothing can be written":        func(s *scene) { s.Consumers[0].Problem, s.Consumers[1].Problem = "x", "x" },
		"when a request was made":            func(s *scene) { s.Orders.Rotate = "x" },
		"when others have the key":           func(s *scene) { s.Orders.Compromised = plan.NewNumbers(1) },
		"when its Secret was deleted":        func(s *scene) { s.of(1).Deleting = true },
		"when the next one is given up":      func(s *scene) { s.Orders.Rotate, s.Orders.Abort = "x", plan.NewNumbers(2) },
		"when there was a newer one":         func(s *scene) { s.Highest = 4 },
		"when its key was lost":              func(s *scene) { s.of(1).Keyless = true },
		"when there is a child":              func(s *scene) { s.Children = []plan.Child{childOn(1)} },
		"when the spec changed":              func(s *scene) { s.Wish.Hash = "v1:ab" },
		"when nobody knows since when":       func(s *scene) { s.cart().BundleSince, s.cart().Leaf.Since = time.Time{}, time.Time{} },
		"when nodes are gone for ever":       onGoneNode,
		"when there is nobody to deliver to": func(s *scene) { s.Consumers = nil },
	} {
		t.Run(sentence, func(t *testing.T) {
			s := stable(t)
			edit(s)
			moments, err := plan.Timeline(s.RotationInput, noon, noon.Add(2*year), mints(t))
			if err != nil || len(moments) == 0 || len(moments) >= 200 {
				t.Fatalf("%d moments: %v", len(moments), err)
			}
			for i, m := range moments {
				if m.At.After(noon.Add(2*year)) || i > 0 && m.At.Before(moments[i-1].At) {
					t.Errorf("moment %d of %d is at %s", i, len(moments), m.At)
				}
				if !m.Plan.Next.IsZero() && !m.Plan.Next.After(m.At) {
					t.Errorf("at %s the next pass is at %s", m.At, m.Plan.Next)
				}
			}
		})
	}
}

func onGoneNode(s *scene) {
	s.Pods = []plan.PodView{followingPod(noon)}
	s.Pods[0].NodeReadySince = time.Time{}
}

// Who is behind gets what there is at once, and nobody else's time begins anew.
func TestATimelineBeginsWithADelivery(t *testing.T) {
	s := distributing(t)
	s.cart().Holds, s.Consumers[1].Missing, s.Consumers[1].Holds = []int64{1}, true, nil
	if got := timeline(t, s, begun, begun.Add(day)); got[1] != "12-04 12:05:00 Distributing: Activate 2" {
		t.Error(got)
	}
	s = distributing(t)
	if got := timeline(t, s, begun.Add(2*time.Minute), begun.Add(day)); got[1] != "12-04 12:06:00 Distributing: Activate 2" {
		t.Error(got)
	}
}

// A child's new generation has the roots that everybody has already: only this process's look at it takes time.
func TestTheTimelineOfAChild(t *testing.T) {
	s, parent := ofAnother(t)
	s.Wish.SignedBy.Namespace, s.Wish.SignedBy.Name = "pki", "root"
	s.at(due)
	moments, err := plan.Timeline(s.RotationInput, due, due.Add(time.Hour), func(_ plan.Step, now time.Time) (pki.Issuer, error) {
		return signedCA(t, "my-ca", parent.cas[1], caLife, now).Issuer(), nil
	})
	if err != nil || len(moments) < 3 {
		t.Fatalf("%d moments, %v", len(moments), err)
	}
	if third := moments[2]; third.Plan.Step.Kind != plan.StepActivate || !third.At.Equal(due.Add(90*time.Second)) {
		t.Errorf("the third is %+v", third)
	}
}

func TestATimelineStopsAtACAThatCanNotBeMade(t *testing.T) {
	s, broken := stable(t), errors.New("x")
	moments, err := plan.Timeline(s.RotationInput, due, due.Add(day), func(plan.Step, time.Time) (pki.Issuer, error) {
		return pki.Issuer{}, broken
	})
	if !errors.Is(err, broken) || len(moments) != 1 || moments[0].Plan.Step.Kind != plan.StepMint {
		t.Errorf("%d moments, %v", len(moments), err)
	}
}

func TestATimelineLeavesItsInputAlone(t *testing.T) {
	s := stable(t)
	s.Orders.Rotate, s.Pods, s.Held = "x", nil, nil
	state := func() string {
		return fmt.Sprint(rolesOf(s.Lineage), s.Consumers, *s.cart().Leaf, s.Pods == nil, s.Held == nil)
	}
	before := state()
	timeline(t, s, noon, noon.Add(year))
	if after := state(); after != before {
		t.Errorf("it was\n%s, is\n%s", before, after)
	}
}
