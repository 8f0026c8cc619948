package plan_test

import (
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

const (
	refused  = "pods can't be listed: a webhook is in the way"
	unlisted = "Pod */*: " + refused
)

// blind: nobody can look at pods.
func blind(s *scene) *scene {
	s.Pods, s.PodsUnknown = nil, refused
	return s
}

// Some of them may be unable to follow.
func TestPodsThatCannotBeListedAreWaitedFor(t *testing.T) {
	for sentence, c := range map[string]struct {
		scene    *scene
		gate     plan.Gate
		now      time.Time
		deadline time.Time
	}{
		"before a generation signs": {distributing(t), gateA, opensA, tooLate},
		"before one goes":           {retiring(t), gateB, opensB, noon.Add(caLife + time.Second)},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := blind(c.scene)
			got := s.at(c.now)
			wantShut(t, got, c.gate, shut{"waits for Pod */*", time.Time{}, unlisted, true, true})
			if !got.Deadline.Equal(c.deadline) {
				t.Errorf("the deadline is %s, want %s", got.Deadline, c.deadline)
			}
			if got.Next.IsZero() || got.Next.After(c.now.Add(2*time.Minute)) {
				t.Errorf("they are looked at again at %s", got.Next)
			}
			early := s.at(c.now.Add(-1))
			if early.Step.Kind != "" || len(early.Blockers) > 0 || !early.NextStepAt.Equal(c.now) {
				t.Errorf("before the time, when nobody wants to look: %+v, %v", early.Step, early.Blockers)
			}
		})
	}
}

func TestThatPodsCannotBeListedIsToldAsABlockerIs(t *testing.T) {
	s := blind(distributing(t))
	half := begun.Add(tooLate.Sub(begun) / 2)
	wantVerdict(t, "before half of the time is over", s.at(half.Add(-1)).Stalled, "", "")
	wantVerdict(t, "after it", s.at(half).Stalled, v1alpha1.ReasonRotationBlocked, "Pod */*. It is waited for until")
}

// Each gate for itself: another one that waits for pods is in the way of none that doesn't.
func TestPodsThatCannotBeListedAreNotWaitedFor(t *testing.T) {
	compromised := func(s *scene) *scene {
		s.Orders.Compromised = plan.NewNumbers(1)
		return s
	}
	ignored := func(s *scene) *scene {
		s.Orders.IgnoreBlockers = plan.NewNumbers(2)
		return s
	}
	signs, goes := plan.Step{Kind: plan.StepActivate, Number: 2}, plan.Step{Kind: plan.StepRetire, Number: 1}
	for sentence, c := range map[string]struct {
		scene *scene
		now   time.Time
		want  plan.Step
	}{
		"by the next one when a person says so":    {ignored(distributing(t)), opensA, signs},
		"by the next one in an emergency":          {compromised(distributing(t)), opensA, signs},
		"by the next one when it is too late":      {distributing(t), tooLate, signs},
		"by one that goes when a person says so":   {ignored(retiring(t)), opensB, goes},
		"by one that goes in an emergency":         {compromised(retiring(t)), opensB, goes},
		"by one that goes when it ended by itself": {retiring(t), noon.Add(caLife + time.Second), goes},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := blind(c.scene)
			got := s.at(c.now)
			if got.Step.Kind != c.want.Kind || got.Step.Number != c.want.Number || len(got.Blockers) > 0 {
				t.Fatalf("the step is %+v, blockers %v: %s", got.Step, got.Blockers, got.Message)
			}
			told := "Pod */*"
			if c.want.Kind == goes.Kind && c.now.After(opensB) {
				told = "" // it verifies nothing any more, whoever has it
			}
			if ranOver(got.Step) != told || told != "" && got.Step.RanOver[0].Message != refused {
				t.Errorf("it ran over %+v", got.Step.RanOver)
			}
		})
	}
}
