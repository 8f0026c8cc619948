package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestAGenerationRetiresWhenNobodyNeedsIt(t *testing.T) {
	s := retiring(t)
	got := s.at(opensB)
	wantStep(t, got, plan.Step{Kind: plan.StepRetire, Number: 1})
	if got.Stage != v1alpha1.StageRetiring || got.Cause != "RotationRequested" || !got.Started.Equal(begun) {
		t.Errorf("stage %s for %s since %s", got.Stage, got.Cause, got.Started)
	}
	s.Consumers = nil
	wantStep(t, s.at(signs), plan.Step{Kind: plan.StepRetire, Number: 1})
}

// Each of these alone keeps it.
func TestAGenerationDoesNotRetire(t *testing.T) {
	issuedAgain := "certificates are issued again by generation 2"
	onOld := func(_ testing.TB, s *scene) { s.cart().Leaf = leafOn(1, noon) }
	for sentence, c := range map[string]struct {
		edit func(testing.TB, *scene)
		now  time.Time
		want shut
	}{
		"before the delay is over": {nothing, opensB.Add(-1), shut{
			"the last certificate has to reach all pods: next step from 2026-12-04T13:06:00Z on", opensB, "", false, true,
		}},
		"before the delay of the last certificate is over": {func(_ testing.TB, s *scene) {
			s.cart().Leaf.Since = reissued.Add(time.Second)
		}, opensB, shut{"next step from", opensB.Add(time.Second), "", false, true}},
		"while there is a certificate of it": {onOld, opensB, shut{message: issuedAgain}},
		"while that lasts": {func(t testing.TB, s *scene) {
			onOld(t, s)
			s.cart().Leaf.Ends = opensB
		}, opensB, shut{message: issuedAgain}},
		"while one isn't issued again": {func(t testing.TB, s *scene) {
			onOld(t, s)
			s.cart().Leaf.Kept = "Denied: x"
		}, opensB, shut{message: "waits for Secret shop/cart", blockers: "Secret shop/cart: its certificate of generation 1 is " +
			"valid until 2027-02-22T12:00:00Z and isn't issued again: Denied: x"}},
		"while it has a child": {func(_ testing.TB, s *scene) {
			s.Children = []plan.Child{{Authority: "shop/sub", Number: 3, On: 1, Ends: opensB}}
		}, opensB, shut{message: "authorities below get CAs of generation 2"}},
		"before this process saw that for as long as kubelet takes": {func(_ testing.TB, s *scene) {
			s.Held[gateB] = 89 * time.Second
		}, opensB, shut{"next step from", opensB.Add(time.Second), "", false, true}},
		"when nobody knows since when one has its certificate": {func(_ testing.TB, s *scene) {
			s.cart().Leaf.Since, s.Held[gateB] = time.Time{}, delay-1
		}, opensB, shut{"next step from", opensB.Add(1), "", false, true}},
		"when one has its certificate since a time to come": {func(_ testing.TB, s *scene) {
			s.cart().Leaf.Since, s.Held[gateB] = opensB.Add(year), delay-1
		}, opensB, shut{"next step from", opensB.Add(1), "", false, true}},
		"before anybody looked at the pods": {
			func(_ testing.TB, s *scene) { s.Pods = nil }, opensB, shut{"looks for pods", time.Time{}, "", true, true},
		},
		"while a pod has its certificate": {func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{oldPod(opensA.Add(time.Hour / 2))}
		}, opensB, shut{"waits for Pod shop/cart-1", time.Time{}, "restart it after 2026-12-04T13:07:00Z", false, true}},
		"while a node may have its certificate": {func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{followingPod(noon)}
			s.Pods[0].NodeReadySince = opensB.Add(-delay + 1)
		}, opensB, shut{"waits for Pod shop/cart-1", time.Time{}, "is Ready only since", false, true}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := retiring(t)
			c.edit(t, s)
			got := s.at(c.now)
			wantShut(t, got, gateB, c.want)
			if end := noon.Add(caLife + time.Second); len(got.Blockers) > 0 && !got.Deadline.Equal(end) {
				t.Errorf("the deadline is %s, want its end", got.Deadline)
			}
		})
	}
}

