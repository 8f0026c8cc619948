package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// quick is the delay where the key of a CA is known to others.
const quick = 90 * time.Second

// orderedAt has the process know of an order to hurry since a time.
func (s *scene) orderedAt(gate plan.Gate, ordered, now time.Time) time.Time {
	gate.Hurried = true
	s.Held[gate] = now.Sub(ordered)
	return now
}

// Somebody whose Secret can't be written, and of whom nothing tells that, doesn't keep a compromised CA in use.
func TestWhoNeverFollowsIsLeftBehindInAHurry(t *testing.T) {
	s := distributing(t)
	s.Orders.Compromised = plan.NewNumbers(1)
	s.cart().Holds = []int64{1}
	idle := delivered.Add(2 * quick) // since when nobody else followed
	got := s.at(s.orderedAt(gateA, begun, idle.Add(-1)))
	hurried := plan.Gate{Opens: plan.StepActivate, Number: 2, Hurried: true}
	if got.Step.Kind != "" || !got.Next.Equal(idle) || !slices.Contains(got.Holding, hurried) {
		t.Errorf("before two delays are over: %+v, next %s, holding %v", got.Step, got.Next, got.Holding)
	}
	got = s.at(s.orderedAt(gateA, begun, idle))
	if got.Step.Kind != plan.StepActivate || ranOver(got.Step) != "Secret shop/cart" {
		t.Errorf("after that: %+v, %s", got.Step, got.Message)
	}
	got = s.at(s.orderedAt(gateA, idle.Add(-time.Minute), idle))
	if got.Step.Kind != "" || !got.Next.Equal(idle.Add(2*quick-time.Minute)) {
		t.Errorf("when it was ordered late: %+v, next %s", got.Step, got.Next)
	}

	s = reissuing(t)
	s.Orders.Compromised = plan.NewNumbers(1)
	s.Consumers[1].Leaf = leafOn(2, reissued)
	idle = reissued.Add(2 * quick)
	if got := s.at(s.orderedAt(gateB, signs, idle.Add(-1))); got.Step.Kind != "" {
		t.Errorf("before two delays are over since the last certificate: %+v", got.Step)
	}
	if got := s.at(s.orderedAt(gateB, signs, idle)); got.Step.Kind != plan.StepRetire || ranOver(got.Step) != "Secret shop/cart" {
		t.Errorf("after that: %+v, %s", got.Step, got.Message)
	}
}

// Somebody who undoes again and again what is done doesn't either.
func TestAHurryHasAnEnd(t *testing.T) {
	s := distributing(t)
	s.Orders.IgnoreBlockers = plan.NewNumbers(2)
	end := begun.Add(20 * delay)
	s.cart().Holds, s.Consumers[1].BundleSince = []int64{1}, end.Add(-time.Second)
	if got := s.at(s.orderedAt(gateA, begun, end.Add(-1))); got.Step.Kind != "" || !got.NextStepAt.IsZero() {
		t.Errorf("before it: %+v, next step at %s", got.Step, got.NextStepAt)
	}
	if got := s.at(s.orderedAt(gateA, begun, end)); got.Step.Kind != "" || !got.NextStepAt.Equal(end.Add(delay-time.Second)) {
		t.Errorf("at it: %+v, next step at %s", got.Step, got.NextStepAt)
	}
	s.Consumers[1].BundleSince = end.Add(delay) // and once more
	got := s.at(s.orderedAt(gateA, begun, end.Add(delay)))
	if got.Step.Kind != plan.StepActivate || ranOver(got.Step) != "Secret shop/cart" {
		t.Errorf("one delay later: %+v, %s", got.Step, got.Message)
	}
}

