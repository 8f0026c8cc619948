package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

var (
	gateA = plan.Gate{Opens: plan.StepActivate, Number: 2}
	gateB = plan.Gate{Opens: plan.StepRetire, Number: 1}
	// opensA and opensB are when the gates of the tests open.
	opensA = delivered.Add(delay)
	opensB = reissued.Add(delay)
)

// shut is how a gate that isn't open tells what it waits for.
type shut struct {
	message    string
	nextStepAt time.Time
	blockers   string // of all
	wantsPods  bool
	holds      bool // the objects are as they must be
}

func wantShut(t testing.TB, got plan.RotationPlan, gate plan.Gate, want shut) {
	t.Helper()
	if got.Step.Kind != "" {
		t.Errorf("it is open: %+v", got.Step)
	}
	var told []string
	for _, b := range got.Blockers {
		told = append(told, b.Kind+" "+b.Namespace+"/"+b.Name+": "+b.Message)
	}
	holds := cmp.Equal(got.Holding, []plan.Gate{gate})
	if !strings.Contains(got.Message, want.message) || (got.Message == "") != (want.message == "") {
		t.Errorf("it says %q, want %q", got.Message, want.message)
	}
	blockers := strings.Join(told, "; ")
	if !strings.Contains(blockers, want.blockers) || (blockers == "") != (want.blockers == "") {
		t.Errorf("blockers are %q, want %q", blockers, want.blockers)
	}
	if !got.NextStepAt.Equal(want.nextStepAt) || got.WantsPods != want.wantsPods || holds != want.holds {
		t.Errorf("next step at %s, wants pods %t, holding %v; want %s, %t, %t", got.NextStepAt, got.WantsPods, got.Holding,
			want.nextStepAt, want.wantsPods, want.holds)
	}
}

func TestTheNextGenerationSignsWhenEverybodyTrustsIt(t *testing.T) {
	s := distributing(t)
	got := s.at(opensA)
	wantStep(t, got, plan.Step{Kind: plan.StepActivate, Number: 2, RotateServed: "please"})
	if got.Done != 2 || got.All != 2 || got.Stage != v1alpha1.StageDistributing || got.Cause != "RotationRequested" ||
		!got.Started.Equal(begun) || len(got.Reissue) > 0 {
		t.Errorf("%d of %d, stage %s for %s since %s, %d to issue again", got.Done, got.All, got.Stage, got.Cause, got.Started,
			len(got.Reissue))
	}
	s.Consumers = nil
	wantStep(t, s.at(begun), plan.Step{Kind: plan.StepActivate, Number: 2, RotateServed: "please"})
}