func TestAGenerationRetiresThough(t *testing.T) {
	for sentence, edit := range map[string]func(testing.TB, *scene){
		"one has a certificate for a short time that was made after it signs": func(_ testing.TB, s *scene) {
			s.cart().Born, s.cart().Leaf.Since = signs.Add(time.Second), opensB
		},
		"an old pod uses what was made after it signs": func(_ testing.TB, s *scene) {
			s.cart().Born, s.Pods = signs.Add(time.Second), []plan.PodView{oldPod(noon)}
		},
		"its certificate ended": func(_ testing.TB, s *scene) {
			s.cart().Leaf = leafOn(1, noon)
			s.cart().Leaf.Ends, s.cart().Leaf.Kept = opensB.Add(-1), "x"
		},
		"its child ended": func(_ testing.TB, s *scene) {
			s.Children = []plan.Child{{Authority: "shop/sub", Number: 3, On: 1, Ends: opensB.Add(-1)}}
		},
		"the child is on the new one": func(_ testing.TB, s *scene) {
			s.Children = []plan.Child{{Authority: "shop/sub", Number: 3, On: 2, Ends: noon.Add(caLife)}}
		},
		"a pod was started late enough": func(_ testing.TB, s *scene) { s.Pods = []plan.PodView{oldPod(opensB.Add(podMargin))} },
		"a program doesn't hold a certificate": func(_ testing.TB, s *scene) {
			s.cart().Leaf, s.Pods = nil, []plan.PodView{oldPod(noon)} // its roots were waited for by the other gate
		},
		"somebody lacks its roots": func(_ testing.TB, s *scene) { s.cart().Holds = []int64{2} },
	} {
		t.Run(sentence, func(t *testing.T) {
			s := retiring(t)
			edit(t, s)
			wantStep(t, s.at(opensB), plan.Step{Kind: plan.StepRetire, Number: 1})
		})
	}
}

// What ended verifies nothing any more: nobody is waited for.
func TestAGenerationThatEndedRetiresWhateverThereIs(t *testing.T) {
	s := reissuing(t)
	s.Pods, s.Held = nil, nil
	s.cart().Leaf.Kept = "x"
	if got := s.at(noon.Add(caLife)); got.Step.Kind == plan.StepRetire {
		t.Errorf("in its last second %+v", got.Step)
	}
	wantStep(t, s.at(noon.Add(caLife+1)), plan.Step{Kind: plan.StepRetire, Number: 1})
}

// Each by its own gate: an older one that is blocked doesn't hold up the newer ones.
func TestGenerationsRetireOnTheirOwn(t *testing.T) {
	s := retiring(t)
	third := generationOf(t, 3, v1alpha1.CauseDue, "2", signs)
	third.Activated = signs
	s.all, s.Highest = append(s.all, third), 3
	s.cart().Leaf, s.Consumers[1].Leaf = leafOn(1, noon), leafOn(3, reissued)
	s.cart().Leaf.Kept = "x"
	got := s.at(opensB)
	wantStep(t, got, plan.Step{Kind: plan.StepRetire, Number: 2})
	if len(got.Blockers) != 1 {
		t.Errorf("blockers: %v", got.Blockers)
	}
}

// A next generation is prepared and signs while an older one still waits.
func TestANextGenerationDoesNotWaitForOlderOnes(t *testing.T) {
	s := retiring(t)
	s.cart().Leaf = leafOn(1, noon)
	s.cart().Leaf.Kept = "x"
	s.of(2).Issuer = newCA(t, 11*day, begun).Issuer() // and is due
	wantStep(t, s.at(opensB.Add(9*day)),
		plan.Step{Kind: plan.StepMint, Number: 3, Cause: "RenewalDue", CauseID: "2", RotateServed: "please"})
}

