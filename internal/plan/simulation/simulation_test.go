package simulation_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// errCrash is the end of a process, before the write that would have been next.
var errCrash = errors.New("the process ended")

// chance makes the choices of a simulation, from a seed. The first of n is the quiet one.
type chance interface {
	of(n int, label string) int
}

// quiet always makes the quiet choice.
type quiet struct{}

func (quiet) of(int, string) int { return 0 }

// violation is a broken invariant.
type violation struct{ invariant, message string }

func (v violation) Error() string { return v.invariant + ": " + v.message }

// key of the agenda: what there is to pass over.
type key struct {
	kind string
	name string
}

var authorityKey = key{"authority", ""}

// simulation is a cluster with the operator's processes and the programs that shake hands.
type simulation struct {
	*cluster
	chance
	profile

	processes []*process
	agenda    map[key]time.Time
	late      []held // writes of passes that were held up
	pods      []*pod
	podsMade  int
	nodes     []*node
	backups   []*generation
	mutation  mutation
	shrinking bool // a mutation does
	crashIn   int  // writes until a process ends, 0 for never
	handshakes
	ledger
}

// held is a pass that has decided, and writes later.
type held struct {
	at    time.Time
	write func() error
	then  key
}

func newSimulation(c chance, p profile, m mutation) *simulation {
	s := &simulation{cluster: newCluster(), chance: c, profile: p, agenda: map[key]time.Time{}, mutation: m.complete()}
	s.ledger = newLedger()
	s.authority = &authority{identity: s.create(), wish: p.wish()}
	for i := range 3 {
		s.nodes = append(s.nodes, &node{name: fmt.Sprint("node-", i), ready: noon.Add(-day)})
	}
	for i := range p.apps {
		s.addCertificate(fmt.Sprint("app-", i))
	}
	s.addSpace(namespace)
	s.processes = []*process{s.newProcess(0)}
	s.wakeAll()
	s.runUntil(noon.Add(time.Minute))
	return s
}

// wake has something looked at.
func (s *simulation) wake(k key) { s.wakeAt(k, s.now) }

func (s *simulation) wakeAt(k key, at time.Time) {
	if before, known := s.agenda[k]; !known || at.Before(before) {
		s.agenda[k] = at
	}
}

func (s *simulation) wakeAll() {
	s.wake(authorityKey)
	for name := range s.certificates {
		s.wake(key{"certificate", name})
	}
	for ref := range s.consumers {
		s.wakeConsumer(ref)
	}
	for _, ref := range s.bundleRefs() {
		s.wakeConsumer(ref)
	}
}

func (s *simulation) wakeConsumer(ref plan.ConsumerRef) {
	s.wake(authorityKey)
	if ref.Kind == plan.ConsumerSecret {
		s.wake(key{"certificate", ref.Name})
		s.wake(key{"retained", ref.Name})
		return
	}
	s.wake(key{string(ref.Kind), ref.Namespace})
}

// runUntil a time, with all that is on the agenda. Every change is followed by a look at the invariants.
func (s *simulation) runUntil(end time.Time) {
	for rounds := 0; ; rounds++ {
		at := s.soonest(end)
		if at.After(s.now) {
			s.now, rounds = at, 0
			s.restartInTime()
			s.check()
		}
		if !s.due() {
			return
		}
		if rounds > 2000 {
			s.fail(invRest, "the operator never rests")
		}
		s.runDue()
		s.check()
	}
}

// due tells whether there is something to do now.
func (s *simulation) due() bool {
	for _, at := range s.agenda {
		if !at.After(s.now) {
			return true
		}
	}
	return slices.ContainsFunc(s.late, func(one held) bool { return !one.at.After(s.now) })
}

// soonest is when there is something to do, at most end.
func (s *simulation) soonest(end time.Time) time.Time {
	at := end
	for _, due := range s.agenda {
		if due.Before(at) {
			at = due
		}
	}
	for _, one := range s.late {
		if one.at.Before(at) {
			at = one.at
		}
	}
	for _, p := range s.pods {
		if ends, once := s.endsAt(p); once && ends.Before(at) {
			at = ends
		}
	}
	if at.Before(s.now) {
		return s.now
	}
	return at
}

