package controllers

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// rotationMemories are what this process remembers of the authorities that rotate. Nothing of it decides what happens, only
// when: a process without memory waits longer, and reads more.
type rotationMemories struct {
	mu  sync.Mutex
	all map[types.NamespacedName]*rotationMemory
}

func newRotationMemories() *rotationMemories {
	return &rotationMemories{all: map[types.NamespacedName]*rotationMemory{}}
}

// of an authority; it is made when there is none.
func (m *rotationMemories) of(authority types.NamespacedName) *rotationMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	memory, found := m.all[authority]
	if !found {
		memory = &rotationMemory{held: map[plan.Gate]time.Time{}, leaves: map[types.UID]leafMemory{}}
		m.all[authority] = memory
	}
	return memory
}

// forget an authority that doesn't rotate.
func (m *rotationMemories) forget(authority types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, authority)
}

// watching tells whether changes of its consumers matter to an authority now.
func (m *rotationMemories) watching(authority types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found := m.all[authority]
	return found
}

// any tells whether any authority rotates.
func (m *rotationMemories) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all) > 0
}

// turn tells whether it is a certificate's turn to be issued again by a new generation.
func (m *rotationMemories) turn(authority, secret types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	memory, found := m.all[authority]
	return found && memory.turns[secret] > 0
}

// grant turns to be issued again by the generation with a number, instead of those granted before, and return the new ones.
func (m *rotationMemories) grant(memory *rotationMemory, signer int64, secrets []types.NamespacedName) []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	turns, added := make(map[types.NamespacedName]int64, len(secrets)), []types.NamespacedName(nil)
	for _, secret := range secrets {
		if memory.turns[secret] != signer {
			added = append(added, secret)
		}
		turns[secret] = signer
	}
	memory.turns = turns
	return added
}

// rotationMemory is of one authority. All but turns is used by its own passes alone, of which there is one at a time.
type rotationMemory struct {
	// held is since when each gate's objects have been as they must be. The times come from the clock as they are, with its
	// monotonic reading: UTC would drop that.
	held map[plan.Gate]time.Time
	// leaves are the certificates of the consumers, by the UID of their Secret.
	leaves map[types.UID]leafMemory
	// turns are the Secrets whose certificates are to be issued again now, each with the number of the generation that is to.
	turns map[types.NamespacedName]int64
	// pods are what was seen of them last.
	pods podsSeen
	// reported is when progress was last written to the status.
	reported time.Time
}

// holding is for how long the gates have held.
func (m *rotationMemory) holding(ticks clock.PassiveClock) map[plan.Gate]time.Duration {
	held := make(map[plan.Gate]time.Duration, len(m.held))
	for gate, since := range m.held {
		held[gate] = ticks.Since(since)
	}
	return held
}

// hold remembers which gates hold now.
func (m *rotationMemory) hold(gates []plan.Gate, now time.Time) {
	held := make(map[plan.Gate]time.Time, len(gates))
	for _, gate := range gates {
		since, known := m.held[gate]
		if !known {
			since = now
		}
		held[gate] = since
	}
	m.held = held
}

// leafMemory is what was read from a Secret of a version.
type leafMemory struct {
	version, lineage string
	on               int64
	ends             time.Time
}

// leaf tells of the certificate in a Secret: which generation signed it, and when it ends. Signatures are verified once.
func (m *rotationMemory) leaf(secret *corev1.Secret, lineage plan.Lineage) leafMemory {
	version, live := secret.ResourceVersion, lineageKey(lineage)
	if known, found := m.leaves[secret.UID]; found && known.version == version && known.lineage == live {
		return known
	}
	found := leafMemory{version: version, lineage: live}
	if certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey]); err == nil {
		found.on, found.ends = lineage.On(certificates[0]), certificates[0].NotAfter
	}
	m.leaves[secret.UID] = found
	return found
}

// forgetLeaves of Secrets that are gone.
func (m *rotationMemory) forgetLeaves(seen map[types.UID]bool) {
	for uid := range m.leaves {
		if !seen[uid] {
			delete(m.leaves, uid)
		}
	}
}

// lineageKey is the same as long as the same generation is found for a certificate.
func lineageKey(lineage plan.Lineage) string {
	var key strings.Builder
	for _, generation := range lineage.Live {
		fmt.Fprintf(&key, "%d %t %t,", generation.Number, generation.Activated.IsZero(), generation.Withdrawn.IsZero())
	}
	return key.String()
}
