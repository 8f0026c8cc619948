package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// blocked: a pod, an object and a CA can't follow.
func blocked(t testing.TB) *scene {
	t.Helper()
	s := distributing(t)
	s.Pods = []plan.PodView{oldPod(noon)}
	s.Consumers[1].Holds, s.Consumers[1].Problem = []int64{1}, "a webhook refuses it"
	s.Children = []plan.Child{{Authority: "shop/sub", On: 1, Ends: noon.Add(caLife), Refused: "its path length is 0"}}
	return s
}

func ranOver(step plan.Step) string {
	var names []string
	for _, b := range step.RanOver {
		names = append(names, b.Kind+" "+b.Namespace+"/"+b.Name)
	}
	return strings.Join(names, ", ")
}

// everyBlocker of blocked.
const everyBlocker = "Secret shop/web, MTLSAuthority shop/sub, Pod shop/cart-1"

func TestBlockersAreWaitedForUntilTheDeadline(t *testing.T) {
	s := blocked(t)
	half := begun.Add(tooLate.Sub(begun) / 2)
	for _, c := range []struct {
		now, next time.Time
		stalled   string
	}{
		{opensA, half, ""},
		{half.Add(-1), half, ""},
		{half, tooLate, "Secret shop/web, MTLSAuthority shop/sub. It is waited for until 2027-02-15T20:00:00Z, and then"},
		{tooLate.Add(-1), tooLate, "no longer"},
	} {
		got := s.at(c.now)
		reason := v1alpha1.ReasonRotationBlocked
		if c.stalled == "" {
			reason = ""
		}
		wantVerdict(t, "stalled", got.Stalled, reason, c.stalled)
		if got.Step.Kind != "" || !got.Deadline.Equal(tooLate) || !got.Next.Equal(c.next) || len(got.Blockers) != 2 {
			t.Errorf("at %s: %+v, deadline %s, next %s, %d blockers", c.now, got.Step, got.Deadline, got.Next, len(got.Blockers))
		}
	}
	got := s.at(tooLate)
	if got.Step.Kind != plan.StepActivate || ranOver(got.Step) != everyBlocker || got.Stalled.Reason != "" {
		t.Errorf("at the deadline: %+v, ran over %s, stalled %v", got.Step, ranOver(got.Step), got.Stalled)
	}
}

// The pass that is made for it is made at that time.
func TestHalfOfTheTimeIsOverAtHalfOfTheTime(t *testing.T) {
	half := begun.Add(tooLate.Sub(begun) / 2)
	wantVerdict(t, "stalled", blocked(t).at(half).Stalled, v1alpha1.ReasonRotationBlocked, "It is waited for until")
}

// A pod alone is told as well, and waited for as long.
func TestAPodIsWaitedForUntilTheDeadline(t *testing.T) {
	s := distributing(t)
	s.Pods = []plan.PodView{oldPod(noon)}
	got := s.at(tooLate.Add(-1))
	wantVerdict(t, "stalled", got.Stalled, v1alpha1.ReasonRotationBlocked, "Pod shop/cart-1. It is waited for until")
	if got.Step.Kind != "" || !got.Next.Equal(tooLate) {
		t.Errorf("got %+v, next %s", got.Step, got.Next)
	}
	if got = s.at(tooLate); got.Step.Kind != plan.StepActivate || ranOver(got.Step) != "Pod shop/cart-1" {
		t.Errorf("at the deadline: %+v", got.Step)
	}
}

func TestTheDeadline(t *testing.T) {
	end := noon.Add(caLife)
	for sentence, c := range map[string]struct {
		edit func(*scene)
		want time.Time
	}{
		"isn't in the first half of the time there is": {func(*scene) {}, tooLate},
		"is when a tenth of the life is left": {func(s *scene) {
			s.Consumers = s.Consumers[:1]
			s.cart().Leaf.RenewBefore = day
		}, end.Add(-10 * day)},
		"is when the longest certificates are renewed, and four delays": {func(s *scene) {
			s.cart().Leaf.RenewBefore, s.Consumers[1].Leaf = 12*day, nil
		}, end.Add(-12*day - 4*delay)},
		"is later when the renewal was to be later": {func(s *scene) { s.Wish.RenewBefore = 4 * day }, end.Add(-2 * day)},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := distributing(t)
			c.edit(s)
			s.cart().Problem, s.cart().Holds = "x", nil
			if got := s.at(opensA); !got.Deadline.Equal(c.want) {
				t.Errorf("it is %s, want %s", got.Deadline, c.want)
			}
		})
	}
}