// runDue makes one pass, or one write of a pass that was held up.
func (s *simulation) runDue() {
	for i, one := range s.late {
		if !one.at.After(s.now) {
			s.late = slices.Delete(s.late, i, i+1)
			s.after(one.then, one.write())
			return
		}
	}
	keys := slices.SortedFunc(maps.Keys(s.agenda), func(a, b key) int {
		return cmp.Or(s.agenda[a].Compare(s.agenda[b]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	if len(keys) == 0 || s.agenda[keys[0]].After(s.now) {
		return
	}
	due := keys[0]
	delete(s.agenda, due)
	if s.adverse && s.of(12, "an event comes late") == 11 {
		s.wakeAt(due, s.now.Add(time.Duration(1+s.of(20, "seconds late"))*time.Second))
		return
	}
	p := s.pickProcess()
	s.sync(p)
	if p.synced.Before(s.now) { // what it hasn't heard of it will
		s.wakeAt(due, p.synced.Add(mostBehind))
	}
	s.after(due, s.pass(p, due))
}

// after a pass: what failed is tried again.
func (s *simulation) after(k key, err error) {
	switch {
	case errors.Is(err, errCrash):
		s.crash()
	case err != nil:
		s.wakeAt(k, s.now.Add(time.Second))
	}
}

func (s *simulation) pass(p *process, k key) error {
	switch k.kind {
	case authorityKey.kind:
		return s.authorityPass(p)
	case "certificate":
		return s.certificatePass(p, k.name)
	case "retained":
		if found := p.cache.consumers[secretRef(k.name)]; found != nil && found.retained {
			return s.commit(k, s.bundlePass(p, found.ref))
		}
		return nil
	default:
		ref := trustBundle
		if k.name != "" {
			ref = mapRef(k.name)
		}
		if !slices.Contains(p.cache.bundleRefs(), ref) {
			return nil
		}
		return s.commit(k, s.bundlePass(p, ref))
	}
}

// commit makes the write of a pass: at once, later or never.
func (s *simulation) commit(then key, write func() error) error {
	if s.crashes() {
		return errCrash
	}
	if s.adverse && s.of(20, "the pass is held up") == 19 {
		s.late = append(s.late, held{s.now.Add(time.Duration(s.of(29, "seconds held up")) * time.Second), write, then})
		return nil
	}
	return write()
}

// authorityPass observes, decides and acts.
func (s *simulation) authorityPass(p *process) error {
	d := s.decide(p)
	if next := d.plan.Next; !next.IsZero() {
		s.wakeAt(authorityKey, s.now.Add(next.Sub(s.wall(p))))
	}
	s.checkPlan(d)
	if d.plan.Step.Kind != "" {
		s.wakeAt(authorityKey, s.now.Add(5*time.Second))
		return s.commit(authorityKey, func() error { return s.act(p, d) })
	}
	p.turns = map[plan.ConsumerRef]bool{}
	for _, one := range d.plan.Reissue {
		p.turns[one.ConsumerRef] = true
		s.wake(key{"certificate", one.Name})
	}
	s.lastPlan = d.plan.RotationPlan
	return s.commit(authorityKey, func() error { return s.report(p, d) })
}

func (s *simulation) certificatePass(p *process, name string) error {
	pass, write, err := s.planLeaf(p, name)
	if err != nil {
		return err
	}
	k := key{"certificate", name}
	if next := pass.plan.Next; !next.IsZero() {
		s.wakeAt(k, s.now.Add(next.Sub(s.wall(p))))
	}
	if !write {
		return nil
	}
	return s.commit(k, func() error { return s.writeLeaf(p, pass) })
}

// fail tells of a broken invariant, with what came before it.
func (s *simulation) fail(invariant, format string, args ...any) {
	tail := s.log[max(0, len(s.log)-60):]
	message := fmt.Sprintf("at %s: ", s.now.Format("01-02 15:04:05")) + fmt.Sprintf(format, args...)
	panic(violation{invariant, message + "\n\t" + strings.Join(tail, "\n\t")})
}
