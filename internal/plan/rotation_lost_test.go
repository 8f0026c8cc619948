package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// lostAuthority is one whose Secret is gone, of which status knows generations 1 and 2.
func lostAuthority(t testing.TB) plan.AuthorityInput {
	t.Helper()
	in := signing(t, v1alpha1.MTLSAuthoritySpec{})
	in.Lineage, in.Known = plan.NewLineage(nil), []int64{1, 2}
	return in
}

func TestALostCAIsReplaced(t *testing.T) {
	got := plan.Authority(lostAuthority(t), noon)
	wantStep(t, got.RotationPlan, plan.Step{Kind: plan.StepMint, Number: 3, Cause: "Lost"})
	wantVerdict(t, "not ready", got.NotReady, "CALost", "Another CA is delivered to everybody and signs after that")
	wantVerdict(t, "stalled", got.Stalled, "", "")
	if got.Signer != nil || got.Stage != v1alpha1.StageLost || got.Adopt != nil {
		t.Errorf("signer %v, stage %s, adopt %v", got.Signer, got.Stage, got.Adopt)
	}
}

func TestALostCAIsNotReplacedWhile(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit            func(*plan.AuthorityInput)
		reason, message string
	}{
		"the spec is wrong": {func(in *plan.AuthorityInput) { in.WishErr = errWish }, "InvalidSpec", "duration: x"},
		"the Secret to import isn't there": {func(in *plan.AuthorityInput) {
			in.Wish.ImportedSecret, in.Imported.Missing = "corp-ca", true
		}, "ImportedSecretNotFound", `Secret "corp-ca" doesn't exist`},
		"its parent can't sign": {func(in *plan.AuthorityInput) {
			in.Parent = &plan.Parent{NotReady: plan.Verdict{Reason: "ParentNotReady", Message: "x"}}
		}, "", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := lostAuthority(t)
			c.edit(&in)
			got := plan.Authority(in, noon)
			wantStep(t, got.RotationPlan, plan.Step{})
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
			wantVerdict(t, "not ready", got.NotReady, "CALost", "")
		})
	}
}

// What was signed stays trusted: the certificate is adopted before anything else is made.
func TestLostRootsAreAdopted(t *testing.T) {
	one, two := newCA(t, year, noon).Issuer(), newCA(t, year, noon).Issuer()
	lost := []plan.LostRoot{{Number: 1, Issuer: one}, {Issuer: two}}
	kept := func(number int64, issuer pki.Issuer) plan.Generation {
		return plan.Generation{Number: number, Issuer: issuer, Activated: noon, Keyless: true, Cause: v1alpha1.CauseLost}
	}
	withdrawn := plan.Generation{Number: 4, Issuer: newCA(t, year, noon).Issuer(), Activated: noon, Withdrawn: noon}
	retired := withdrawn
	retired.Retired = plan.NewNumbers(1)
	for sentence, c := range map[string]struct {
		all  []plan.Generation
		want *plan.LostRoot
		step plan.StepKind
	}{
		"the first":                             {nil, &lost[0], ""},
		"one after the other":                   {[]plan.Generation{kept(1, one)}, &lost[1], ""},
		"each once, whatever its number became": {[]plan.Generation{kept(1, one), kept(3, two)}, nil, plan.StepMint},
		"beside one that may not sign":          {[]plan.Generation{withdrawn}, &lost[0], ""},
		"but never one that was retired":        {[]plan.Generation{retired}, &lost[1], ""},
		"beside one that signs, which has another key": {
			[]plan.Generation{{Number: 9, Issuer: one, Activated: noon, SpecHash: "v0:"}}, &lost[1], "",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := lostAuthority(t)
			in.LostRoots, in.Lineage = lost, plan.NewLineage(c.all)
			got := plan.Authority(in, noon)
			if diff := cmp.Diff(fingerprint(c.want), fingerprint(got.Adopt)); diff != "" {
				t.Error(diff)
			}
			if got.Step.Kind != c.step {
				t.Errorf("does %+v, want %q", got.Step, c.step)
			}
		})
	}
}

func fingerprint(lost *plan.LostRoot) string {
	if lost == nil {
		return "none"
	}
	return lost.Issuer.Fingerprint()
}

// What replaces a lost CA is delivered at the usual pace, and signs then.
func TestWhatReplacesALostCAIsDeliveredFirst(t *testing.T) {
	s := distributing(t)
	s.of(1).Keyless, s.of(2).Cause, s.of(2).CauseID, s.Orders.Rotate = true, v1alpha1.CauseLost, "", ""
	got := s.at(opensA.Add(-1))
	if got.Step.Kind != "" || got.Stage != v1alpha1.StageLost || !got.NextStepAt.Equal(opensA) || got.Cause != "Lost" ||
		len(got.Reissue) > 0 {
		t.Errorf("%+v, stage %s for %s, next step at %s, %d to issue again", got.Step, got.Stage, got.Cause, got.NextStepAt,
			len(got.Reissue))
	}
	wantStep(t, s.at(opensA), plan.Step{Kind: plan.StepActivate, Number: 2})
	s.of(2).Activated = opensA
	if got = s.at(opensA); got.Stage != v1alpha1.StageReissuing || len(got.Reissue) != 2 {
		t.Errorf("then stage %s, %d to issue again", got.Stage, len(got.Reissue))
	}
	s.Consumers[0].Leaf, s.Consumers[1].Leaf = leafOn(2, opensA), leafOn(2, opensA)
	wantStep(t, s.at(opensA.Add(delay)), plan.Step{Kind: plan.StepRetire, Number: 1})
}

