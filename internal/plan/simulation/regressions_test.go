package simulation_test

import (
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// What the storms found once, each as the shortest schedule that shows it.

// After a roll-back everybody's certificate is new, also of those who are younger than the generation that signs again.
func TestARollBackWaitsForThoseThatReadOnce(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, calm, mutation{})
		s.rotate("first")
		s.runUntil(s.now.Add(time.Hour)) // generation 2 is younger than the cluster, and older than who comes now
		s.addCertificate("young")
		s.runUntil(s.now.Add(time.Minute))
		s.addPod("young", subPath, reads, trustBundle, 0)
		s.addPod("app-0", reads, reads, trustBundle, 0)
		s.rotate("second")
		for s.signer == 2 {
			s.runUntil(s.now.Add(time.Minute))
		}
		s.runUntil(s.now.Add(3 * time.Minute))
		s.restart(s.pods[0]) // with a certificate of generation 3
		s.abort(3)
		s.runUntil(s.now.Add(20 * time.Minute))
		if len(s.lastPlan.Blockers) != 1 || s.signer != 2 {
			t.Errorf("generation %d signs, and %v is waited for", s.signer, s.lastPlan.Blockers)
		}
		s.finish()
	})
}

// A pair that is put back while certificates of its first time are about counts as the same CA, and can be aborted.
func TestAPairThatComesBackAndIsAborted(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, calm, mutation{})
		s.addPod("app-0", reads, reads, trustBundle, 0)
		s.swapImported()
		s.runUntil(s.now.Add(time.Hour))
		first := *s.authority
		s.swapImported()
		for s.signer == 2 {
			s.runUntil(s.now.Add(10 * time.Second))
		}
		s.edit(func(a *authority) { a.pair, a.imported = first.pair, first.imported })
		s.runUntil(s.now.Add(2 * time.Minute))
		if next := s.newest(); next.facts.Activated.IsZero() {
			s.abort(next.facts.Number)
		}
		s.runUntil(s.now.Add(time.Hour))
		s.finish()
	})
}

// Whose key others have isn't imported again, though its Secret still stands there.
func TestACompromisedPairIsNotImportedAgain(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, calm, mutation{})
		s.swapImported()
		bad := s.authority.imported.Issuer.Fingerprint()
		s.runUntil(s.now.Add(time.Minute))
		s.compromise(2)
		s.runUntil(s.now.Add(time.Hour))
		s.compromise(1)
		s.runUntil(s.now.Add(time.Hour))
		for _, g := range s.generations {
			if g.facts.Issuer.Fingerprint() == bad {
				t.Errorf("generation %d has the key that others have", g.facts.Number)
			}
		}
		if s.lastPlan.Stalled.Reason != v1alpha1.ReasonImportedInvalid {
			t.Errorf("told: %+v", s.lastPlan.Stalled)
		}
	})
}

// To abort a change to an imported CA is to abort all of it: the spec that changed with it is no reason of its own.
func TestAnAbortedImportIsOver(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, calm, mutation{})
		s.swapImported()
		s.runUntil(s.now.Add(time.Minute))
		s.abort(2)
		s.runUntil(s.now.Add(time.Hour))
		if len(s.mints) != 2 {
			t.Errorf("%v were made", s.mints)
		}
	})
}

// Who breaks a certificate of their own and deletes its Secret holds up nobody's CA beyond the deadline.
func TestASecretThatIsNeverMadeAgain(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, profile{delay: 5 * time.Minute, life: 2 * day, leafLife: 6 * time.Hour, apps: 3}, mutation{})
		s.editCertificate("app-0", func(c *certificate) { c.invalid = "dnsNames: is wrong" })
		s.deleteConsumer(secretRef("app-0"))
		for end := s.now.Add(3 * day); s.now.Before(end); {
			s.runUntil(s.now.Add(time.Hour))
		}
		if s.signer == 1 {
			t.Error("generation 1 ended, and nothing took its place")
		}
	})
}
