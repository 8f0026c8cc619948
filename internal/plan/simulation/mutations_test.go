package simulation_test

import (
	"testing"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// mistakes are what the invariants must catch, each with the schedule that shows it.
var mistakes = []struct {
	name     string
	mutation mutation
	schedule schedule
	caughtBy string
}{
	{"skip gate A", mutation{output: skipGateA}, busy, invDistributed},
	{"skip gate B", mutation{output: skipGateB}, busy, invKeyInUse},
	{"sign early", mutation{lineage: signEarly}, busy, invDistributed},
	{"drop the old root early", mutation{roots: dropEarly}, busy, invSound},
	{"forget ConfigMaps", mutation{input: forget(ofKind(plan.ConsumerConfigMap))}, busy, invHandshake},
	{"forget Secrets", mutation{input: forget(ofKind(plan.ConsumerSecret))}, busy, invHandshake},
	{"forget ClusterTrustBundles", mutation{input: forget(ofKind(plan.ConsumerTrustBundle))}, busy, invHandshake},
	{"no latch", mutation{lineage: noLatch}, busy, invRest},
	{"bundle-since with every write", mutation{written: anyWrite}, busy, invLiveness},
	{"exempt by the Secret's creation", mutation{input: bornWithSecret}, remade, invHandshake},
	{"nobody is exempt", mutation{input: neverBorn}, busy, invLiveness},
	{"gate B without pods", mutation{input: noPodsLater}, busy, invHandshake},
	{"started after the change, without the delay", mutation{input: startedLater}, busy, invHandshake},
	{"forget nodes", mutation{input: noNodes}, nodeLost, invHandshake},
	{"only consumers that are found", mutation{input: forget(missing)}, unlabelled, invHandshake},
	{"reuse a number", mutation{output: reuseNumbers}, hesitant, invRest},
	{"compare the spec with the certificate", mutation{input: compareCertificate}, respecified, invSparing},
	{"shrink bundles first", mutation{output: shrinkFirst, roots: shrunk}, hesitant, invLiveness},
	{"no monotonic floor", mutation{input: noFloor}, clockAhead, invHandshake},
	{"ignore the deadline", mutation{output: noDeadline}, stubborn, invHandshake},
	{"delete without a record", mutation{output: noRecord}, restored, invKeyInUse},
}

// outcome of a schedule: the invariant that was broken, empty for none.
func outcome(m mutation, schedule schedule) (broken violation) {
	defer func() {
		if found, is := recover().(violation); is {
			broken = found
		}
	}()
	schedule(m)
	return violation{}
}

func TestMistakesAreCaught(t *testing.T) {
	t.Parallel()
	for _, mistake := range mistakes {
		t.Run(mistake.name, func(t *testing.T) {
			caught := outcome(mistake.mutation, mistake.schedule)
			if caught.invariant != mistake.caughtBy {
				t.Fatalf("caught by %q, want %q: %v", caught.invariant, mistake.caughtBy, caught)
			}
			t.Logf("caught by %s: %.160s", caught.invariant, caught.message)
		})
	}
}

// Without a mistake no schedule breaks anything.
func TestTheSchedulesWithoutMistakes(t *testing.T) {
	t.Parallel()
	for name, right := range map[string]schedule{
		"busy": busy, "nodeLost": nodeLost, "remade": remade, "unlabelled": unlabelled, "clockAhead": clockAhead,
		"stubborn": stubborn, "hesitant": hesitant, "respecified": respecified, "restored": restored,
	} {
		t.Run(name, func(t *testing.T) {
			if broken := outcome(mutation{}, right); broken.invariant != "" {
				t.Fatal(broken)
			}
		})
	}
}
