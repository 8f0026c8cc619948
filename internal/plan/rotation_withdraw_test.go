package plan_test

import (
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// withdrawal of a generation, for a reason.
func withdrawal(number int64, reason string) plan.Step {
	return plan.Step{Kind: plan.StepWithdraw, Number: number, For: reason}
}

func TestTheNextGenerationIsGivenUpWhen(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit func(testing.TB, *scene)
		now  time.Time
		want string
	}{
		"a person says so": {
			func(_ testing.TB, s *scene) { s.Orders.Abort = plan.NewNumbers(2) }, delivered, "Aborted",
		},
		"a person deletes its Secret": {func(_ testing.TB, s *scene) { s.of(2).Deleting = true }, delivered, "Aborted"},
		"others have its key": {
			func(_ testing.TB, s *scene) { s.Orders.Compromised = plan.NewNumbers(2) }, delivered, "Compromised",
		},
		"the spec asks for yet another": {func(_ testing.TB, s *scene) { s.Wish.Hash = "v1:cd" }, delivered, "Superseded"},
		"the spec is as it was before":  {specAsBefore, delivered, "Superseded"},
		"it was delivered for too long": {neverDelivered, begun.Add(91 * day), "Superseded"},
		"but not before":                {neverDelivered, begun.Add(90 * day), ""},
		"but not for an older one":      {func(_ testing.TB, s *scene) { s.Orders.Abort = plan.NewNumbers(1) }, delivered, ""},
		"but not since others have the old": {
			func(_ testing.TB, s *scene) { s.Orders.Compromised = plan.NewNumbers(1) }, delivered, "",
		},
		"but not for a spec that is wrong": {
			func(_ testing.TB, s *scene) { s.Wish, s.WishErr = plan.AuthorityWish{PropagationDelay: delay}, errWish }, delivered, "",
		},
		"but not since the request is gone": {func(_ testing.TB, s *scene) { s.Orders.Rotate = "" }, delivered, ""},
		"but not for the hash of a later v2": {
			func(_ testing.TB, s *scene) { s.Wish.Hash = "v2:x"; s.of(2).SpecHash = "v0:x" }, delivered, "",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := distributing(t)
			c.edit(t, s)
			want := plan.Step{}
			if c.want != "" {
				want = withdrawal(2, c.want)
			}
			wantStep(t, s.at(c.now), want)
		})
	}
}

// specAsBefore: generation 2 was made for another spec than generation 1, which is asked for again.
func specAsBefore(_ testing.TB, s *scene) {
	s.of(2).Cause, s.of(2).CauseID, s.of(2).SpecHash = "SpecChanged", "v1:cd", "v1:cd"
}

// neverDelivered: a consumer never gets it, and the signer lives long enough not to be in a hurry.
func neverDelivered(t testing.TB, s *scene) {
	s.of(1).Issuer = newCA(t, 10*year, noon).Issuer()
	s.cart().Holds = []int64{1}
}

func TestAChildIsGivenUpWithTheCAAboveIt(t *testing.T) {
	s, parent := ofAnother(t)
	next := generationOf(t, 2, v1alpha1.CauseParent, "", begun)
	next.Issuer = intermediate(t, parent.cas[2])
	s.all, s.Highest = append(s.all, next), 2
	s.Parent.Signer = parent.cas[2].Issuer()
	if got := s.at(begun); got.Step.Kind != "" {
		t.Errorf("its parent signed it, and %+v is done", got.Step)
	}
	s.Parent.Signer = parent.cas[1].Issuer() // which went back
	wantStep(t, s.at(begun), withdrawal(2, "Superseded"))
	s.Parent.NotReady = plan.Verdict{Reason: "ParentNotReady", Message: "x"}
	if got := s.at(begun); got.Step.Kind != "" {
		t.Errorf("nobody knows which CA its parent has, and %+v is done", got.Step)
	}
}

