//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// importedRotation shows that nobody notices when the CA that was made elsewhere is replaced there.
func importedRotation() types.Feature {
	feature, s := newFeature("rotation of an imported CA", "imported-rotation")
	m := newMesh(s, "ca", 2, 2, trusted...)
	return feature.
		WithSetup("mesh", s.step(func(t *testing.T) {
			must(t, shortDelays())
			m.writeImported(t, newOwnCA(t, "first"), create)
			authority := m.newAuthority("ca")
			authority.Spec.Imported = &v1alpha1.Imported{SecretName: "corporate"}
			must(t, cluster.Create(t.Context(), authority))
			m.start(t, m.issueAll)
		})).
		Assess("fails no handshake", s.step(func(t *testing.T) {
			m.rotateQuietly(t, "a new imported CA", "ca", func() { m.writeImported(t, newOwnCA(t, "second"), replace) })
		})).
		Assess("restarts nothing", s.step(m.wantNoRestart)).
		Feature()
}

// writeImported writes the Secret that the authority imports.
func (m *mesh) writeImported(t *testing.T, ca *ownCA, write writer) {
	t.Helper()
	must(t, write(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: "corporate"}, Data: pairData(t, ca.certificate, ca.key),
	}))
}

// parentRotation shows that nobody notices when the CA above the one that issued their certificates is replaced.
func parentRotation() types.Feature {
	feature, s := newFeature("rotation of a parent", "parent-rotation")
	m := newMesh(s, "issuing", 2, 2, trusted...)
	return feature.
		WithSetup("mesh", s.step(func(t *testing.T) {
			must(t, shortDelays())
			parent, issuing := m.newAuthority("parent"), m.newAuthority("issuing")
			parent.Spec.TrustBundle, parent.Spec.MaxPathLength = nil, new(int32(1))
			issuing.Spec.SignedBy = &v1alpha1.SignedBy{Name: "parent"}
			must(t, cluster.Create(t.Context(), parent))
			must(t, cluster.Create(t.Context(), issuing))
			m.start(t, m.issueAll)
		})).
		Assess("fails no handshake", s.step(func(t *testing.T) {
			issuer := m.signing(t, "issuing")
			m.rotateQuietly(t, "a new parent", "parent", func() {
				m.kubectl(t, "annotate", "mca", "parent", v1alpha1.RotateRequestedAtAnnotation+"="+now())
			})
			m.awaitStable(t, "issuing", issuer.Number+1)
		})).
		Assess("restarts nothing", s.step(m.wantNoRestart)).
		Feature()
}

// rotateQuietly has the authority at the root rotate. Operators aren't killed for it: they are by rotation, which goes on
// at the same time.
func (m *mesh) rotateQuietly(t *testing.T, what, authority string, ask func()) {
	t.Helper()
	before, old := m.signing(t, authority), m.peers[0].pair(t)
	m.awaitRoots(t, before.FingerprintSHA256)
	m.beginAnew(t)
	ask()
	began := time.Now()
	after := m.awaitStable(t, authority, before.Number+1)
	t.Logf("%s: it took %s", what, elapsed(began))
	m.awaitRoots(t, after.FingerprintSHA256)
	m.awaitTrust(t, after.FingerprintSHA256)
	m.wantNoFailure(t, what)
	m.wantRefused(t, old)
}
