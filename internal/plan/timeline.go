package plan

import (
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Moment is what a rotation does at a time, or waits for from then on.
type Moment struct {
	At   time.Time
	Plan RotationPlan
}

// mostMoments bounds a timeline: a rotation has about ten, and there may be one after the other.
const mostMoments = 200

// Timeline tells what will happen until a time if nobody does anything else: what was decided is done at once, everybody
// gets the new roots and certificates as they are due, and pods stay as they are. mint makes the certificate of a
// generation that there isn't yet.
func Timeline(in RotationInput, now, until time.Time, mint func(Step, time.Time) (pki.Issuer, error)) ([]Moment, error) {
	future := future{RotationInput: in, now: now, seen: map[Gate]time.Time{}, mint: mint}
	future.Consumers = slices.Clone(in.Consumers)
	if future.Pods == nil {
		future.Pods = []PodView{}
	}
	future.deliver()
	var all []Moment
	for len(all) < mostMoments && !future.now.After(until) {
		at := future.now
		future.renew()
		plan := Rotation(future.RotationInput, at)
		all = append(all, Moment{at, plan})
		if err := future.do(plan); err != nil {
			return all, err
		}
		if plan.Step.Kind == "" && !future.reissue(plan) {
			next := future.next(plan)
			if next.IsZero() {
				break
			}
			future.now = next
		}
		future.hold(plan, at)
	}
	return all, nil
}

// future is a cluster in which only the operator acts.
type future struct {
	RotationInput

	now   time.Time
	roots string // hash of what was delivered last
	seen  map[Gate]time.Time
	mint  func(Step, time.Time) (pki.Issuer, error)
}

// next is when something changes. Pods that are in the way stay as they are, so that looking at them again tells nothing.
func (f *future) next(plan RotationPlan) time.Time {
	looks := plan.Next.Equal(f.now.Add(f.Wish.PropagationDelay)) || plan.Next.Equal(f.now.Add(kubeletLag))
	if !looks || len(plan.Blockers) == 0 || plan.Deadline.IsZero() {
		return plan.Next
	}
	signer, _ := f.Lineage.Signer()
	since := signer.Activated
	if next, found := f.Lineage.Next(); found {
		since = next.Made
	}
	half := since.Add(plan.Deadline.Sub(since) / 2)
	times := []time.Time{half, plan.Deadline, plan.Due, plan.NextStepAt}
	for _, blocker := range plan.Blockers {
		times = append(times, blocker.Until)
	}
	return soonest(f.now, times...)
}

// do what was decided, and deliver what follows from it.
func (f *future) do(plan RotationPlan) error {
	all := slices.Concat(f.Lineage.Live, f.Lineage.Dead, f.Lineage.Refused)
	at := func(number int64) *Generation {
		return &all[slices.IndexFunc(all, func(g Generation) bool { return g.Number == number })]
	}
	switch step := plan.Step; step.Kind {
	case StepMint:
		issuer, err := f.mint(step, f.now)
		if err != nil {
			return err
		}
		all = append(all, Generation{
			Number: step.Number, Issuer: issuer, Made: f.now, Cause: step.Cause, CauseID: step.CauseID,
			SpecHash: f.Wish.Hash, RotateServed: step.RotateServed, SignedBy: f.above(),
		})
	case StepActivate:
		at(step.Number).Activated = f.now
		if step.RotateServed != "" {
			at(step.Number).RotateServed = step.RotateServed
		}
	case StepWithdraw:
		at(step.Number).Withdrawn, at(step.Number).WithdrawnFor = f.now, step.For
	case StepRetire:
		signer, _ := f.Lineage.Signer()
		record := at(signer.Number)
		record.Retired, record.RetiredAt = f.Lineage.Retired.With(step.Number), f.now
		record.AbortedCauses = slices.Concat(record.AbortedCauses, step.AbortedCauses)
		if step.RotateServed != "" {
			record.RotateServed = step.RotateServed
		}
	case StepDelete:
		all = slices.DeleteFunc(all, func(g Generation) bool { return g.Number == step.Number })
	default:
		return nil
	}
	f.Lineage = NewLineage(all)
	f.deliver()
	return nil
}

// above is the authority above, as it is recorded with a generation.
func (f *future) above() string {
	if f.Parent == nil {
		return ""
	}
	return f.Wish.SignedBy.String()
}

// deliver the roots of all live generations to all who can be written. A new generation with the roots of an older one
// changes nothing for those who have these.
func (f *future) deliver() {
	holds := make([]int64, len(f.Lineage.Live))
	for i, generation := range f.Lineage.Live {
		holds[i] = generation.Number
	}
	roots := f.Lineage.Bundle().Hash()
	for i := range f.Consumers {
		c := &f.Consumers[i]
		if c.Problem != "" || !c.Missing && slices.Equal(c.Holds, holds) {
			continue
		}
		if c.Missing || f.roots != roots {
			c.BundleSince = f.now
		}
		c.Missing, c.Current, c.Holds = false, true, holds
	}
	f.roots = roots
}

// renew the certificates that are due. What they were issued for isn't known: three times what they are renewed before
// their end, as by default.
func (f *future) renew() {
	signer, found := f.Lineage.Signer()
	if !found {
		return
	}
	for i := range f.Consumers {
		old := f.Consumers[i].Leaf
		if old == nil || old.Kept != "" || f.Consumers[i].Problem != "" || f.now.Before(old.Ends.Add(-old.RenewBefore)) {
			continue
		}
		leaf := *old
		if leaf.Ends = f.now.Add(renewFraction * leaf.RenewBefore); leaf.Ends.After(signer.end()) || leaf.RenewBefore == 0 {
			leaf.Ends = signer.end()
		}
		if leaf.On != signer.Number {
			leaf.On, leaf.Since = signer.Number, f.now
		}
		f.Consumers[i].Leaf = &leaf
	}
}

// reissue what is to be issued again, and tell whether there was anything.
func (f *future) reissue(plan RotationPlan) bool {
	signer, _ := f.Lineage.Signer()
	done := false
	for _, old := range plan.Reissue {
		i := slices.IndexFunc(f.Consumers, func(c Consumer) bool { return c.ConsumerRef == old.ConsumerRef })
		if old.Leaf.Kept == "" && old.Problem == "" {
			leaf := *old.Leaf
			leaf.On, leaf.Since = signer.Number, f.now
			f.Consumers[i].Leaf, done = &leaf, true
		}
	}
	return done
}

// hold measures for how long each gate's objects have been as they must be.
func (f *future) hold(plan RotationPlan, at time.Time) {
	held := map[Gate]time.Duration{}
	for gate := range f.seen {
		if !slices.Contains(plan.Holding, gate) {
			delete(f.seen, gate)
		}
	}
	for _, gate := range plan.Holding {
		if _, known := f.seen[gate]; !known {
			f.seen[gate] = at
		}
		held[gate] = f.now.Sub(f.seen[gate])
	}
	f.Held = held
}
