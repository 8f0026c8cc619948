package simulation_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// The schedules are directed: each has what some mistakes need to show. None of them is quiet, since a quiet one shows nothing.

// schedule of a cluster that is operated with a mistake, or with none.
type schedule func(mutation)

// begin a cluster with programs of every kind.
func begin(p profile, m mutation) *simulation {
	s := newSimulation(quiet{}, p, m)
	s.addPod("app-0", reads, reads, secretRef("app-0"), 0)
	s.addPod("app-1", subPath, subPath, secretRef("app-1"), 0)
	s.addPod("app-2", reads, reads, trustBundle, 1)
	s.addPod("app-3", reads, variable, mapRef(namespace), 2)
	s.addPod("app-0", restarts, initial, mapRef(namespace), 2)
	s.addPod("app-3", reads, subPath, trustBundle, 1)
	s.runUntil(s.now.Add(time.Hour))
	return s
}

// churn for some minutes: certificates are made and renewed, and pods are restarted when they are named.
func (s *simulation) churn(minutes int) {
	for minute := range minutes {
		s.editCertificate(fmt.Sprint("app-", minute%4), func(c *certificate) { c.wish.RenewToken = fmt.Sprint(s.last) })
		if minute%2 == 0 {
			name := fmt.Sprint("new-", s.last)
			s.addCertificate(name)
			s.runUntil(s.now.Add(2 * time.Second))
			s.addPod(name, reads, subPath, secretRef(name), 0)
		}
		s.runUntil(s.now.Add(time.Minute))
		s.restartNamed()
	}
}

// busy: a rotation while certificates come and go. It must end meanwhile.
func busy(m mutation) {
	s := begin(calm, m)
	s.rotate("busy")
	s.churn(40)
	if s.lastPlan.Stage != v1alpha1.StageStable {
		s.fail(invLiveness, "the rotation is %s after 40 minutes: %s", s.lastPlan.Stage, s.lastPlan.Message)
	}
	s.finish()
}

// nodeLost: a kubelet goes before it hears of the new roots, and comes back much later.
func nodeLost(m mutation) {
	s := begin(calm, m)
	s.nodeChanges(s.nodes[1])
	s.rotate("node lost")
	s.churn(25)
	s.nodeChanges(s.nodes[1])
	s.churn(30)
	s.finish()
}

// remade: a Secret is deleted and made again when a rotation has just begun. Its programs go on with what they have.
func remade(m mutation) {
	s := begin(calm, m)
	s.rotate("remade")
	s.runUntil(s.now.Add(2 * time.Second))
	s.deleteConsumer(secretRef("app-1"))
	for range 10 {
		s.runUntil(s.now.Add(time.Minute))
		s.restartNamed()
	}
	s.finish()
}

// unlabelled: a Secret is out of sight at the moment at which all others are ready, and a program has what was in it.
func unlabelled(m mutation) {
	s := begin(calm, m)
	s.rotate("unlabelled")
	for s.signer == 1 {
		s.runUntil(s.now.Add(time.Minute))
		s.restartNamed()
	}
	s.pods = slices.DeleteFunc(s.pods, func(p *pod) bool { return p.leaf != secretRef("app-1") && p.leafUse != reads })
	for range 8 {
		s.runUntil(s.now.Add(time.Minute))
		s.unlabel(secretRef("app-1"))
	}
	s.finish()
}

// clockAhead: the clock is set ahead right after a rotation began, and again right after the new generation began to sign.
func clockAhead(m mutation) {
	s := newSimulation(quiet{}, wild, m)
	s.adverse = false
	s.addPod("app-0", reads, reads, secretRef("app-0"), 0)
	s.addPod("app-1", reads, reads, trustBundle, 1)
	s.rotate("clock")
	s.runUntil(s.now.Add(20 * time.Second))
	s.stepClock(s.processes[0], 20*time.Minute)
	for s.signer == 1 {
		s.runUntil(s.now.Add(time.Second))
	}
	s.stepClock(s.processes[0], 40*time.Minute)
	s.runUntil(s.now.Add(10 * time.Minute))
	s.finish()
}

// stubborn: nobody restarts the pods that are named, for the whole life of a CA.
func stubborn(m mutation) {
	s := begin(profile{delay: 5 * time.Minute, life: 2 * day, leafLife: 6 * time.Hour, apps: 4}, m)
	for end := s.now.Add(2 * s.life); s.now.Before(end); {
		s.runUntil(s.now.Add(time.Hour))
	}
	s.finish()
}

// hesitant: people abort rotations: one before the new generation signs, one as late as it can be.
func hesitant(m mutation) {
	s := begin(calm, m)
	s.rotate("first")
	s.runUntil(s.now.Add(time.Minute))
	s.abort(s.newest().facts.Number)
	s.runUntil(s.now.Add(10 * time.Minute))
	s.rotate("second")
	for len(s.generations) > 1 && s.now.Before(noon.Add(6*time.Hour)) {
		s.runUntil(s.now.Add(10 * time.Second))
		s.restartNamed()
		if s.shrinking && len(s.generations) > 1 {
			s.abort(s.newest().facts.Number)
		}
	}
	s.finish()
}

// respecified: the spec asks for another CA, once.
func respecified(m mutation) {
	s := begin(calm, m)
	s.respec("second")
	s.churn(60)
	if len(s.mints) > 2 {
		s.fail(invSparing, "one change of the spec made %d generations", len(s.mints)-1)
	}
	s.finish()
}

// restored: the Secret of a generation that is no more comes back from a backup.
func restored(m mutation) {
	s := begin(calm, m)
	backup := s.newest()
	s.rotate("restored")
	s.churn(30)
	s.restore(backup)
	s.churn(10)
	if live := len(s.everyGeneration().Live); live != 1 {
		s.fail(invSound, "a generation that is no more is trusted again")
	}
	s.finish()
}