// A deadline there is too: nobody can get a certificate meanwhile.
func TestBlockersOfALostCAAreWaitedForUntilItsEnd(t *testing.T) {
	s := blocked(t)
	s.of(1).Keyless = true
	if got := s.at(tooLate.Add(-1)); got.Step.Kind != "" || !got.Deadline.Equal(tooLate) {
		t.Errorf("before the deadline: %+v, deadline %s", got.Step, got.Deadline)
	}
	if got := s.at(tooLate); got.Step.Kind != plan.StepActivate {
		t.Errorf("at the deadline: %s", got.Message)
	}
}

// While none signs no certificate is renewed, and everybody would fail with the first that ends.
func TestBlockersOfALostCAAreWaitedForUntilTheFirstCertificateEnds(t *testing.T) {
	s := blocked(t)
	s.of(1).Keyless = true
	ends := begun.Add(30 * day)
	s.cart().Leaf.Ends = ends
	want := ends.Add(-4 * delay)
	if got := s.at(want.Add(-1)); got.Step.Kind != "" || !got.Deadline.Equal(want) {
		t.Errorf("before the deadline: %+v, deadline %s, want %s", got.Step, got.Deadline, want)
	}
	if got := s.at(want); got.Step.Kind != plan.StepActivate {
		t.Errorf("at the deadline: %s", got.Message)
	}
	s.cart().Leaf.Ends = begun.Add(delay)
	if got := s.at(begun); !got.Deadline.Equal(begun.Add(2 * delay)) {
		t.Errorf("when one ends at once the deadline is %s, want that there is time to deliver the root", got.Deadline)
	}
}

// Deleting the one that replaces a lost CA makes another one, and no loop.
func TestAReplacementThatIsGivenUpIsReplaced(t *testing.T) {
	s := distributing(t)
	s.of(1).Keyless, s.of(2).Cause, s.Orders.Abort = true, v1alpha1.CauseLost, plan.NewNumbers(2)
	wantStep(t, s.at(delivered), withdrawal(2, "Aborted"))
	s.of(2).Withdrawn, s.of(2).WithdrawnFor = delivered, v1alpha1.WithdrawnAborted
	if got := s.at(delivered).Step; got.Kind != plan.StepMint || got.Number != 3 {
		t.Errorf("then %+v", got)
	}
}

// Generations only retire while one signs: without one, there can't be too many to make it.
func TestALostCAIsReplacedWhateverThereIs(t *testing.T) {
	s := stable(t)
	for number := int64(2); number <= 4; number++ {
		s.all = append(s.all, generationOf(t, number, v1alpha1.CauseDue, "", noon))
		s.of(number).Activated = noon
	}
	for i := range s.all {
		s.all[i].Keyless = true
	}
	s.Highest = 4
	wantStep(t, s.at(today), plan.Step{Kind: plan.StepMint, Number: 5, Cause: "Lost"})
}

// Its record alone was lost, as by a backup without annotations: the message doesn't speak of a key that is gone.
func TestACAThatLostItsRecordIsTold(t *testing.T) {
	s := stable(t)
	s.of(1).Activated, s.cart().Holds = time.Time{}, nil
	s.at(today)
	got := plan.Authority(plan.AuthorityInput{RotationInput: s.RotationInput, Known: []int64{1}}, today)
	wantVerdict(t, "not ready", got.NotReady, "CALost", `Secret "my-ca-ca-1" lacks annotation mtls-operator.io/activated-at`)
	wantStep(t, got.RotationPlan, plan.Step{})
	s.cart().Holds = []int64{1}
	wantStep(t, s.at(today), plan.Step{Kind: plan.StepActivate, Number: 1})
}

func TestAnAuthorityTellsAndGoesOnWhenItsCAIsReplaced(t *testing.T) {
	s := distributing(t)
	in := plan.AuthorityInput{RotationInput: s.RotationInput, Known: []int64{1, 2}}
	got := plan.Authority(in, opensA.Add(-time.Minute))
	if got.Signer == nil || got.Signer.Number != 1 || got.Stage != v1alpha1.StageDistributing || !got.Next.Equal(opensA) {
		t.Errorf("signer %v, stage %s, next %s", got.Signer, got.Stage, got.Next)
	}
	wantVerdict(t, "not ready", got.NotReady, "", "")
	wantVerdict(t, "stalled", got.Stalled, "", "")
}
