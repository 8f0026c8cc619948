package simulation_test

import (
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// mutation is a mistake that the operator could be made with: a change of what the planner sees, or of what is done with what
// it says. Nil functions change nothing.
type mutation struct {
	// lineage as the passes see it, and the roots that they deliver.
	lineage func(*simulation, *process, plan.Lineage) plan.Lineage
	roots   func(*simulation, plan.Lineage) pki.Bundle
	// input and output of the planner.
	input  func(*simulation, *plan.AuthorityInput)
	output func(*simulation, plan.AuthorityInput, *plan.AuthorityPlan)
	// written is a consumer that is about to be.
	written func(*consumer, time.Time)
}

// complete the mutation with functions that change nothing.
func (m mutation) complete() mutation {
	if m.lineage == nil {
		m.lineage = func(_ *simulation, _ *process, l plan.Lineage) plan.Lineage { return l }
	}
	if m.roots == nil {
		m.roots = func(_ *simulation, l plan.Lineage) pki.Bundle { return l.Bundle() }
	}
	if m.input == nil {
		m.input = func(*simulation, *plan.AuthorityInput) {}
	}
	if m.output == nil {
		m.output = func(*simulation, plan.AuthorityInput, *plan.AuthorityPlan) {}
	}
	if m.written == nil {
		m.written = func(*consumer, time.Time) {}
	}
	return m
}

// changed lineage: the same generations with other facts.
func changed(l plan.Lineage, change func(*plan.Generation)) plan.Lineage {
	var all []plan.Generation
	for _, some := range [][]plan.Generation{l.Live, l.Dead, l.Refused} {
		for _, g := range some {
			change(&g)
			all = append(all, g)
		}
	}
	return plan.NewLineage(all)
}

// stepIf nothing else is to be done.
func stepIf(yes bool, p *plan.AuthorityPlan, step plan.Step) {
	if yes && p.Step.Kind == "" {
		p.Step = step
	}
}

func skipGateA(_ *simulation, in plan.AuthorityInput, p *plan.AuthorityPlan) {
	next, found := in.Lineage.Next()
	stepIf(found, p, plan.Step{Kind: plan.StepActivate, Number: next.Number})
}

func skipGateB(_ *simulation, in plan.AuthorityInput, p *plan.AuthorityPlan) {
	_, found := in.Lineage.Next()
	if old := in.Lineage.Retiring(); len(old) > 0 {
		stepIf(!found, p, plan.Step{Kind: plan.StepRetire, Number: old[0].Number})
	}
}

// signEarly: what is made signs, whoever trusts it.
func signEarly(_ *simulation, _ *process, l plan.Lineage) plan.Lineage {
	return changed(l, func(g *plan.Generation) {
		if g.Activated.IsZero() {
			g.Activated = g.Made
		}
	})
}

// dropEarly: the bundles shrink as soon as the new generation signs.
func dropEarly(_ *simulation, l plan.Lineage) pki.Bundle {
	signer, found := l.Signer()
	if _, distributing := l.Next(); !found || distributing {
		return l.Bundle()
	}
	return signer.Issuer.Bundle()
}

// forget consumers.
func forget(which func(*plan.Consumer) bool) func(*simulation, *plan.AuthorityInput) {
	return func(_ *simulation, in *plan.AuthorityInput) {
		kept := []plan.Consumer{}
		for i := range in.Consumers {
			if !which(&in.Consumers[i]) {
				kept = append(kept, in.Consumers[i])
			}
		}
		in.Consumers = kept
	}
}

func ofKind(kind plan.ConsumerKind) func(*plan.Consumer) bool {
	return func(c *plan.Consumer) bool { return c.Kind == kind }
}

func missing(c *plan.Consumer) bool { return c.Missing }

// noLatch: who signs follows from who holds what, each time anew.
func noLatch(_ *simulation, p *process, l plan.Lineage) plan.Lineage {
	return changed(l, func(g *plan.Generation) {
		for _, c := range p.cache.consumers {
			if g.Number > 1 && !g.Issuer.Bundle().In(c.leaf.Bundle) {
				g.Activated = time.Time{}
			}
		}
		for name := range p.cache.certificates {
			if g.Number > 1 && p.visible(secretRef(name)) == nil {
				g.Activated = time.Time{}
			}
		}
	})
}

// anyWrite counts as a change of the roots.
func anyWrite(c *consumer, now time.Time) { c.leaf.BundleSince = now }

// bornWithSecret: a Secret that is made again counts as new.
func bornWithSecret(s *simulation, in *plan.AuthorityInput) {
	for i := range in.Consumers {
		if found := s.consumers[in.Consumers[i].ConsumerRef]; found != nil {
			in.Consumers[i].Born = found.made
		}
	}
}

// neverBorn: nobody is too young to count.
func neverBorn(_ *simulation, in *plan.AuthorityInput) {
	for i := range in.Consumers {
		in.Consumers[i].Born = time.Time{}
	}
}

// noPodsLater: a retirement looks at no pods.
func noPodsLater(_ *simulation, in *plan.AuthorityInput) {
	if _, found := in.Lineage.Next(); !found {
		in.Pods = []plan.PodView{}
	}
}

// startedLater: a container that started after the change counts as one that has it.
func startedLater(s *simulation, in *plan.AuthorityInput) {
	for _, view := range in.Pods {
		view.Pod.CreationTimestamp.Time = view.Pod.CreationTimestamp.Add(s.delay)
		for i := range view.Pod.Status.ContainerStatuses {
			running := view.Pod.Status.ContainerStatuses[i].State.Running
			running.StartedAt.Time = running.StartedAt.Add(s.delay + time.Minute)
		}
	}
}

func noNodes(_ *simulation, in *plan.AuthorityInput) {
	for i := range in.Pods {
		in.Pods[i].NodeKnown = false
	}
}

// noFloor: only the clock counts.
func noFloor(_ *simulation, in *plan.AuthorityInput) {
	in.Held = map[plan.Gate]time.Duration{}
	for _, g := range in.Lineage.Live {
		in.Held[plan.Gate{Opens: plan.StepActivate, Number: g.Number}] = year
		in.Held[plan.Gate{Opens: plan.StepRetire, Number: g.Number}] = year
	}
}

// noDeadline: who can't follow is waited for, for ever.
func noDeadline(_ *simulation, _ plan.AuthorityInput, p *plan.AuthorityPlan) {
	if p.Step.Kind == plan.StepActivate && len(p.Step.RanOver) > 0 {
		p.Step = plan.Step{}
	}
}

// reuseNumbers: the next number is one more than that of what is there.
func reuseNumbers(_ *simulation, in plan.AuthorityInput, p *plan.AuthorityPlan) {
	if p.Step.Kind == plan.StepMint && len(in.Lineage.Live) > 0 {
		p.Step.Number = in.Lineage.Live[len(in.Lineage.Live)-1].Number + 1
	}
}

// compareCertificate: the spec is compared with what was made of it, which says something else.
func compareCertificate(_ *simulation, in *plan.AuthorityInput) {
	if in.Lineage.Newest() > 1 {
		in.Lineage = changed(in.Lineage, func(g *plan.Generation) { g.SpecHash = "v1:clamped" })
	}
}

// shrinkFirst: the bundles shrink before it is recorded that the old generation is no more.
func shrinkFirst(s *simulation, _ plan.AuthorityInput, p *plan.AuthorityPlan) {
	if p.Step.Kind != plan.StepRetire || s.shrinking {
		return
	}
	s.shrinking, p.Step = true, plan.Step{}
	s.wakeAll()
}

func shrunk(s *simulation, l plan.Lineage) pki.Bundle {
	signer, found := l.Signer()
	if !found || !s.shrinking {
		return l.Bundle()
	}
	return signer.Issuer.Bundle()
}

// noRecord: what is no more is deleted, and not recorded.
func noRecord(_ *simulation, _ plan.AuthorityInput, p *plan.AuthorityPlan) {
	if p.Step.Kind == plan.StepRetire {
		p.Step = plan.Step{Kind: plan.StepDelete, Number: p.Step.Number}
	}
}