// What was given up before it signed is dead: its number is recorded, then it is deleted, and what it was made for isn't
// begun again when a person gave it up.
func TestAGenerationThatNeverSignedIsBuried(t *testing.T) {
	for reason, aborted := range map[string]string{
		v1alpha1.WithdrawnAborted: "RotationRequested:please", v1alpha1.WithdrawnSuperseded: "", v1alpha1.WithdrawnCompromised: "",
	} {
		t.Run(reason, func(t *testing.T) {
			s := distributing(t)
			s.of(2).Withdrawn, s.of(2).WithdrawnFor = delivered, reason
			buried := plan.Step{Kind: plan.StepRetire, Number: 2}
			switch reason {
			case v1alpha1.WithdrawnAborted:
				buried.AbortedCauses, buried.RotateServed = []string{aborted}, "please"
			case v1alpha1.WithdrawnCompromised: // so that it isn't imported either
				buried.AbortedCauses = []string{"Compromised:" + s.of(2).Issuer.Fingerprint()}
			}
			wantStep(t, s.at(delivered), buried)
			s.of(1).Retired, s.of(1).RetiredAt = plan.NewNumbers(2), delivered
			if aborted != "" {
				s.of(1).AbortedCauses = []string{aborted}
			}
			wantStep(t, s.at(delivered), plan.Step{Kind: plan.StepDelete, Number: 2})
			s.all = s.all[:1]
			got := s.at(delivered.Add(delay))
			if again := got.Step.Kind == plan.StepMint; again != (aborted == "") {
				t.Errorf("then %+v", got.Step)
			}
			if got.Step.Number == 2 {
				t.Error("the number is used again")
			}
		})
	}
}

// A person brought it back: it is trusted by nobody, and left alone.
func TestAGenerationThatWasRestoredAfterItRetiredIsLeftAlone(t *testing.T) {
	s := retiring(t)
	s.of(2).Retired, s.of(2).RetiredAt = plan.NewNumbers(1), reissued.Add(day)
	s.of(1).Made = reissued.Add(2 * day)
	got := s.at(reissued.Add(3 * day))
	if got.Step.Kind != "" || got.Stage != v1alpha1.StageStable || s.Lineage.Bundle().Len() != 1 {
		t.Errorf("got %+v, stage %s, %d roots", got.Step, got.Stage, s.Lineage.Bundle().Len())
	}
	s.of(1).Made = noon
	wantStep(t, s.at(reissued.Add(3*day)), plan.Step{Kind: plan.StepDelete, Number: 1})
}

func TestGoingBackToTheGenerationBefore(t *testing.T) {
	now := reissued.Add(delay)
	for sentence, c := range map[string]struct {
		edit func(*scene)
		now  time.Time
		want plan.Step
	}{
		"is done when a person says so": {func(s *scene) { s.Orders.Abort = plan.NewNumbers(2) }, now, withdrawal(2, "Aborted")},
		"is done at once when others have the key of the new one": {
			func(s *scene) { s.Orders.Compromised = plan.NewNumbers(2) }, now, withdrawal(2, "Compromised"),
		},
		"isn't done when a person names an older one": {func(s *scene) { s.Orders.Abort = plan.NewNumbers(1) }, now, plan.Step{}},
		"isn't done to one that others have as well: another one is made": {
			func(s *scene) { s.Orders.Compromised, s.cart().Leaf.Kept = plan.NewNumbers(1, 2), "" }, opensA.Add(time.Minute),
			plan.Step{Kind: plan.StepMint, Number: 3, Cause: "Compromised", CauseID: "2", RotateServed: "please"},
		},
		"isn't done to one whose Secret was deleted": {
			func(s *scene) { s.Orders.Abort, s.of(1).Deleting = plan.NewNumbers(2), true }, now, plan.Step{},
		},
		"isn't done to one without a key": {
			func(s *scene) { s.Orders.Abort, s.of(1).Keyless = plan.NewNumbers(2), true }, now, plan.Step{},
		},
		"isn't done to one that may not sign any more": {
			func(s *scene) { s.Orders.Abort, s.of(1).Withdrawn = plan.NewNumbers(2), noon }, now, plan.Step{},
		},
		"is done as long as it lives long enough": {
			func(s *scene) { s.Orders.Abort = plan.NewNumbers(2) }, tooLate.Add(-1), withdrawal(2, "Aborted"),
		},
		"isn't done when it ends soon": {
			func(s *scene) { s.Orders.Abort, s.of(2).Issuer = plan.NewNumbers(2), s.of(1).Issuer }, tooLate,
			plan.Step{Kind: plan.StepMint, Number: 3, Cause: "RenewalDue", CauseID: "2", RotateServed: "please"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := retiring(t)
			s.cart().Leaf = leafOn(1, noon) // the old one is still needed
			s.cart().Leaf.Ends, s.cart().Leaf.Kept = noon.Add(100*day), "x"
			c.edit(s)
			wantStep(t, s.at(c.now), c.want)
		})
	}
}

