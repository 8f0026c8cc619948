package plan_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// today is a day on which nothing is due.
var today = noon.Add(20 * day)

// importing is an authority whose CA was imported.
func importing(t testing.TB) *scene {
	t.Helper()
	s := stable(t)
	s.Wish = authorityWish(t, v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}})
	s.of(1).SpecHash, s.of(1).CauseID = s.Wish.Hash, s.of(1).Issuer.Fingerprint()
	s.Imported.Issuer = s.of(1).Issuer
	return s
}

// swap the imported pair for another one that ends 200 days after noon.
func (s *scene) swap(t testing.TB) plan.ImportedPair {
	t.Helper()
	s.Imported = pairOf(newCA(t, 200*day, noon))
	return s.Imported
}

// ofAnother authority: its CA was signed by the first generation of that one.
func ofAnother(t testing.TB) (s *scene, parent *family) {
	t.Helper()
	s, parent = stable(t), newFamily(t)
	parent.cas[1], parent.cas[2] = rootCA(t), rootCA(t)
	s.of(1).Issuer, s.of(1).SignedBy = intermediate(t, parent.cas[1]), "pki/root"
	s.Parent = &plan.Parent{Signer: parent.cas[1].Issuer()}
	return s, parent
}

func TestAnotherGenerationIsMadeBecause(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit func(*scene)
		now  time.Time
		want plan.Step
	}{
		"the present one ends": {func(*scene) {}, due, plan.Step{Cause: "RenewalDue", CauseID: "1"}},
		"the present one ends, as early as was asked for": {
			func(s *scene) { s.Wish.RenewBefore = 10 * day }, noon.Add(90 * day), plan.Step{Cause: "RenewalDue", CauseID: "1"},
		},
		"the present one ends, not earlier than sensible": {
			func(s *scene) { s.Wish.RenewBefore = 80 * day }, due, plan.Step{Cause: "RenewalDue", CauseID: "1"},
		},
		"the present one has ended": {func(*scene) {}, noon.Add(101 * day), plan.Step{Cause: "RenewalDue", CauseID: "1"}},
		"the spec changed": {
			func(s *scene) { s.Wish.Hash = "v1:ab" }, today, plan.Step{Cause: "SpecChanged", CauseID: "v1:ab"},
		},
		"it was asked for": {
			func(s *scene) { s.Orders.Rotate = "now" }, today,
			plan.Step{Cause: "RotationRequested", CauseID: "now", RotateServed: "now"},
		},
		"it was asked for in several lines": {
			func(s *scene) { s.Orders.Rotate = "a\nb" }, today,
			plan.Step{Cause: "RotationRequested", CauseID: "a b", RotateServed: "a\nb"},
		},
		"it is asked for again": {
			func(s *scene) { s.Orders.Rotate, s.of(1).RotateServed = "again", "now" }, today,
			plan.Step{Cause: "RotationRequested", CauseID: "again", RotateServed: "again"},
		},
		"others have the key": {
			func(s *scene) { s.Orders.Compromised = plan.NewNumbers(1) }, today, plan.Step{Cause: "Compromised", CauseID: "1"},
		},
		"its Secret was deleted": {
			func(s *scene) { s.of(1).Deleting = true }, today, plan.Step{Cause: "SecretDeleted", CauseID: "secret-1"},
		},
		"no key is left": {func(s *scene) { s.of(1).Keyless = true }, today, plan.Step{Cause: "Lost"}},
		"everything at once, most urgent first": {
			func(s *scene) {
				s.Orders.Compromised, s.of(1).Deleting, s.Wish.Hash, s.Orders.Rotate = plan.NewNumbers(1), true, "v1:ab", "now"
			}, due, plan.Step{Cause: "Compromised", CauseID: "1", RotateServed: "now"},
		},
		"of the reason that wasn't aborted": {
			func(s *scene) {
				s.Orders.Compromised, s.Wish.Hash = plan.NewNumbers(1), "v1:ab"
				s.of(1).AbortedCauses = []string{"x:y", "Compromised:1"}
			}, today, plan.Step{Cause: "SpecChanged", CauseID: "v1:ab"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := stable(t)
			c.edit(s)
			c.want.Kind, c.want.Number = plan.StepMint, 2
			wantStep(t, s.at(c.now), c.want)
		})
	}
}

