package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	// kubeletLag is how long kubelet takes at most, by default, to update a mounted Secret: its sync period of a minute and
	// the jitter on it.
	kubeletLag = 90 * time.Second
	// clockSkew between machines that is nothing to wonder about.
	clockSkew = time.Minute
	// mostDelays is how many delays what follows by itself is waited for in a hurry.
	mostDelays = 20
	// namedBlockers bounds the names in a message.
	namedBlockers = 3
)

// gate is how far one of the two conditions is that a rotation hangs on.
type gate struct {
	id        Gate
	done, all int
	// objects are as they must be: all the rest is time, and who can't follow.
	objects bool
	open    bool
	// overridden: what can't follow is named, and not waited for. It is so because it was ordered when it is hurried.
	overridden, hurried bool
	// at is when it opens if nothing changes, zero when more than time is missing; again when time changes something.
	at, again time.Time
	wantsPods bool
	blockers  []Blocker
	// ranOver are blockers that are waited for no longer.
	ranOver []Blocker
	waiting string
	// since when blockers are waited for, until the deadline.
	since, deadline time.Time
}

// settle decides whether a gate is open whose objects were looked at: enough time has gone by, on the clock and as this
// process saw it, and no pod is left behind.
func (r *rotation) settle(g *gate, times times, at time.Time, since func(*Consumer) time.Time) {
	if !g.objects {
		return
	}
	held := r.Held[g.id]
	if missing := times.held() - held; missing > 0 {
		at = latest(at, r.now.Add(missing))
	}
	if at.After(r.now) {
		g.at = at
		g.waiting = fmt.Sprintf("%s has to reach all pods: next step from %s on", what[g.id.Opens], at.UTC().Format(time.RFC3339))
		return
	}
	if r.Pods == nil {
		g.wantsPods = true
		g.waiting = "looks for pods that can't follow"
		if r.PodsUnknown != "" {
			r.withoutPods(g)
		}
		return
	}
	stuck := r.stuckPods(since, times.delay, g)
	g.block(stuck...)
	g.open = len(g.blockers) == 0
	if !g.open {
		g.again = soonest(r.now, g.again, r.now.Add(times.delay))
	}
}

var what = map[StepKind]string{StepActivate: "the new CA", StepRetire: "the last certificate"}

// stuckPods are those that still have what was there before the change.
func (r *rotation) stuckPods(since func(*Consumer) time.Time, delay time.Duration, g *gate) []Blocker {
	consumers := make(map[ConsumerRef]*Consumer, len(r.Consumers))
	for i := range r.Consumers {
		if since(&r.Consumers[i]) != always { // else there was nothing before
			consumers[r.Consumers[i].ConsumerRef] = &r.Consumers[i]
		}
	}
	reload := func(ref ConsumerRef) (v1alpha1.Reload, bool) {
		if c, found := consumers[ref]; found {
			return c.Reload, true
		}
		return "", false
	}
	changed := func(ref ConsumerRef) time.Time {
		return r.firstSight(g.id, since(consumers[ref]))
	}
	var all []Blocker
	for _, view := range r.Pods {
		if blocker, stuck := Stuck(view, PodUses(view.Pod, reload), changed, delay, r.now); stuck {
			all = append(all, blocker)
			g.again = soonest(r.now, g.again, blocker.Until)
		}
	}
	return all
}

// firstSight is when a change happened or, when that isn't known, when this process saw it first.
func (r *rotation) firstSight(id Gate, since time.Time) time.Time {
	if since.IsZero() || since.After(r.now.Add(clockSkew)) {
		return r.now.Add(-r.Held[id]).Truncate(time.Second)
	}
	return since
}

// block adds what can't follow.
func (g *gate) block(all ...Blocker) {
	if g.overridden {
		g.ranOver = append(g.ranOver, all...)
		return
	}
	g.blockers = append(g.blockers, all...)
}