func TestWhatIsIssuedAgain(t *testing.T) {
	s := reissuing(t)
	late, kept, ended, done := leafOn(1, noon), leafOn(1, noon), leafOn(1, noon), leafOn(2, reissued)
	late.Ends, kept.Kept, kept.Ends, ended.Ends = noon.Add(95*day), "x", noon.Add(50*day), signs
	s.Consumers = []plan.Consumer{
		consumerOf("kept", kept), consumerOf("late", late), consumerOf("ended", ended), consumerOf("done", done),
		consumerOf("roots only", nil), consumerOf("soon", leafOn(1, noon)),
	}
	got := s.at(reissued)
	var names []string
	for _, c := range got.Reissue {
		names = append(names, c.Name)
	}
	if want := []string{"soon", "late", "kept"}; !slices.Equal(names, want) {
		t.Errorf("in this order: %v, want %v", names, want)
	}
	if got.All != 5 || got.Done != 2 || got.Stage != v1alpha1.StageReissuing {
		t.Errorf("%d of %d, stage %s", got.Done, got.All, got.Stage)
	}
}

// It blocks until its end at the latest, and somebody has to look then.
func TestTheEndOfACertificateThatIsKeptIsWaitedFor(t *testing.T) {
	s := retiring(t)
	s.cart().Leaf = leafOn(1, noon)
	s.cart().Leaf.Kept, s.cart().Leaf.Ends = "x", opensB.Add(day)
	s.of(2).Issuer = newCA(t, year, begun).Issuer()
	if got := s.at(opensB); got.Next.After(opensB.Add(day + time.Second)) {
		t.Errorf("the next pass is at %s, and the certificate ends at %s", got.Next, opensB.Add(day))
	}
}

// What nobody can write holds it until its end, when it goes: somebody has to look then.
func TestTheEndOfAGenerationIsWaitedFor(t *testing.T) {
	s := reissuing(t)
	s.of(2).Issuer = newCA(t, year, begun).Issuer()
	if end := noon.Add(caLife + time.Second); !s.at(opensB).Next.Equal(end) {
		t.Errorf("the next pass is at %s, and it ends at %s", s.at(opensB).Next, end)
	}
}

// A child of a CA that others have, which can't follow, holds it for a year, and nobody is told.
func TestAChildThatCanNotFollowIsNamed(t *testing.T) {
	s := retiring(t)
	s.Children = []plan.Child{childOn(1)}
	s.Children[0].Held = "waits for a pod"
	if got := s.at(opensB); len(got.Blockers) == 0 {
		t.Errorf("no blockers: %s", got.Message)
	}
	s.Orders.Compromised = plan.NewNumbers(1)
	if got := s.at(opensB); got.Step.Kind != plan.StepRetire || ranOver(got.Step) != "MTLSAuthority shop/sub" {
		t.Errorf("in an emergency: %+v, %s", got.Step, got.Message)
	}
}

// Deleting a Secret must never open a gate: its pods may have the certificate of the old CA.
func TestADeletedSecretKeepsItsGateShut(t *testing.T) {
	s := retiring(t)
	s.cart().Missing, s.cart().Leaf = true, nil
	if got := s.at(opensB); got.Step.Kind != "" || len(got.Holding) > 0 {
		t.Errorf("got %+v, holding %v", got.Step, got.Holding)
	}
	s.cart().Kind, s.cart().Born = plan.ConsumerConfigMap, noon // which has roots only
	wantStep(t, s.at(opensB), plan.Step{Kind: plan.StepRetire, Number: 1})
	s.cart().Kind, s.cart().Born = plan.ConsumerSecret, signs.Add(time.Second)
	wantStep(t, s.at(opensB), plan.Step{Kind: plan.StepRetire, Number: 1})
}
