//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/types"
)

// naiveRotation is the control of the experiment: the same peers, with a CA of this test's own that is replaced as
// scripts do it, everything at once. If no handshake failed here, that none fails elsewhere would mean nothing.
func naiveRotation() types.Feature {
	feature, s := newFeature("a naive rotation", "naive")
	m := newMesh(s, "", 2, 3, "Secret")
	return feature.
		WithSetup("mesh", s.step(func(t *testing.T) {
			m.start(t, func(t *testing.T) { m.replaceAll(t, newOwnCA(t, "first"), create) })
		})).
		Assess("fails no handshake before it begins", s.step(func(t *testing.T) {
			m.beginAnew(t)
			m.wantNoFailure(t, "before")
		})).
		Assess("fails handshakes", s.step(m.rotateNaively)).
		Assess("restarts nothing", s.step(m.wantNoRestart)).
		Feature()
}

// replaceAll gives every peer a certificate of the CA, and its root, and that alone.
func (m *mesh) replaceAll(t *testing.T, ca *ownCA, write writer) {
	t.Helper()
	for _, peer := range m.peers {
		must(t, write(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: peer.namespace, Name: peer.name}, Data: ca.issue(t, peer.host()),
		}))
	}
}

// writer writes a Secret: create or replace.
type writer func(ctx context.Context, secret *corev1.Secret) error

func create(ctx context.Context, secret *corev1.Secret) error {
	return cluster.Create(ctx, secret)
}

func replace(ctx context.Context, secret *corev1.Secret) error {
	return cluster.Update(ctx, secret)
}

func (m *mesh) rotateNaively(t *testing.T) {
	second := newOwnCA(t, "second")
	m.beginAnew(t)
	m.replaceAll(t, second, replace)
	replaced := time.Now()
	m.awaitTrust(t, fingerprint(second))
	m.awaitConnected(t)
	t.Logf("all were connected again %s after everything was replaced", elapsed(replaced))
	sum, all := m.count(t)
	t.Logf("a naive rotation: %s%s", sum, told(all))
	if sum.failed == 0 {
		t.Error("no handshake failed: this mesh doesn't see what it is there to see")
	}
}

func fingerprint(ca *ownCA) string {
	sum := sha256.Sum256(ca.certificate.Raw)
	return hex.EncodeToString(sum[:])
}