func TestNoGenerationIsMadeWhen(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit func(*scene)
		now  time.Time
	}{
		"nothing happened":                       {func(*scene) {}, today},
		"it isn't due yet":                       {func(*scene) {}, due.Add(-1)},
		"the spec is that of another version":    {func(s *scene) { s.of(1).SpecHash = "v2:ab" }, today},
		"nobody knows the spec it was made from": {func(s *scene) { s.of(1).SpecHash = "" }, today},
		"the request was served":                 {func(s *scene) { s.Orders.Rotate, s.of(1).RotateServed = "x", "x" }, today},
		"the request was taken back":             {func(s *scene) { s.of(1).RotateServed = "x" }, today},
		"others have a key that is no more": {
			func(s *scene) { s.Highest, s.Orders.Compromised = 7, plan.NewNumbers(7) }, today,
		},
		"a rotation is aborted that is over":        {func(s *scene) { s.Highest, s.Orders.Abort = 2, plan.NewNumbers(2) }, today},
		"blockers of no rotation are to be ignored": {func(s *scene) { s.Orders.IgnoreBlockers = plan.NewNumbers(1) }, today},
		"it was due, and aborted": {
			func(s *scene) { s.of(1).AbortedCauses = []string{"RenewalDue:1"} }, tooLate.Add(-1),
		},
		"the spec changed, and it was aborted":        {changedAndAborted, today},
		"the spec changed, and it is being withdrawn": {changedAndWithdrawn, today},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := stable(t)
			c.edit(s)
			got := s.at(c.now)
			if got.Step.Kind == plan.StepMint || got.Stage != v1alpha1.StageStable || got.Stalled.Reason != "" {
				t.Errorf("it is: %+v, %s, %v", got.Step, got.Stage, got.Stalled)
			}
		})
	}
}

func changedAndAborted(s *scene) {
	s.Wish.Hash, s.of(1).AbortedCauses = "v1:ab", []string{"RenewalDue:1", "SpecChanged:v1:ab"}
}

func changedAndWithdrawn(s *scene) {
	s.Wish.Hash, s.Highest = "v1:ab", 2
	s.all = append(s.all, plan.Generation{
		Number: 2, Issuer: s.of(1).Issuer, Made: begun, Cause: "SpecChanged", CauseID: "v1:ab", SpecHash: "v1:ab",
		Withdrawn: begun, WithdrawnFor: v1alpha1.WithdrawnAborted,
	})
}

// Waiting for ever would be the outage itself.
func TestARotationThatWasDueAndAbortedIsBegunAgainWhenItCanWaitNoLonger(t *testing.T) {
	s := stable(t)
	s.of(1).AbortedCauses = []string{"RenewalDue:1"}
	wantStep(t, s.at(tooLate), plan.Step{Kind: plan.StepMint, Number: 2, Cause: "RenewalDue", CauseID: "1"})
	if got := s.at(due.Add(day)); !got.Next.Equal(tooLate) {
		t.Errorf("the next pass is at %s, want %s", got.Next, tooLate)
	}
}

func TestANumberIsNeverUsedTwice(t *testing.T) {
	s := stable(t)
	s.Orders.Rotate = "x"
	s.of(1).Retired = plan.NewNumbers(2, 5)
	if got := s.at(today).Step.Number; got != 6 {
		t.Errorf("it is %d, and 5 was there", got)
	}
	s.Highest = 0
	s.of(1).Number, s.of(1).Keyless = 3, true
	s.Highest = 8
	if got := s.at(today).Step.Number; got != 9 {
		t.Errorf("it is %d, and certificates tell of 8", got)
	}
}