// What is set right just before somebody loses patience, or it gets too late, has the time that anything else has.
func TestWhoFollowedJustBeforeAHurryHasItsTime(t *testing.T) {
	s := distributing(t)
	s.Orders.IgnoreBlockers = plan.NewNumbers(2)
	ordered := begun.Add(30 * day)
	s.cart().BundleSince = ordered.Add(-10 * time.Second)
	if got := s.at(s.orderedAt(gateA, ordered, ordered)); !got.NextStepAt.Equal(ordered.Add(delay - 10*time.Second)) {
		t.Errorf("ordered late: %+v, next step at %s", got.Step, got.NextStepAt)
	}
	s = distributing(t)
	s.cart().BundleSince = tooLate.Add(-95 * time.Second)
	if got := s.at(tooLate); !got.NextStepAt.Equal(tooLate.Add(delay - 95*time.Second)) {
		t.Errorf("too late: %+v, next step at %s", got.Step, got.NextStepAt)
	}
}

// An authority below has delays of its own, and nothing tells how far it is but that it isn't held up.
func TestAnAuthorityBelowThatFollowsIsWaitedForInAHurry(t *testing.T) {
	s := retiring(t)
	s.Orders.Compromised = plan.NewNumbers(1)
	s.Children = []plan.Child{childOn(1)}
	end := signs.Add(20 * quick)
	if got := s.at(s.orderedAt(gateB, signs, end.Add(-1))); got.Step.Kind != "" || !got.Next.Equal(end) {
		t.Errorf("before 20 delays are over: %+v, next %s", got.Step, got.Next)
	}
	got := s.at(s.orderedAt(gateB, signs, end))
	if got.Step.Kind != plan.StepRetire || ranOver(got.Step) != "MTLSAuthority shop/sub" {
		t.Errorf("after that: %+v, %s", got.Step, got.Message)
	}
}

// A backup that was made before the next CA signed has the one before as the one that signs. Others trust it no more.
func TestACAThatWasReplacedSinceItsBackupDoesNotSign(t *testing.T) {
	s := distributing(t)
	s.Signed = 2
	wantStep(t, s.at(opensA), withdrawal(1, "Outdated"))
}

// Of a pair that others have it is remembered for ever, however often the CA changes since.
func TestACompromisedPairIsRememberedByTheNextCAs(t *testing.T) {
	s := importing(t)
	bad := s.Imported
	s.take(mintOf(2, s.swap(t)), begun)
	s.of(2).Activated = signs
	s.Orders.Compromised = plan.NewNumbers(1)
	for i := range s.Consumers {
		s.Consumers[i].Leaf = leafOn(2, reissued)
	}
	want := "Compromised:" + bad.Issuer.Fingerprint()
	wantStep(t, s.at(signs.Add(day)), plan.Step{Kind: plan.StepRetire, Number: 1, AbortedCauses: []string{want}})
	s.of(2).Retired, s.of(2).AbortedCauses = plan.NewNumbers(1), []string{"x:y", want}
	s.all, s.Orders.Compromised = s.all[1:], plan.Numbers{}
	s.Imported = bad
	got := s.at(signs.Add(2 * day))
	wantStep(t, got, plan.Step{})
	wantVerdict(t, "stalled", got.Stalled, "ImportedInvalid", "compromised")

	s.take(mintOf(3, s.swap(t)), signs.Add(2*day))
	s.of(3).Activated = signs.Add(3 * day)
	for i := range s.Consumers {
		s.Consumers[i].Leaf = leafOn(3, signs.Add(3*day))
	}
	wantStep(t, s.at(signs.Add(4*day)), plan.Step{Kind: plan.StepRetire, Number: 2, AbortedCauses: []string{want}})
}

// Who stops the move of a CA under another authority means all of it.
func TestAMoveToAnotherAuthorityCanBeAborted(t *testing.T) {
	s, _ := ofAnother(t)
	s.of(1).Issuer, s.of(1).SignedBy = newCA(t, caLife, noon).Issuer(), ""
	s.Wish.Hash = "v1:ab"
	s.of(1).AbortedCauses = []string{"SpecChanged:v1:ab"}
	wantStep(t, s.at(today), plan.Step{})
	s.of(1).AbortedCauses = nil
	wantStep(t, s.at(today), plan.Step{Kind: plan.StepMint, Number: 2, Cause: "SpecChanged", CauseID: "v1:ab"})
}
