package simulation_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// calm is a cluster in which nothing goes wrong.
var calm = profile{delay: 5 * time.Minute, life: 90 * day, leafLife: 10 * day, apps: 4, reload: time.Minute}

// protect turns a broken invariant into a failed test.
func protect(t interface{ Fatalf(string, ...any) }, body func()) {
	defer func() {
		if broken, is := recover().(violation); is {
			t.Fatalf("%v", broken)
		}
	}()
	body()
}

// When nothing happens a rotation takes as long as its two gates, and each certificate is issued once more.
func TestAQuietRotation(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := begin(calm, mutation{})
		s.pods = nil // which would have to be restarted
		issues, begun := s.issued(), s.now
		s.rotate("now")
		s.runUntil(begun.Add(2*s.delay + 30*time.Second))
		if s.lastPlan.Stage != v1alpha1.StageStable || s.signer != 2 || s.issued() != issues+s.apps {
			t.Fatalf("stage %s, generation %d signs, %d certificates were issued: %s", s.lastPlan.Stage, s.signer, s.issued()-issues,
				s.lastPlan.Message)
		}
		s.finish()
	})
}

// A process that ends before any of its writes changes nothing about the end.
func TestACrashAtAnyWrite(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		for write := 1; ; write++ {
			s := newSimulation(quiet{}, calm, mutation{})
			s.addPod("app-0", reads, reads, trustBundle, 0)
			s.crashIn = write
			s.rotate("now")
			s.runUntil(s.now.Add(12 * time.Minute))
			if s.crashIn > 0 {
				t.Logf("%d places to crash", write-1)
				return
			}
			s.finish()
			if s.signer != 2 || len(s.mints) != 2 {
				t.Fatalf("after a crash before write %d generation %d signs, and %d were made", write, s.signer, len(s.mints))
			}
		}
	})
}

// Ten years of a CA that lives for one, in a cluster in which certificates come and go and people forget to restart pods.
func TestTenYears(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		c := withSeed(10)
		p := profile{delay: day, life: year, leafLife: 90 * day, apps: 3, skew: 20 * time.Second, once: true}
		s := newSimulation(c, p, mutation{})
		for s.now.Before(noon.Add(10 * year)) {
			everyday[s.of(len(everyday), "happening")](s)
			s.retireSome()
			s.runUntil(s.now.Add(time.Duration(1+s.of(20, "days")) * day))
			for range s.of(3, "a person looks") {
				s.restartNamed()
				s.runUntil(s.now.Add(25 * time.Hour))
			}
		}
		s.finish()
		if rotations := s.signer - 1; rotations < 12 || rotations > 20 {
			t.Fatalf("%d rotations in ten years of a CA that lives for one", rotations)
		}
	})
}

// retireSome of what there is, so that ten years leave a cluster of the size it had.
func (s *simulation) retireSome() {
	s.pods = slices.DeleteFunc(s.pods, func(p *pod) bool { return !s.promised(p) })
	if len(s.pods) > 8 {
		s.terminate(s.pods[0])
	}
	if len(s.certificates) > 6 {
		s.deleteCertificate(s.anyCertificate(), false)
	}
}

// Who can't follow is named, and everything else goes on.
func TestAStuckPodIsNamed(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := begin(calm, mutation{})
		s.rotate("now")
		s.runUntil(s.now.Add(20 * time.Minute))
		named := map[string]bool{}
		for _, b := range s.lastPlan.Blockers {
			named[b.Name] = true
		}
		for _, p := range s.pods {
			if stuck := p.rootsUse != reads || p.leafUse != reads; stuck != named[p.name] {
				t.Errorf("%s, with %s and %s, is named: %t", p.name, p.leafUse, p.rootsUse, named[p.name])
			}
		}
		issues := s.issued()
		s.addCertificate("new")
		s.editCertificate("app-0", func(c *certificate) { c.wish.RenewToken = "now" })
		s.runUntil(s.now.Add(time.Minute))
		if s.issued() != issues+2 || s.signer != 1 {
			t.Errorf("%d certificates were issued while a rotation waits, by generation %d", s.issued()-issues, s.signer)
		}
	})
}

// Clocks that go back open nothing again, and close nothing.
func TestAClockThatGoesBack(t *testing.T) {
	t.Parallel()
	protect(t, func() {
		s := newSimulation(quiet{}, wild, mutation{})
		s.adverse = false
		s.rotate("now")
		s.runUntil(s.now.Add(time.Hour))
		s.stepClock(s.processes[0], -50*time.Minute)
		s.runUntil(s.now.Add(time.Minute))
		if s.signer != 2 || len(s.generations) != 1 || len(s.mints) != 2 {
			t.Fatalf("generation %d of %d signs, and %d were made", s.signer, len(s.generations), len(s.mints))
		}
	})
}

// stormy is a cluster in which everything goes wrong that may, with clocks that differ by what nobody wonders about.
var stormy = profile{
	delay: 5 * time.Minute, life: 30 * day, leafLife: 5 * day, apps: 4, reload: 90 * time.Second, adverse: true,
	skew: 30 * time.Second, once: true,
}

// wild is a cluster whose clocks are wrong by minutes. Certificates are taken for valid, since peers would refuse those of
// tomorrow, and no program reads once: when it did is told by clocks.
var wild = profile{
	delay: 5 * time.Minute, life: 30 * day, leafLife: 5 * day, apps: 4, adverse: true, skew: 20 * time.Minute, noTime: true,
}

// rash is a cluster in which people run over others.
var rash = profile{
	delay: 4 * time.Minute, life: 30 * day, leafLife: 5 * day, apps: 4, adverse: true,
	skew: 30 * time.Second, once: true, rash: true,
}

// hasty is a cluster in which CAs and certificates live for hours.
var hasty = profile{
	delay: 3 * time.Minute, life: 8 * time.Hour, leafLife: time.Hour, apps: 3, adverse: true, skew: 20 * time.Second, once: true,
}

// Whatever happens, all that must hold holds at every moment, and at the end there is one generation.
func TestStorms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]profile{stormy, wild, rash, hasty}).Draw(t, "cluster")
		seed, count := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 14).Draw(t, "happenings")
		protect(t, func() { stormWith(withSeed(seed), p, count, mutation{}) })
	})
}

func stormWith(c chance, p profile, count int, m mutation) {
	s := newSimulation(c, p, m)
	for range 4 {
		s.anyPod()
	}
	kinds := [][]happening{everyday, accidents, orders}
	if p.rash {
		kinds = append(kinds, rashOrders)
	}
	s.storm(count, kinds...)
	s.finish()
}
