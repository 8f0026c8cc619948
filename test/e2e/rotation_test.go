//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// rotation shows that nobody notices one: of 20 peers in 4 namespaces, which get their roots in all three ways, each
// dials every other all the time, with new connections. Every assessment counts from nothing and may be run alone.
func rotation() types.Feature {
	feature, s := newFeature("CA rotation", "rotation")
	m := newMesh(s, "ca", 4, 5, trusted...)
	return feature.
		WithSetup("mesh", s.step(func(t *testing.T) {
			must(t, shortDelays())
			must(t, cluster.Create(t.Context(), m.newAuthority("ca")))
			m.start(t, m.issueAll)
		})).
		Assess("when asked for fails no handshake", s.step(m.rotateOnRequest)).
		Assess("to RSA fails no handshake", s.step(func(t *testing.T) { m.rotateTo(t, "RSA2048", x509.RSA) })).
		Assess("to Ed25519 fails no handshake", s.step(func(t *testing.T) { m.rotateTo(t, "ED25519", x509.Ed25519) })).
		Assess("waits for a blocked pod", s.step(m.rotateWhenUnblocked)).
		Assess("of a compromised CA doesn't", s.step(m.rotateAtOnce)).
		Assess("restarts nothing", s.step(m.wantNoRestart)).
		Feature()
}

// rotate has the authority rotate while everything goes on, and looks at what is left.
func (m *mesh) rotate(t *testing.T, what string, ask func()) v1alpha1.GenerationStatus {
	t.Helper()
	before, old := m.signing(t, m.authority), m.peers[0].pair(t)
	m.beginAnew(t)
	stop := m.disturb(t)
	defer stop()
	ask()
	after := m.awaitStable(t, m.authority, before.Number+1)
	stop()
	m.awaitRoots(t, after.FingerprintSHA256)
	m.awaitTrust(t, after.FingerprintSHA256)
	m.wantNoFailure(t, what)
	m.wantRefused(t, old)
	return after
}

func (m *mesh) rotateOnRequest(t *testing.T) {
	m.rotate(t, "a rotation that was asked for", func() { m.annotate(t, v1alpha1.RotateRequestedAtAnnotation, now()) })
}

func (m *mesh) rotateTo(t *testing.T, key v1alpha1.KeyType, want x509.PublicKeyAlgorithm) {
	after := m.rotate(t, "a rotation to "+string(key), func() {
		m.kubectl(t, "patch", "mca", m.authority, "--type=merge", "--patch",
			fmt.Sprintf(`{"spec":{"privateKey":{"type":%q}}}`, key))
	})
	if got := m.algorithm(t, after); got != want {
		t.Errorf("the key of generation %d is %s, want %s", after.Number, got, want)
	}
}

// now is a request that wasn't made before.
func now() string { return time.Now().Format(time.RFC3339Nano) }

func (m *mesh) annotate(t *testing.T, name, value string) {
	t.Helper()
	m.kubectl(t, "annotate", "--overwrite", "mca", m.authority, name+"="+value)
}

// rotateWhenUnblocked has a pod that will never see a new root, as it mounts the files and not the folder.
func (m *mesh) rotateWhenUnblocked(t *testing.T) {
	space := m.spaces[0]
	m.startStuck(t, space, "stuck")
	before := m.signing(t, m.authority)
	m.beginAnew(t)
	m.annotate(t, v1alpha1.RotateRequestedAtAnnotation, now())
	asked := time.Now()
	m.awaitBlocker(t, space.namespace, "stuck")
	t.Logf("it was named %s after the rotation was asked for", elapsed(asked))
	pass(t, 2*propagation())
	m.wantBlocked(t, before.Number, space.namespace, "stuck")

	space.kubectl(t, "delete", "pod", "stuck")
	gone := time.Now()
	after := m.awaitStable(t, m.authority, before.Number+1)
	t.Logf("the rotation ended %s after the pod was gone", elapsed(gone))
	m.awaitRoots(t, after.FingerprintSHA256)
	m.awaitTrust(t, after.FingerprintSHA256)
	m.wantNoFailure(t, "a rotation that was blocked")
}

