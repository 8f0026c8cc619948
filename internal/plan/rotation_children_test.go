package plan_test

import (
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func childOn(number int64) plan.Child {
	return plan.Child{Authority: "shop/sub", Number: 4, On: number, Ends: noon.Add(caLife)}
}

// All that a child signed depends on the CA above it: it is waited for, also when it is retiring itself.
func TestAChildHoldsTheCAAboveIt(t *testing.T) {
	s := retiring(t)
	s.Children = []plan.Child{childOn(2), childOn(1)}
	got := s.at(opensB)
	wantStep(t, got, plan.Step{})
	if got.Stage != v1alpha1.StageReissuing || len(got.Holding) > 0 {
		t.Errorf("stage %s, holding %v", got.Stage, got.Holding)
	}
	s.Children = []plan.Child{childOn(2)}
	wantStep(t, s.at(opensB), plan.Step{Kind: plan.StepRetire, Number: 1})
}

// The next generation signs no child before it signs at all: one that is on it already isn't behind.
func TestAChildOfTheNextGenerationIsNotBehind(t *testing.T) {
	s := distributing(t)
	s.Children = []plan.Child{childOn(1), childOn(2)}
	if got := s.at(delivered); got.Stage != v1alpha1.StageDistributing {
		t.Errorf("stage %s", got.Stage)
	}
}

// The roots of a child are those above it: its next generation waits for nobody but this process.
func TestTheRotationOfAChildChangesNoRoots(t *testing.T) {
	s, parent := ofAnother(t)
	next := generationOf(t, 2, v1alpha1.CauseDue, "1", due)
	next.Issuer, next.SignedBy = intermediate(t, parent.cas[1]), "pki/root"
	s.all, s.Highest = append(s.all, next), 2
	for i := range s.Consumers {
		s.Consumers[i].Holds = []int64{1, 2} // since noon
	}
	wantStep(t, s.at(due), plan.Step{Kind: plan.StepActivate, Number: 2})
	s.Held = nil
	if got := s.at(due); !got.NextStepAt.Equal(due.Add(90 * time.Second)) {
		t.Errorf("just seen by this process: next step at %s", got.NextStepAt)
	}
	if got := s.Lineage.Bundle().Len(); got != 1 {
		t.Errorf("it has %d roots, want that of its parent", got)
	}
}

// Child and parent rotate at a time: the child has three generations, and each goes on its own.
func TestAChildFollowsItsParentWhileItIsBlocked(t *testing.T) {
	s := retiring(t)
	f := newFamily(t)
	f.cas[1], f.cas[2] = rootCA(t), rootCA(t)
	for number := range int64(2) {
		s.of(number+1).Issuer, s.of(number+1).SignedBy = intermediate(t, f.cas[1]), "pki/root"
	}
	s.cart().Leaf = leafOn(1, noon)
	s.cart().Leaf.Kept = "x"
	s.Parent = &plan.Parent{Signer: f.cas[2].Issuer()}
	wantStep(t, s.at(opensB), plan.Step{
		Kind: plan.StepMint, Number: 3, Cause: "ParentRotated", CauseID: f.cas[2].Issuer().Fingerprint(), RotateServed: "please",
	})
}

func TestAnAuthorityWaitsForItsParentWithoutCallingAPerson(t *testing.T) {
	notReady := plan.Verdict{Reason: v1alpha1.ReasonParentNotReady, Message: "x"}
	s, _ := ofAnother(t)
	s.Parent.NotReady, s.of(1).Deleting = notReady, true
	got := s.at(today)
	wantStep(t, got, plan.Step{})
	wantVerdict(t, "stalled", got.Stalled, "", "")
	first := plan.Authority(plan.AuthorityInput{RotationInput: plan.RotationInput{Parent: s.Parent, Wish: s.Wish}}, today)
	wantVerdict(t, "not ready", first.NotReady, notReady.Reason, "x")
	wantVerdict(t, "stalled", first.Stalled, "", "")
}