// All the way back: the withdrawn one isn't begun again, and leaves by its own gate.
func TestAfterGoingBackTheNewerGenerationRetires(t *testing.T) {
	s := retiring(t)
	s.Orders.Abort = plan.NewNumbers(2)
	back := signs.Add(2 * time.Hour)
	s.of(2).Withdrawn, s.of(2).WithdrawnFor = back, v1alpha1.WithdrawnAborted
	got := s.at(back)
	if signer, _ := s.Lineage.Signer(); signer.Number != 1 || got.Stage != v1alpha1.StageReissuing || len(got.Reissue) != 2 {
		t.Fatalf("signer %d, stage %s, %d to issue again; want 1, Reissuing, 2", signer.Number, got.Stage, len(got.Reissue))
	}
	wantStep(t, got, plan.Step{})
	for i := range s.Consumers {
		s.Consumers[i].Leaf = leafOn(1, back.Add(time.Minute))
	}
	if got = s.at(back.Add(delay)); got.Stage != v1alpha1.StageRetiring || !got.NextStepAt.Equal(back.Add(time.Minute+delay)) {
		t.Errorf("stage %s, next step at %s", got.Stage, got.NextStepAt)
	}
	wantStep(t, s.at(back.Add(time.Minute+delay)),
		plan.Step{Kind: plan.StepRetire, Number: 2, AbortedCauses: []string{"RotationRequested:please"}, RotateServed: "please"})
}

// Who has a certificate of the withdrawn generation isn't exempt because it was made after the one that signs again: nearly
// all are.
func TestAfterGoingBackPodsAreWaitedFor(t *testing.T) {
	s := retiring(t)
	back := signs.Add(2 * time.Hour)
	s.of(2).Withdrawn, s.of(2).WithdrawnFor = back, v1alpha1.WithdrawnAborted
	for i := range s.Consumers {
		s.Consumers[i].Born, s.Consumers[i].Leaf = noon.Add(day), leafOn(1, back.Add(time.Minute))
	}
	if got := s.at(back.Add(2 * time.Minute)); got.Step.Kind != "" || !got.NextStepAt.Equal(back.Add(time.Minute+delay)) {
		t.Errorf("got %+v, next step at %s", got.Step, got.NextStepAt)
	}
	s.Pods = []plan.PodView{oldPod(back)}
	if got := s.at(back.Add(time.Minute + delay)); len(got.Blockers) != 1 {
		t.Errorf("a pod has a certificate of the withdrawn generation: %+v", got.Step)
	}
}

// A request that came while the next generation was there is served by it, and given up with it.
func TestARequestIsGivenUpWithTheGenerationThatServedIt(t *testing.T) {
	s := distributing(t)
	s.of(2).Cause, s.of(2).CauseID = v1alpha1.CauseDue, "1"
	s.of(2).Withdrawn, s.of(2).WithdrawnFor = delivered, v1alpha1.WithdrawnAborted
	step := s.at(delivered.Add(delay)).Step
	s.of(1).Retired, s.of(1).RetiredAt, s.of(1).AbortedCauses = plan.NewNumbers(2), delivered, step.AbortedCauses
	s.of(1).RotateServed = step.RotateServed
	s.all = s.all[:1]
	if got := s.at(delivered.Add(day)); got.Step.Kind != "" {
		t.Errorf("got %+v", got.Step)
	}
}

// A newer CA than the one of the backup signed certificates, which its roots alone don't verify.
func TestAnOutdatedCADoesNotSign(t *testing.T) {
	s := stable(t)
	s.Highest, s.Signed = 2, 2
	wantStep(t, s.at(today), withdrawal(1, "Outdated"))
	s.of(1).Withdrawn, s.of(1).WithdrawnFor = today, v1alpha1.WithdrawnOutdated
	got := s.at(today)
	wantStep(t, got, plan.Step{Kind: plan.StepMint, Number: 3, Cause: "Lost"})
	if got.Stage != v1alpha1.StageLost {
		t.Errorf("stage %s", got.Stage)
	}
}

// The Secret of the newest CA is there and broken: what it signed isn't verified by the older one either.
func TestABrokenCAIsAsGoodAsGone(t *testing.T) {
	s := reissuing(t)
	s.of(2).Problem, s.Signed = "tls.key is not the key of tls.crt", 2
	wantStep(t, s.at(reissued), withdrawal(1, "Outdated"))
}