// Each of these alone keeps it from signing.
func TestTheNextGenerationDoesNotSign(t *testing.T) {
	waits := "generation 2 is delivered to everybody, and signs after that"
	for sentence, c := range map[string]struct {
		edit func(testing.TB, *scene)
		now  time.Time
		want shut
	}{
		"before the delay is over": {nothing, opensA.Add(-1), shut{
			"the new CA has to reach all pods: next step from 2026-12-04T12:06:00Z on", opensA, "", false, true,
		}},
		"before the delay is over of the last one it was delivered to": {func(_ testing.TB, s *scene) {
			s.Consumers[1].BundleSince = delivered.Add(time.Second)
		}, opensA, shut{"next step from", opensA.Add(time.Second), "", false, true}},
		"before everybody has it": {
			func(_ testing.TB, s *scene) { s.cart().Holds = []int64{1} }, noon.Add(30 * day), shut{message: waits},
		},
		"before one has it that was deleted": {
			func(_ testing.TB, s *scene) { s.cart().Missing = true }, noon.Add(30 * day), shut{message: waits},
		},
		"before one has it that is new": {func(_ testing.TB, s *scene) {
			s.cart().Born, s.cart().Holds = begun.Add(time.Hour), nil
		}, begun.Add(2 * time.Hour), shut{message: waits}},
		"while one can't be written": {func(_ testing.TB, s *scene) {
			s.cart().Holds, s.cart().Problem = []int64{1}, "a webhook refuses it"
		}, opensA, shut{message: "waits for Secret shop/cart", blockers: "Secret shop/cart: a webhook refuses it"}},
		"while it can't issue a certificate that there is": {func(_ testing.TB, s *scene) {
			s.cart().Leaf.Refused = "dnsNames[0]: is excluded"
		}, opensA, shut{message: "waits for Secret shop/cart", blockers: "Secret shop/cart: generation 2 can't issue its " +
			"certificate: dnsNames[0]: is excluded"}},
		"while it can't sign a CA that there is": {func(_ testing.TB, s *scene) {
			s.Children = []plan.Child{childOn(1)}
			s.Children[0].Refused = "its path length is 0"
		}, opensA, shut{message: "waits for MTLSAuthority shop/sub", blockers: "MTLSAuthority shop/sub: generation 2 " +
			"can't sign it: its path length is 0"}},
		"before it is valid for those whose clock is behind": {func(t testing.TB, s *scene) {
			s.of(2).Issuer = newCA(t, caLife, opensA.Add(time.Hour)).Issuer()
		}, opensA, shut{"next step from", opensA.Add(time.Hour), "", false, true}},
		"before this process saw that for as long as kubelet takes": {func(_ testing.TB, s *scene) {
			s.Held[gateA] = 89 * time.Second
		}, opensA, shut{"next step from", opensA.Add(time.Second), "", false, true}},
		"just after the process started": {
			func(_ testing.TB, s *scene) { s.Held = nil }, opensA,
			shut{"next step from", opensA.Add(90 * time.Second), "", false, true},
		},
		"when nobody knows since when one has it": {func(_ testing.TB, s *scene) {
			s.cart().BundleSince, s.Held[gateA] = time.Time{}, delay-1
		}, noon.Add(30 * day), shut{"next step from", noon.Add(30*day + 1), "", false, true}},
		"when one has it since a time that is to come": {func(_ testing.TB, s *scene) {
			s.cart().BundleSince, s.Held[gateA] = opensA.Add(year), delay-1
		}, opensA, shut{"next step from", opensA.Add(1), "", false, true}},
		"when one has it since a moment that is to come": {func(_ testing.TB, s *scene) {
			s.cart().BundleSince = opensA.Add(time.Minute)
		}, opensA, shut{"next step from", opensA.Add(time.Minute + delay), "", false, true}},
		"before anybody looked at the pods": {
			func(_ testing.TB, s *scene) { s.Pods = nil }, opensA,
			shut{"looks for pods that can't follow", time.Time{}, "", true, true},
		},
		"while a pod has the old roots": {func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{oldPod(noon)}
		}, opensA, shut{
			"waits for Pod shop/cart-1", time.Time{}, `Pod shop/cart-1: container "app" uses Secret "cart"`, false, true,
		}},
		"while a node may have the old roots": {func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{followingPod(noon)}
			s.Pods[0].NodeReadySince = time.Time{}
		}, opensA, shut{"waits for Pod shop/cart-1", time.Time{}, "isn't Ready", false, true}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := distributing(t)
			c.edit(t, s)
			got := s.at(c.now)
			wantShut(t, got, gateA, c.want)
			if !c.want.nextStepAt.IsZero() && !got.Next.Equal(c.want.nextStepAt) {
				t.Errorf("the next pass is at %s, want %s", got.Next, c.want.nextStepAt)
			}
			if len(got.Blockers) > 0 && !got.Deadline.Equal(tooLate) {
				t.Errorf("the deadline is %s, want %s", got.Deadline, tooLate)
			}
		})
	}
}

func nothing(testing.TB, *scene) {}

// oldPod mounts the Secret of cart by subPath since a time; followingPod as a volume.
func oldPod(at time.Time) plan.PodView {
	return startedAt(runningPod(subPath(podOf(secretVolume("cart")), "ca.crt", "")), at)
}

