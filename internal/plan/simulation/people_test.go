package simulation_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// edit the authority.
func (s *simulation) edit(change func(*authority)) {
	next := *s.authority
	next.identity = s.touch(next.identity)
	change(&next)
	s.authority = &next
	s.wake(authorityKey)
}

// rotate is what a person asks for with an annotation.
func (s *simulation) rotate(request string) {
	s.note("a person asks for a rotation: %s", request)
	s.edit(func(a *authority) { a.orders.Rotate = request })
}

// respec asks for another CA.
func (s *simulation) respec(hash string) {
	s.note("the spec is changed to %s", hash)
	s.edit(func(a *authority) {
		if a.wish.ImportedSecret == "" {
			a.wish.Hash = "v1:" + hash
		}
	})
}

// newest generation that there is.
func (s *simulation) newest() *generation {
	return s.generations[slices.Max(slices.Collect(maps.Keys(s.generations)))]
}

func (s *simulation) abort(number int64) {
	s.note("a person aborts generation %d", number)
	s.edit(func(a *authority) { a.orders.Abort = a.orders.Abort.With(number) })
}

// compromise: from here on only what kubelet takes is waited for.
func (s *simulation) compromise(number int64) {
	s.note("generation %d is compromised", number)
	s.edit(func(a *authority) { a.orders.Compromised = a.orders.Compromised.With(number) })
}

func (s *simulation) ignore(number int64) {
	s.note("blockers of generation %d are ignored", number)
	s.edit(func(a *authority) { a.orders.IgnoreBlockers = a.orders.IgnoreBlockers.With(number) })
}

// swapImported puts another CA where the authority imports its CA from.
func (s *simulation) swapImported() {
	s.note("another CA is to be imported")
	fields := s.wish().Fields
	fields.Subject.CommonName = fmt.Sprint("imported-", s.last)
	request, err := pki.NewAuthorityRequest(fields)
	if err != nil {
		panic(err)
	}
	pair, err := pki.SelfSign(request, s.now)
	if err != nil {
		panic(err)
	}
	s.edit(func(a *authority) {
		a.wish.ImportedSecret, a.wish.Hash = "imported", "v1:imported"
		a.pair, a.imported = pair, plan.ImportedPair{Issuer: pair.Issuer()}
	})
}

// deleteGeneration is a request: the finalizer holds the Secret.
func (s *simulation) deleteGeneration(g *generation) {
	s.note("a person deletes the Secret of generation %d", g.facts.Number)
	next := *g
	next.identity, next.facts.Deleting = s.touch(g.identity), true
	s.putGeneration(nil, &next)
}

// restore the Secret of a generation from a backup: another object with what was in it.
func (s *simulation) restore(backup *generation) {
	if s.generations[backup.facts.Number] != nil {
		return
	}
	s.note("a person restores the Secret of generation %d", backup.facts.Number)
	next := *backup
	next.identity, next.facts.Deleting = s.create(), false
	s.putGeneration(nil, &next)
}

// deleteConsumer by hand. Programs go on with what they have.
func (s *simulation) deleteConsumer(ref plan.ConsumerRef) {
	if s.consumers[ref] == nil {
		return
	}
	s.note("a person deletes %s %s", ref.Kind, ref.Name)
	s.writes++
	delete(s.consumers, ref)
	s.wakeConsumer(ref)
}

// unlabel a Secret: the operator's caches don't have it any more.
func (s *simulation) unlabel(ref plan.ConsumerRef) {
	live := s.consumers[ref]
	if live == nil || live.unlabelled {
		return
	}
	s.note("a person removes the labels of Secret %s", ref.Name)
	next := *live
	next.identity, next.unlabelled = s.touch(live.identity), true
	s.consumers[ref] = &next
	s.wakeConsumer(ref)
}

// deleteCertificate ends the promise to who uses it, unless its Secret is retained: then it ends with the certificate there.
func (s *simulation) deleteCertificate(name string, retain bool) {
	ref := secretRef(name)
	s.note("certificate %s is deleted, retain %t", name, retain)
	delete(s.certificates, name)
	live := s.consumers[ref]
	retain = retain && live != nil
	for _, p := range s.pods {
		switch {
		case p.leaf != ref && p.roots != ref:
		case retain:
			p.until = s.lastSure(live.content.leaf)
		default:
			p.excused = "its certificate was deleted"
		}
	}
	if retain {
		next := *live
		next.identity, next.retained = s.touch(live.identity), true
		s.consumers[ref] = &next
	} else {
		delete(s.consumers, ref)
	}
	s.wakeConsumer(ref)
}

// editCertificate has it issued again.
func (s *simulation) editCertificate(name string, change func(*certificate)) {
	next := *s.certificates[name]
	next.identity = s.touch(next.identity)
	change(&next)
	s.certificates[name] = &next
	s.wake(key{"certificate", name})
}

// selectSpace changes the label of a namespace, by which it gets a bundle. Who uses one that is taken away was promised nothing.
func (s *simulation) selectSpace(name string, selected bool) {
	s.note("namespace %s is selected: %t", name, selected)
	live := s.spaces[name]
	if live == nil {
		s.addSpace(name)
		return
	}
	next := *live
	next.identity, next.selected = s.touch(live.identity), selected
	s.spaces[name] = &next
	ref := mapRef(name)
	if !selected {
		delete(s.consumers, ref)
		for _, p := range s.pods {
			if p.roots == ref {
				p.excused = "its namespace isn't selected any more"
			}
		}
	}
	s.wakeAll()
}

// restartNamed restarts the pods that status names, as it says.
func (s *simulation) restartNamed() {
	for _, b := range s.lastPlan.Blockers {
		for _, p := range s.pods {
			if b.Kind == "Pod" && p.name == b.Name && p.node.lost.IsZero() && p.deleting.IsZero() {
				s.note("%s is restarted", p.name)
				s.restart(p)
			}
		}
	}
	s.wake(authorityKey)
}

// terminate a pod. On a node that is lost nobody stops it.
func (s *simulation) terminate(p *pod) {
	if p.deleting.IsZero() {
		s.note("%s is deleted", p.name)
		p.deleting = s.now
	}
}

// stepClock sets the clock of a machine.
func (s *simulation) stepClock(p *process, offset time.Duration) {
	s.note("the clock of a machine is %s off", offset)
	p.offset = offset
	s.wakeAll()
}

// nodeChanges: a kubelet goes or comes back.
func (s *simulation) nodeChanges(n *node) {
	if n.lost.IsZero() {
		s.note("the kubelet of %s is lost", n.name)
		n.lose(s.now)
		return
	}
	s.note("the kubelet of %s is back", n.name)
	n.recover(s.now)
}

// anySpace is the name of a namespace, which may not be there yet.
func (s *simulation) anySpace() string { return fmt.Sprint("space-", s.of(3, "namespace")) }