// The annotation names a generation: it is of no effect on another one, and nothing but blockers is ignored.
func TestBlockersAreIgnoredWhenAPersonSaysSo(t *testing.T) {
	s := blocked(t)
	s.Orders.IgnoreBlockers = plan.NewNumbers(1, 3)
	if got := s.at(opensA); got.Step.Kind != "" {
		t.Errorf("it names other generations, and %+v is done", got.Step)
	}
	s.Orders.IgnoreBlockers = plan.NewNumbers(2)
	if got := s.at(opensA.Add(-1)); got.Step.Kind != "" || !got.NextStepAt.Equal(opensA) || len(got.Blockers) > 0 {
		t.Errorf("before the delay is over: %+v, next step at %s, %v", got.Step, got.NextStepAt, got.Blockers)
	}
	if got := s.at(opensA); got.Step.Kind != plan.StepActivate || ranOver(got.Step) != everyBlocker {
		t.Errorf("got %+v, ran over %s", got.Step, ranOver(got.Step))
	}
	s.cart().Holds = []int64{1}
	if got := s.at(opensA); got.Step.Kind != "" {
		t.Errorf("one that can be written hasn't got it, and %+v is done", got.Step)
	}
}

func TestBlockersOfARetirementAreIgnoredWhenAPersonSaysSo(t *testing.T) {
	s := retiring(t)
	s.cart().Leaf, s.Pods = leafOn(1, noon), []plan.PodView{oldPod(noon)}
	s.cart().Leaf.Kept = "Denied"
	s.Orders.IgnoreBlockers = plan.NewNumbers(1, 3)
	if got := s.at(opensB); got.Step.Kind != "" {
		t.Errorf("it names the one that goes, as one does that was left behind, and %+v is done", got.Step)
	}
	s.Orders.IgnoreBlockers = plan.NewNumbers(2)
	if got := s.at(opensB); got.Step.Kind != plan.StepRetire || ranOver(got.Step) != "Secret shop/cart, Pod shop/cart-1" {
		t.Errorf("got %+v, ran over %s", got.Step, ranOver(got.Step))
	}
}

// Others have the key of the old CA: nobody who can't follow is waited for, and kubelet alone is.
func TestAnEmergencyIsQuick(t *testing.T) {
	s := blocked(t)
	s.Orders.Compromised = plan.NewNumbers(1)
	soon := delivered.Add(90 * time.Second)
	if got := s.at(soon.Add(-1)); got.Step.Kind != "" || !got.NextStepAt.Equal(soon) {
		t.Errorf("before kubelet wrote it: %+v, next step at %s", got.Step, got.NextStepAt)
	}
	if got := s.at(soon); got.Step.Kind != plan.StepActivate || ranOver(got.Step) != everyBlocker {
		t.Errorf("got %+v, ran over %s", got.Step, ranOver(got.Step))
	}
	s.cart().Holds = []int64{1}
	if got := s.at(soon); got.Step.Kind != "" {
		t.Errorf("one that can be written hasn't got it, and %+v is done", got.Step)
	}
}

func TestACompromisedGenerationRetiresQuickly(t *testing.T) {
	s := retiring(t)
	s.Pods, s.Orders.Compromised = []plan.PodView{oldPod(noon)}, plan.NewNumbers(1)
	soon := reissued.Add(90 * time.Second)
	if got := s.at(soon.Add(-1)); got.Step.Kind != "" || !got.NextStepAt.Equal(soon) {
		t.Errorf("before kubelet wrote it: %+v, next step at %s", got.Step, got.NextStepAt)
	}
	if got := s.at(soon); got.Step.Kind != plan.StepRetire || ranOver(got.Step) != "Pod shop/cart-1" {
		t.Errorf("got %+v, ran over %s", got.Step, ranOver(got.Step))
	}
	s.cart().Leaf = leafOn(1, noon)
	if got := s.at(soon); got.Step.Kind != "" {
		t.Errorf("a certificate is still to be issued again, and %+v is done", got.Step)
	}
}

// The annotation stays on the object: the next rotation that is planned isn't cut short by it.
func TestAnEmergencyIsOverWithItsGeneration(t *testing.T) {
	s := distributing(t)
	s.Orders.Compromised = plan.NewNumbers(7)
	if got := s.at(delivered.Add(90 * time.Second)); got.Step.Kind != "" {
		t.Errorf("got %+v", got.Step)
	}
}

// One tenant who spoils its own certificate and deletes the Secret must not let the CA of all end.
func TestWhoeverHasNotGotItIsRunOverAtTheDeadline(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit    func(*scene)
		ranOver string
	}{
		"its Secret is deleted, and it can't be issued": {func(s *scene) { s.cart().Missing = true }, "Secret shop/cart"},
		"nobody writes it": {func(s *scene) { s.cart().Holds = []int64{1} }, "Secret shop/cart"},
		"it is deleted and made again every few minutes": {func(s *scene) { s.cart().BundleSince = tooLate }, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := distributing(t)
			c.edit(s)
			if got := s.at(tooLate.Add(delay)); got.Step.Kind != plan.StepActivate || ranOver(got.Step) != c.ranOver {
				t.Errorf("after the deadline: %+v, %s", got.Step, got.Message)
			}
		})
	}
}