// override has the gate wait for nobody who can't follow: when that was ordered, or when it is too late to wait.
func (g *gate) override(ordered, late bool) {
	g.overridden, g.hurried = ordered || late, ordered
}

// hurry is under which the order is remembered.
func (g *gate) hurry() Gate { return Gate{g.id.Opens, g.id.Number, true} }

// await what will follow by itself, until the deadline. In a hurry it is waited for less long, as what never follows can't
// always be told from what will: for consumers until none has followed for two delays; for authorities below, which have
// delays of their own, and for those who undo again and again what was done, mostDelays.
func (r *rotation) await(g *gate, consumers, authorities []Blocker, times *times) (waiting int) {
	all, until := slices.Concat(consumers, authorities), g.deadline
	if g.hurried {
		ordered := r.now.Add(-r.Held[g.hurry()])
		until = earliest(until, ordered.Add(mostDelays*times.delay))
		if len(authorities) == 0 {
			until = earliest(until, latest(ordered.Add(2*times.delay), times.at.Add(times.delay)))
		}
	}
	if r.now.Before(until) {
		g.again = soonest(r.now, g.again, until)
		return len(all)
	}
	g.ranOver = append(g.ranOver, all...)
	if last := until.Add(times.delay); times.at.After(last) { // of who is deleted and made anew all the time
		times.at = last
	}
	return 0
}

// deliverer is the generation whose end bounds how long the next one may wait: the signer, or when none signs the newest
// there is.
func (r *rotation) deliverer() Generation {
	if r.signer.Number > 0 {
		return r.signer
	}
	for _, g := range slices.Backward(r.Lineage.Live) {
		if g.Number != r.next.Number {
			return g
		}
	}
	return r.next
}

// deadlineOf a generation is when it's too late to wait any longer for those who can't follow: everybody else would fail
// with them when it ends. It isn't in the first half of the time that the rotation has.
func (r *rotation) deadlineOf(g Generation) time.Time {
	end := g.end()
	margin := max(g.life()/10, longestRenewBefore(r.Consumers)+4*r.Wish.PropagationDelay)
	half := end.Add(-r.renewBefore(g) / 2)
	return latest(end.Add(-margin), half)
}

// delay is how long a write takes to be in use everywhere. When others have the key no program is waited for, kubelet is.
func (r *rotation) delay(emergency bool) time.Duration {
	if emergency {
		return min(r.Wish.PropagationDelay, kubeletLag)
	}
	return r.Wish.PropagationDelay
}

// bundleSince is since when the consumer holds a generation; always, when it was made for an object that is younger.
func (c *Consumer) bundleSince(x Generation) time.Time {
	if c.bornAfter(x.Made) {
		return always
	}
	return c.BundleSince
}

// issuerSince is since when its certificate is of the generation it is; always, when it was made for an object that is
// younger than the time from which on the generation before signed nothing.
func (c *Consumer) issuerSince(replaced time.Time) time.Time {
	switch {
	case c.bornAfter(replaced):
		return always
	case c.Leaf != nil:
		return c.Leaf.Since
	case c.Missing && c.Kind == ConsumerSecret:
		return time.Time{} // it had one
	default:
		return always
	}
}

func (c *Consumer) blocker(message string) Blocker {
	return Blocker{Kind: string(c.Kind), Namespace: c.Namespace, Name: c.Name, Message: message, Yields: true}
}

func (c Child) blocker(message string) Blocker {
	namespace, name, _ := strings.Cut(c.Authority, "/")
	return Blocker{Kind: "MTLSAuthority", Namespace: namespace, Name: name, Message: message, Yields: true}
}

// blockersText names the first blockers and counts the others.
func blockersText(all []Blocker) string {
	names := make([]string, 0, namedBlockers+1)
	for i, b := range all {
		if i == namedBlockers {
			names = append(names, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		names = append(names, strings.TrimPrefix(fmt.Sprintf("%s %s/%s", b.Kind, b.Namespace, b.Name), "/"))
	}
	return strings.Join(names, ", ")
}
