package plan

import (
	"fmt"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// gateA is what a generation waits for before it signs: everybody trusts it, has done so long enough for all that copies
// and caches, and it can sign for everybody.
func (r *rotation) gateA(x Generation) gate {
	emergency := r.Orders.Compromised.Has(r.signer.Number)
	times := newTimes(r.delay(emergency))
	deadline := latest(r.patience(), x.Made.Add(2*times.delay)) // one that comes late has its time too
	g := gate{id: Gate{Opens: StepActivate, Number: x.Number}, since: x.Made, deadline: deadline}
	g.override(emergency || r.Orders.IgnoreBlockers.Has(x.Number), !r.now.Before(deadline))
	waiting, stuck := r.without(x, &g, &times)
	g.block(append(stuck, r.refusedChildren(x)...)...)
	g.objects = r.await(&g, waiting, nil, &times) == 0 && len(g.blockers) == 0
	g.waiting = fmt.Sprintf("generation %d is delivered to everybody, and signs after that", x.Number)
	r.settle(&g, times, latest(x.Issuer.Validity().NotBefore.Add(pki.Backdate), times.at),
		func(c *Consumer) time.Time { return c.bundleSince(x) })
	return g
}

// patience is until when the old CA can wait for who can't follow. While none signs, certificates end one after the other.
func (r *rotation) patience() time.Time {
	until := r.deadlineOf(r.deliverer())
	if r.signer.Number > 0 {
		return until
	}
	for i := range r.Consumers {
		if leaf := r.Consumers[i].Leaf; leaf != nil && r.now.Before(leaf.Ends) {
			until = earliest(until, leaf.Ends.Add(-rotationDelays*r.Wish.PropagationDelay))
		}
	}
	return until
}

// without are the consumers that don't trust a generation: those that will, and those that can't be brought to it or that it
// can't sign for. The others are counted, with the times since when they do.
func (r *rotation) without(x Generation, g *gate, times *times) (waiting, stuck []Blocker) {
	for i := range r.Consumers {
		c := &r.Consumers[i]
		g.all++
		switch {
		case c.holds(x.Number):
			g.done++
			times.add(c.bundleSince(x), r.now)
			if leaf := c.Leaf; leaf != nil && leaf.Refused != "" {
				stuck = append(stuck, c.blocker(fmt.Sprintf("generation %d can't issue its certificate: %s", x.Number, leaf.Refused)))
			}
		case c.Problem != "":
			stuck = append(stuck, c.blocker(c.Problem))
		default:
			waiting = append(waiting, c.blocker(fmt.Sprintf("it doesn't have generation %d yet", x.Number)))
		}
	}
	return waiting, stuck
}

// refusedChildren are the authorities below that a generation can't sign.
func (r *rotation) refusedChildren(x Generation) []Blocker {
	var stuck []Blocker
	for _, child := range r.Children {
		if child.Refused != "" {
			stuck = append(stuck, child.blocker(fmt.Sprintf("generation %d can't sign it: %s", x.Number, child.Refused)))
		}
	}
	return stuck
}
