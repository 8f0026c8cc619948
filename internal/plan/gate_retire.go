package plan

import (
	"fmt"
	"time"
)

// gateB is what a generation waits for before it goes: nothing that it signed is in use any more.
func (r *rotation) gateB(y Generation) gate {
	g := gate{id: Gate{Opens: StepRetire, Number: y.Number}, since: r.signer.Activated, deadline: y.end().Add(time.Second)}
	if r.now.After(y.end()) {
		g.open, g.objects = true, true // it verifies nothing any more
		return g
	}
	g.again = g.deadline
	emergency := r.Orders.Compromised.Has(y.Number)
	g.override(emergency || r.Orders.IgnoreBlockers.Has(r.signer.Number), false)
	times := newTimes(r.delay(emergency))
	// Since then it signs nothing: when another one began to, or when it was withdrawn and the one before it signs again.
	replaced := latest(r.signer.Activated, y.Withdrawn)
	waiting, stuck := r.certificatesOn(y, replaced, &g, &times)
	childrenWaiting, childrenStuck := r.childrenOn(y, &g)
	g.block(append(stuck, childrenStuck...)...)
	g.objects = r.await(&g, waiting, childrenWaiting, &times) == 0 && len(g.blockers) == 0
	g.waiting = fmt.Sprintf("generation %d goes once its last certificate was replaced everywhere", y.Number)
	r.settle(&g, times, times.at, func(c *Consumer) time.Time { return c.issuerSince(replaced) })
	return g
}

// isOn tells whether what is on a generation, by its number, needs y. What y signed counts as the next one's if that has its
// key, and is nobody's if that one never signs.
func (r *rotation) isOn(number int64, y Generation) bool {
	return number == y.Number ||
		r.next.Number > 0 && number == r.next.Number && r.next.Issuer.SameIdentity(y.Issuer)
}

// certificatesOn a generation are still in use: those that will be issued again, and those that won't. The times since when
// the others are on another one are added.
func (r *rotation) certificatesOn(y Generation, replaced time.Time, g *gate, times *times,
) (waiting, stuck []Blocker) {
	for i := range r.Consumers {
		c := &r.Consumers[i]
		switch {
		case c.Missing && c.issuerSince(replaced) != always:
			stuck = append(stuck, c.blocker("it doesn't exist any more, and pods still have what was in it"))
		case c.Leaf == nil:
		case !r.isOn(c.Leaf.On, y) || r.now.After(c.Leaf.Ends):
			times.add(c.issuerSince(replaced), r.now)
		case c.Leaf.Kept != "":
			g.again = soonest(r.now, g.again, c.Leaf.Ends.Add(time.Second))
			stuck = append(stuck, c.blocker(fmt.Sprintf("its certificate of generation %d is valid until %s and isn't issued again: %s",
				y.Number, c.Leaf.Ends.UTC().Format(time.RFC3339), c.Leaf.Kept)))
		default:
			waiting = append(waiting, c.blocker("its certificate isn't issued again yet"))
		}
	}
	return waiting, stuck
}

// childrenOn a generation are CAs below that are still in use: those that follow by themselves, and those whose own rotation
// is held up.
func (r *rotation) childrenOn(y Generation, g *gate) (waiting, stuck []Blocker) {
	for _, child := range r.Children {
		if !r.isOn(child.On, y) || r.now.After(child.Ends) {
			continue
		}
		g.again = soonest(r.now, g.again, child.Ends.Add(time.Second))
		message := fmt.Sprintf("its generation %d was signed by generation %d", child.Number, y.Number)
		if child.Held == "" {
			waiting = append(waiting, child.blocker(message))
			continue
		}
		stuck = append(stuck, child.blocker(message+", and its own rotation waits: "+child.Held))
	}
	return waiting, stuck
}
