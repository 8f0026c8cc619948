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
	{"skip gate A", mutation{output: skipGateA}, busy, ""},
	{"skip gate B", mutation{output: skipGateB}, busy, ""},
	{"sign early", mutation{lineage: signEarly}, busy, ""},
	{"drop the old root early", mutation{roots: dropEarly}, busy, ""},
	{"forget ConfigMaps", mutation{input: forget(ofKind(plan.ConsumerConfigMap))}, busy, ""},
	{"forget Secrets", mutation{input: forget(ofKind(plan.ConsumerSecret))}, busy, ""},
	{"forget ClusterTrustBundles", mutation{input: forget(ofKind(plan.ConsumerTrustBundle))}, busy, ""},
	{"no latch", mutation{lineage: noLatch}, busy, ""},
	{"bundle-since with every write", mutation{written: anyWrite}, busy, ""},
	{"exempt by the Secret's creation", mutation{input: bornWithSecret}, remade, ""},
	{"nobody is exempt", mutation{input: neverBorn}, busy, ""},
	{"gate B without pods", mutation{input: noPodsLater}, busy, ""},
	{"started after the change, without the delay", mutation{input: startedLater}, busy, ""},
	{"forget nodes", mutation{input: noNodes}, nodeLost, ""},
	{"only consumers that are found", mutation{input: forget(missing)}, unlabelled, ""},
	{"reuse a number", mutation{output: reuseNumbers}, hesitant, ""},
	{"compare the spec with the certificate", mutation{input: compareCertificate}, respecified, ""},
	{"shrink bundles first", mutation{output: shrinkFirst, roots: shrunk}, hesitant, ""},
	{"no monotonic floor", mutation{input: noFloor}, clockAhead, ""},
	{"ignore the deadline", mutation{output: noDeadline}, stubborn, ""},
	{"delete without a record", mutation{output: noRecord}, restored, ""},
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
	for _, mistake := range mistakes {
		t.Run(mistake.name, func(t *testing.T) {
			if right := outcome(mutation{}, mistake.schedule); right.invariant != "" {
				t.Fatalf("without the mistake: %v", right)
			}
			caught := outcome(mistake.mutation, mistake.schedule)
			if caught.invariant == "" {
				t.Fatal("nothing noticed it")
			}
			t.Logf("caught by %s: %.160s", caught.invariant, caught.message)
		})
	}
}
