package simulation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// seeded chances are the same each time.
type seeded struct{ *rand.Rand }

func withSeed(seed uint64) seeded { return seeded{rand.New(rand.NewPCG(seed, seed))} }

func (s seeded) of(n int, _ string) int { return s.IntN(n) }

// happening is something that people, programs and machines do.
type happening func(*simulation)

// everyday is what happens in a cluster all the time. The first one is nothing.
var everyday = []happening{
	func(*simulation) {},
	func(s *simulation) { s.addCertificate(fmt.Sprint("app-", s.last)) },
	func(s *simulation) { s.addCertificate(fmt.Sprint("app-", s.last)); s.anyPod() },
	func(s *simulation) { s.anyPod() },
	func(s *simulation) { s.anyPod() },
	func(s *simulation) {
		if name := s.anyCertificate(); name != "" && len(s.certificates) > 2 {
			s.deleteCertificate(name, s.of(2, "retain") == 1)
		}
	},
	func(s *simulation) {
		if name := s.anyCertificate(); name != "" {
			s.editCertificate(name, func(c *certificate) { c.wish.RenewToken = fmt.Sprint(s.last) })
		}
	},
	func(s *simulation) { s.selectSpace(s.anySpace(), s.of(3, "selected") > 0) },
	func(s *simulation) { s.restartNamed() },
	func(s *simulation) {
		if len(s.pods) > 0 {
			s.terminate(s.pods[s.of(len(s.pods), "pod")])
		}
	},
}

// accidents are what goes wrong.
var accidents = []happening{
	func(s *simulation) { s.deleteConsumer(s.anyRef()) },
	func(s *simulation) {
		if name := s.anyCertificate(); name != "" {
			s.unlabel(secretRef(name))
		}
	},
	func(s *simulation) { s.overlap() },
	func(s *simulation) { s.crash() },
	func(s *simulation) {
		if !s.noTime { // whether a pod is older than a change is told by clocks
			s.nodeChanges(s.nodes[s.of(len(s.nodes), "node")])
		}
	},
	func(s *simulation) { s.stepClock(s.processes[len(s.processes)-1], s.anyOffset()) },
}

// orders are what people do about rotations.
var orders = []happening{
	func(s *simulation) { s.rotate(fmt.Sprint("request-", s.last)) },
	func(s *simulation) { s.rotate(fmt.Sprint("request-", s.last)) },
	func(s *simulation) { s.respec([]string{"first", "second"}[s.of(2, "spec")]) },
	func(s *simulation) { s.abort(s.newest().facts.Number) },
	func(s *simulation) { s.deleteGeneration(s.newest()) },
	func(s *simulation) {
		if len(s.backups) > 0 {
			s.restore(s.backups[s.of(len(s.backups), "backup")])
		}
	},
}

// rashOrders run over whoever can't follow.
var rashOrders = []happening{
	func(s *simulation) { s.compromise(s.newest().facts.Number) },
	func(s *simulation) { s.compromise(max(1, s.newest().facts.Number-1)) },
	func(s *simulation) { s.ignore(s.newest().facts.Number) },
	func(s *simulation) { s.swapImported() },
	func(s *simulation) { s.swapImported() },
}

// storm has many things happen, with pauses of seconds to days.
func (s *simulation) storm(count int, kinds ...[]happening) {
	all := slices.Concat(kinds...)
	for range count {
		s.backups = slices.AppendSeq(s.backups, maps.Values(s.generations))
		all[s.of(len(all), "happening")](s)
		s.pause()
	}
}

func (s *simulation) pause() {
	unit := []time.Duration{time.Second, 20 * time.Second, s.delay / 2, s.delay, s.life / 20}[s.of(5, "pause")]
	s.runUntil(s.now.Add(unit * time.Duration(1+s.of(7, "length")) / 3))
}

// finish: people do what status says, machines are repaired, and then the rotation must end, all must be on one generation,
// and nothing more be written.
func (s *simulation) finish() {
	s.calmDown()
	limit := 6*s.delay + 20*time.Minute
	for end := s.now.Add(limit); s.now.Before(end); {
		s.restartNamed()
		s.runUntil(s.now.Add(s.delay / 5))
	}
	if s.lastPlan.Stage != v1alpha1.StageStable {
		s.fail(invLiveness, "the rotation is %s after %s: %s", s.lastPlan.Stage, limit, s.lastPlan.Message)
	}
	if d := s.decide(s.processes[0]); d.plan.Step.Kind != "" {
		s.fail(invRest, "%s of generation %d is tried for ever", d.plan.Step.Kind, d.plan.Step.Number)
	}
	s.checkEnd()
	writes, issues := s.writes, s.issued()
	s.runUntil(s.now.Add(time.Minute))
	if s.issued() == issues && s.writes != writes && len(s.generations) == 1 {
		s.fail(invRest, "%d writes without a need", s.writes-writes)
	}
}

// calmDown ends what goes wrong.
func (s *simulation) calmDown() {
	s.note("all calms down")
	s.adverse = false
	s.processes = s.processes[:1]
	for _, n := range s.nodes {
		n.recover(s.now)
	}
	s.stepClock(s.processes[0], 0)
	for _, c := range s.sorted() {
		if c.retained { // it would hold its generation for as long as it lives
			for _, p := range s.pods {
				if p.leaf == c.ref || p.roots == c.ref {
					p.excused = "its Secret is deleted"
				}
			}
			s.deleteConsumer(c.ref)
		}
	}
}

func (s *simulation) issued() int {
	count := 0
	for _, all := range s.issues {
		count += len(all)
	}
	return count
}

// checkEnd: everybody holds exactly the generation that signs, and every certificate is its.
func (s *simulation) checkEnd() {
	lineage := s.objects.lineage()
	signer, _ := lineage.Signer()
	if len(lineage.Live) != 1 {
		s.fail(invLiveness, "%d generations are left", len(lineage.Live))
	}
	for _, c := range s.sorted() {
		if !s.expected(c) {
			continue
		}
		if c.hash != signer.Issuer.Bundle().Hash() {
			s.fail(invSound, "%s %s holds other roots than the signer's at the end", c.ref.Kind, c.ref.Name)
		}
		if leaf := c.content.leaf; leaf != nil && !c.retained && leaf.on(lineage) != signer.Number {
			s.fail(invSound, "the certificate in %s is of generation %d at the end", c.ref.Name, leaf.by)
		}
	}
}