func followingPod(at time.Time) plan.PodView {
	return startedAt(runningPod(podOf(secretVolume("cart"))), at)
}

func TestTheNextGenerationSignsThough(t *testing.T) {
	for sentence, edit := range map[string]func(testing.TB, *scene){
		"one doesn't have it for long that was made after it": func(_ testing.TB, s *scene) {
			s.cart().Born, s.cart().BundleSince = begun.Add(time.Second), opensA
		},
		"one without a certificate has it":  func(_ testing.TB, s *scene) { s.cart().Leaf = nil },
		"a problem doesn't matter any more": func(_ testing.TB, s *scene) { s.cart().Problem = "x" },
		"a pod was started late enough": func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{oldPod(opensA.Add(podMargin))}
		},
		"a pod that follows has run for long": func(_ testing.TB, s *scene) { s.Pods = []plan.PodView{followingPod(noon)} },
		"an old pod uses what was made after it": func(_ testing.TB, s *scene) {
			s.cart().Born, s.Pods = begun.Add(time.Second), []plan.PodView{oldPod(noon)}
		},
		"nodes may not be read": func(_ testing.TB, s *scene) {
			s.Pods = []plan.PodView{followingPod(noon)}
			s.Pods[0].NodeKnown, s.Pods[0].NodeReadySince = false, time.Time{}
		},
		"nobody knows since when one has it, and it was seen for a delay": func(_ testing.TB, s *scene) {
			s.cart().BundleSince, s.Held[gateA] = time.Time{}, delay
		},
		"the process saw it for as long as kubelet takes": func(_ testing.TB, s *scene) { s.Held[gateA] = 90 * time.Second },
		"the spec is wrong by now":                        func(_ testing.TB, s *scene) { s.WishErr, s.Wish.Hash = errWish, "" },
		"a child is on the old one":                       func(_ testing.TB, s *scene) { s.Children = []plan.Child{childOn(1)} },
	} {
		t.Run(sentence, func(t *testing.T) {
			s := distributing(t)
			edit(t, s)
			wantStep(t, s.at(opensA), plan.Step{Kind: plan.StepActivate, Number: 2, RotateServed: "please"})
		})
	}
}

// Exempt is who was made after the generation, not in the same second, and not who was only deleted and made again.
func TestOneMadeInTheSameSecondAsTheGenerationCounts(t *testing.T) {
	s := distributing(t)
	s.cart().Born, s.cart().BundleSince = begun, opensA
	if got := s.at(opensA); got.Step.Kind != "" || !got.NextStepAt.Equal(opensA.Add(delay)) {
		t.Errorf("got %+v, next step at %s", got.Step, got.NextStepAt)
	}
}

// With a propagation delay that is shorter than kubelet takes, as in tests, nobody waits for longer.
func TestAShortDelayIsTheWholeWait(t *testing.T) {
	s := distributing(t)
	s.Wish.PropagationDelay, s.Held[gateA] = time.Second, time.Second
	if got := s.at(delivered.Add(time.Second)); got.Step.Kind != plan.StepActivate {
		t.Errorf("it waits: %s", got.Message)
	}
}

// A pod that is stuck is looked at again, and told with the others.
func TestStuckPodsAreLookedAtAgain(t *testing.T) {
	s := distributing(t)
	s.Pods = []plan.PodView{oldPod(noon)}
	if got := s.at(opensA); !got.Next.Equal(opensA.Add(delay)) {
		t.Errorf("the next pass is at %s, want a delay later", got.Next)
	}
	s.Pods = []plan.PodView{followingPod(noon)}
	s.Pods[0].NodeReadySince = opensA.Add(-delay + time.Minute)
	if got := s.at(opensA); !got.Next.Equal(opensA.Add(time.Minute)) {
		t.Errorf("the next pass is at %s, want when the node was ready for a delay", got.Next)
	}
}
