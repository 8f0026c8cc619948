package simulation_test

import (
	"maps"
	"slices"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// act takes the step of a decision, as authority_steps.go does. It is one write, and may come long after the decision: what
// was seen then is what the write is for.
func (s *simulation) act(p *process, d decision) error {
	step := d.plan.Step
	var err error
	switch step.Kind {
	case plan.StepMint:
		err = s.mint(p, d)
	case plan.StepActivate:
		if err = s.confirm(d.seen); err == nil {
			err = s.record(p, d, step.Number, func(g *plan.Generation) {
				g.Activated = fact(s.wall(p))
				if step.RotateServed != "" {
					g.RotateServed = step.RotateServed
				}
			})
		}
	case plan.StepWithdraw:
		if step.For == v1alpha1.WithdrawnOutdated {
			if err := s.confirmGenerations(p, d); err != nil {
				return err
			}
		}
		err = s.record(p, d, step.Number, func(g *plan.Generation) { g.Withdrawn, g.WithdrawnFor = fact(s.wall(p)), step.For })
	case plan.StepRetire:
		err = s.retire(p, d)
	case plan.StepDelete:
		err = s.destroy(p, d)
	}
	if err != nil {
		return err
	}
	s.note("%s generation %d (%s%s), ran over %d", step.Kind, step.Number, step.Cause, step.For, len(step.RanOver))
	s.checkStep(d)
	return nil
}

// confirmGenerations makes sure that the cache misses none. Those that lost their labels get them back.
func (s *simulation) confirmGenerations(p *process, d decision) error {
	for _, number := range slices.Sorted(maps.Keys(s.generations)) {
		if g := s.generations[number]; g.unlabelled {
			next := *g
			next.identity, next.unlabelled = s.touch(g.identity), false
			s.putGeneration(p, &next)
			return errStale
		}
		if seen := d.seen.generations[number]; seen == nil || seen.unlabelled {
			return errStale
		}
	}
	return nil
}

// mint makes a generation. That its name is free is the lock.
func (s *simulation) mint(p *process, d decision) error {
	if err := s.confirmGenerations(p, d); err != nil {
		return err
	}
	number := d.plan.Step.Number
	if s.generations[number] != nil {
		return errExists
	}
	ca, err := s.newCA(p, d.seen.authority, number)
	if err != nil {
		return err
	}
	facts := plan.Generation{
		Number: number, Issuer: ca.Issuer(), Cause: d.plan.Step.Cause, CauseID: d.plan.Step.CauseID,
		SpecHash: d.in.Wish.Hash, RotateServed: d.plan.Step.RotateServed,
	}
	if facts.Cause == v1alpha1.CauseInitial {
		facts.Activated = fact(s.wall(p))
	}
	if signer, found := d.in.Lineage.Signer(); found {
		facts.EndorsedBy, err = s.generations[signer.Number].ca.Endorse(pki.Endorsement{
			Authority: authorityName, Number: number, Fingerprint: ca.Issuer().Fingerprint(),
		})
	}
	s.mints = append(s.mints, facts.Cause+":"+facts.CauseID)
	s.putGeneration(p, &generation{identity: s.create(), facts: facts, ca: ca})
	return err
}

func (s *simulation) newCA(p *process, a *authority, number int64) (*pki.Authority, error) {
	if a.wish.ImportedSecret != "" {
		return a.pair, nil
	}
	fields := a.wish.Fields
	fields.Generation = number
	request, err := pki.NewAuthorityRequest(fields)
	if err != nil {
		return nil, err
	}
	return pki.SelfSign(request, s.wall(p))
}

// confirm that the consumers are what the cache says, before what can't be taken back.
func (s *simulation) confirm(seen objects) error {
	for ref, live := range s.consumers {
		known := seen.consumers[ref]
		if !live.unlabelled && ref.Kind == plan.ConsumerSecret && (known == nil || known.version != live.version) {
			return errStale
		}
	}
	return nil
}

// record facts with a generation, if nobody wrote it since it was seen.
func (s *simulation) record(p *process, d decision, number int64, change func(*plan.Generation)) error {
	seen, live := d.seen.generations[number], s.generations[number]
	if seen == nil || live == nil {
		return errGone
	}
	next := *live
	var err error
	if next.identity, err = s.update(seen.identity, live.identity); err != nil {
		return err
	}
	change(&next.facts)
	s.putGeneration(p, &next)
	return nil
}

func (s *simulation) retire(p *process, d decision) error {
	if err := s.confirm(d.seen); err != nil {
		return err
	}
	signer, _ := d.in.Lineage.Signer()
	return s.record(p, d, signer.Number, func(g *plan.Generation) {
		g.Retired, g.RetiredAt = d.in.Lineage.Retired.With(d.plan.Step.Number), fact(s.wall(p))
		g.AbortedCauses = slices.Concat(g.AbortedCauses, d.plan.Step.AbortedCauses)
		if d.plan.Step.RotateServed != "" {
			g.RotateServed = d.plan.Step.RotateServed
		}
	})
}

// destroy the Secret that was seen, and no other of its name.
func (s *simulation) destroy(p *process, d decision) error {
	number := d.plan.Step.Number
	seen, live := d.seen.generations[number], s.generations[number]
	if live == nil {
		delete(p.cache.generations, number)
		return nil
	}
	if seen.uid != live.uid {
		return errConflict
	}
	s.writes++
	delete(s.generations, number)
	delete(p.cache.generations, number)
	s.wakeAll()
	return nil
}

// putGeneration stores a generation. Who wrote it sees it at once, the others when they hear of it.
func (s *simulation) putGeneration(p *process, next *generation) {
	s.generations[next.facts.Number] = next
	if p != nil {
		p.cache.generations[next.facts.Number] = next
	}
	s.wakeAll()
}

// report writes the status, if it changed.
func (s *simulation) report(p *process, d decision) error {
	known := map[int64]string{}
	var numbers []int64
	for _, g := range d.in.Lineage.Live {
		known[g.Number], numbers = g.Issuer.Fingerprint(), append(numbers, g.Number)
	}
	trusted := len(d.in.Lineage.Live) > 0
	for i := range d.in.Consumers {
		trusted = trusted && d.in.Consumers[i].Current
	}
	roots, before := d.in.Lineage.Bundle().Hash(), d.seen.authority
	if len(known) == 0 || before.trusted == trusted && before.roots == roots && maps.Equal(before.known, known) {
		return nil
	}
	next := *s.authority
	var err error
	if next.identity, err = s.update(before.identity, s.authority.identity); err != nil {
		return err
	}
	next.known, next.numbers, next.roots, next.trusted = known, numbers, roots, trusted
	s.authority, p.cache.authority = &next, &next
	s.wake(authorityKey)
	return nil
}