// startStuck starts a pod that is a peer but for its mounts, and dials nobody.
func (m *mesh) startStuck(t *testing.T, space *scene, name string) {
	t.Helper()
	must(t, cluster.Create(t.Context(), m.newCertificate(space, name)))
	space.waitReady(t, "mcert/"+name)
	peer := &meshPeer{scene: space, name: name, trusts: "Secret"}
	pod := peer.pod(m)
	pod.Labels = nil // the Service isn't for it
	pod.Spec.Volumes = pod.Spec.Volumes[:1]
	container := &pod.Spec.Containers[0]
	container.Args = []string{"--cert-dir=/etc/mtls"}
	container.VolumeMounts = nil
	for _, file := range []string{"tls.crt", "tls.key", "ca.crt"} {
		container.VolumeMounts = append(container.VolumeMounts,
			corev1.VolumeMount{Name: "mtls", MountPath: "/etc/mtls/" + file, SubPath: file, ReadOnly: true})
	}
	must(t, cluster.Create(t.Context(), pod))
	space.kubectl(t, "wait", "--for=condition=Ready", "pod/"+name, "--timeout", soon.String())
}

// blocked is an error unless the rotation names a pod as what it waits for.
func (m *mesh) blocked(ctx context.Context, namespace, pod string) (*v1alpha1.MTLSAuthority, error) {
	found, err := m.authorityOf(ctx, m.authority)
	if err != nil {
		return nil, err
	}
	if found.Status.Rotation != nil {
		for _, blocker := range found.Status.Rotation.Blockers {
			if blocker.Kind == "Pod" && blocker.Namespace == namespace && blocker.Name == pod {
				return found, nil
			}
		}
	}
	return nil, fmt.Errorf("pod %s/%s isn't named: it waits for %s", namespace, pod, waitsFor(found))
}

func (m *mesh) awaitBlocker(t *testing.T, namespace, pod string) {
	t.Helper()
	await(t, "the pod that blocks being named", rotationLimit(), func(ctx context.Context) error {
		found, err := m.blocked(ctx, namespace, pod)
		if err == nil {
			t.Logf("the authority waits for %s", waitsFor(found))
		}
		return err
	})
}

// wantBlocked checks that the rotation waits for the pod and for nothing else, and that nothing was signed by the next
// generation.
func (m *mesh) wantBlocked(t *testing.T, number int64, namespace, pod string) {
	t.Helper()
	found, err := m.blocked(t.Context(), namespace, pod)
	must(t, err)
	generation, err := signing(found)
	must(t, err)
	count := ptr.Deref(found.Status.Rotation.BlockerCount, 0)
	if generation.Number != number || stage(found) != v1alpha1.StageDistributing || count != 1 {
		t.Errorf("generation %d signs, want %d, with one blocker: it waits for %s", generation.Number, number, waitsFor(found))
	}
	ready := m.awaitCondition(t, found, m.authority, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSigning)
	t.Logf("and says %q", ready.Message)
}

// rotateAtOnce measures for how long a root is trusted whose key others have.
func (m *mesh) rotateAtOnce(t *testing.T) {
	before, old := m.signing(t, m.authority), m.peers[0].pair(t)
	m.beginAnew(t)
	m.annotate(t, v1alpha1.CompromisedAnnotation, strconv.FormatInt(before.Number, 10))
	said := time.Now()
	await(t, "nobody trusting the compromised root", rotationLimit(), func(ctx context.Context) error {
		all, err := m.seeAll(ctx)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(m.peers), func(p *meshPeer) bool {
			return !slices.Contains(all[slices.Index(m.peers, p)].Roots, before.FingerprintSHA256)
		})
		if len(left) > 0 {
			return fmt.Errorf("%d peers trust it", len(left))
		}
		return nil
	})
	t.Logf("the compromised root was trusted nowhere for new handshakes %s after it was said to be", elapsed(said))
	after := m.awaitStable(t, m.authority, before.Number+1)
	m.awaitRoots(t, after.FingerprintSHA256)
	m.awaitTrust(t, after.FingerprintSHA256)
	sum, all := m.count(t)
	t.Logf("meanwhile, without the promise that none fails: %s%s", sum, told(all))
	m.wantRefused(t, old)
}