func TestTheParentHasAnotherCA(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit func(*scene, *family)
		now  time.Time
		want string
	}{
		"not yet": {func(*scene, *family) {}, today, ""},
		"and it signs": {
			func(s *scene, f *family) { s.Parent.Signer = f.cas[2].Issuer() }, today, "ParentRotated",
		},
		"and it can't sign":              {parentNotReady, today, ""},
		"before the child is due":        {func(s *scene, f *family) { s.Parent.Signer = f.cas[2].Issuer() }, due, "ParentRotated"},
		"the same one, and it is due":    {func(*scene, *family) {}, due, "RenewalDue"},
		"and it is due while it rotates": {func(s *scene, _ *family) { s.Parent.Rotating = true }, due, ""},
		"and it rotates until the CA's end is near": {
			func(s *scene, _ *family) { s.Parent.Rotating = true }, due.Add(noon.Add(caLife).Sub(due) / 2), "RenewalDue",
		},
		"none, and the CA ends with that": {func(s *scene, f *family) { f.shorten(s) }, due, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, parent := ofAnother(t)
			c.edit(s, parent)
			got := s.at(c.now)
			if got.Step.Cause != c.want || (got.Step.Kind == plan.StepMint) != (c.want != "") {
				t.Errorf("got %+v, want one to mint for %q", got.Step, c.want)
			}
			if c.want == "ParentRotated" && got.Step.CauseID != parent.cas[2].Issuer().Fingerprint() {
				t.Errorf("its cause is identified by %s", got.Step.CauseID)
			}
		})
	}
}

func parentNotReady(s *scene, f *family) {
	s.Parent.Signer, s.Parent.NotReady = f.cas[2].Issuer(), plan.Verdict{Reason: "ParentNotReady", Message: "x"}
}

func TestAnotherGenerationCanNotBeMadeSince(t *testing.T) {
	upTo := func(s *scene, last int64) *plan.Generation {
		for number := int64(2); number <= last; number++ {
			s.all = append(s.all, plan.Generation{Number: number, Issuer: s.of(1).Issuer, Activated: noon, Made: noon})
		}
		s.Highest, s.Held = last, nil // whether they can go isn't known yet
		return s.of(last)
	}
	for sentence, c := range map[string]struct {
		edit            func(*scene)
		reason, message string
	}{
		"the spec is wrong": {func(s *scene) {
			s.WishErr, s.of(1).Deleting = errors.New("duration: x"), true
		}, "InvalidSpec", "duration: x"},
		"there are three already, and it isn't urgent": {func(s *scene) {
			upTo(s, 3).SpecHash = "v1:another"
		}, "TooManyGenerations", "generation 3 is to be replaced (the spec asks for another CA), but 3 generations are still needed"},
		"there are four already": {func(s *scene) {
			upTo(s, 4).Deleting = true
		}, "TooManyGenerations", `generation 4 is to be replaced (Secret "" was deleted), but 4 generations are still needed`},
		"older ones are still needed, and it was only asked for": {func(s *scene) {
			upTo(s, 4)
			s.Orders.Rotate = "x"
		}, "", ""},
		"the last one was made just before, for another spec": {func(s *scene) {
			s.Wish.Hash = "v1:cd"
			s.of(1).Cause, s.of(1).Made = "SpecChanged", today.Add(-delay+1)
		}, "", ""},
		"the last one was given up just before": {func(s *scene) {
			s.Wish.Hash, s.of(1).RetiredAt = "v1:cd", today.Add(-delay+1)
		}, "", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := stable(t)
			c.edit(s)
			for i := range s.Consumers { // they need the oldest generation
				s.Consumers[i].Leaf.Kept = "x"
			}
			got := s.at(today)
			if got.Step.Kind == plan.StepMint {
				t.Errorf("it is made: %+v", got.Step)
			}
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
		})
	}
}

// Two tools that fight over a spec don't get a CA with every change; what is urgent doesn't wait.
func TestTwoGenerationsAreADelayApart(t *testing.T) {
	s := stable(t)
	s.Wish.Hash = "v1:cd"
	s.of(1).Cause, s.of(1).Made = "SpecChanged", today
	if got := s.at(today.Add(delay - 1)); got.Step.Kind != "" || !got.Next.Equal(today.Add(delay)) {
		t.Errorf("got %+v, next at %s; want none, a delay after the last one", got.Step, got.Next)
	}
	if got := s.at(today.Add(delay)); got.Step.Cause != "SpecChanged" {
		t.Errorf("after a delay: %+v", got.Step)
	}
	s.of(1).Deleting = true
	if got := s.at(today); got.Step.Cause != "SecretDeleted" {
		t.Errorf("its Secret was deleted: %+v", got.Step)
	}
}
