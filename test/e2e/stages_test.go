//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// stage of an authority. One that has never rotated may tell of none.
func stage(authority *v1alpha1.MTLSAuthority) v1alpha1.RotationStage {
	if authority.Status.Rotation == nil {
		return v1alpha1.StageStable
	}
	return authority.Status.Rotation.Stage
}

// waitsFor is what an authority says that its rotation waits for.
func waitsFor(authority *v1alpha1.MTLSAuthority) string {
	if rotation := authority.Status.Rotation; rotation != nil {
		return fmt.Sprintf("%s (%s): %s %+v", rotation.Stage, rotation.Progress, rotation.Message, rotation.Blockers)
	}
	return "nothing"
}

func (s *scene) authorityOf(ctx context.Context, name string) (*v1alpha1.MTLSAuthority, error) {
	authority := &v1alpha1.MTLSAuthority{}
	return authority, cluster.Get(ctx, s.name(name), authority)
}

// signing is the generation that signs.
func signing(authority *v1alpha1.MTLSAuthority) (v1alpha1.GenerationStatus, error) {
	for _, generation := range authority.Status.Generations {
		if generation.Role == v1alpha1.RoleSigning {
			return generation, nil
		}
	}
	return v1alpha1.GenerationStatus{}, fmt.Errorf("none of the generations signs: %+v", authority.Status.Generations)
}

// signing is the generation that signs now.
func (s *scene) signing(t *testing.T, authority string) v1alpha1.GenerationStatus {
	t.Helper()
	found, err := s.authorityOf(t.Context(), authority)
	must(t, err)
	generation, err := signing(found)
	must(t, err)
	return generation
}

// awaitStage waits for a stage of a rotation.
func (s *scene) awaitStage(t *testing.T, authority string, want v1alpha1.RotationStage) {
	t.Helper()
	await(t, fmt.Sprintf("%s being at stage %s", authority, want), soon, func(ctx context.Context) error {
		found, err := s.authorityOf(ctx, authority)
		if err == nil && stage(found) != want {
			err = fmt.Errorf("it waits for %s", waitsFor(found))
		}
		return err
	})
}

// awaitStable waits until an authority has one generation, of that number, which signs, and returns it. It tells when
// each stage was first seen.
func (s *scene) awaitStable(t *testing.T, authority string, number int64) (generation v1alpha1.GenerationStatus) {
	t.Helper()
	began, seen := time.Now(), v1alpha1.RotationStage("")
	what := fmt.Sprintf("%s being Stable with generation %d", authority, number)
	await(t, what, rotationLimit(), func(ctx context.Context) error {
		found, err := s.authorityOf(ctx, authority)
		if err != nil {
			return err
		}
		if now := stage(found); now != seen {
			t.Logf("%s: %s after %s", authority, now, elapsed(began))
			seen = now
		}
		generation, err = signing(found)
		if err == nil && (generation.Number != number || len(found.Status.Generations) != 1 || seen != v1alpha1.StageStable) {
			err = fmt.Errorf("generation %d of %d signs, and it waits for %s", generation.Number,
				len(found.Status.Generations), waitsFor(found))
		}
		return err
	})
	return generation
}

// published are the roots that the mesh is given, as SHA-256 in hex, by kind and name of the object they are in.
func (m *mesh) published(ctx context.Context) (map[string]map[string][]string, error) {
	found := map[string]map[string][]string{"Secret": {}, "ConfigMap": {}, "ClusterTrustBundle": {}}
	var problems []error
	note := func(kind, name, bundle string) {
		roots, err := fingerprints(bundle)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s %s: %w", kind, name, err))
		}
		found[kind][name] = roots
	}
	for _, space := range m.spaces {
		secrets := &corev1.SecretList{}
		problems = append(problems, cluster.List(ctx, secrets, client.InNamespace(space.namespace)))
		for _, secret := range secrets.Items {
			note("Secret", secret.Namespace+"/"+secret.Name, string(secret.Data["ca.crt"]))
		}
		config := &corev1.ConfigMap{}
		if err := cluster.Get(ctx, space.name(trustName), config); client.IgnoreNotFound(err) != nil {
			problems = append(problems, err)
		} else if err == nil {
			note("ConfigMap", config.Namespace+"/"+config.Name, config.Data["ca.crt"])
		}
	}
	bundles := &certificatesv1.ClusterTrustBundleList{}
	problems = append(problems, cluster.List(ctx, bundles))
	for _, bundle := range bundles.Items {
		if bundle.Spec.SignerName == m.signer() {
			note("ClusterTrustBundle", bundle.Name, bundle.Spec.TrustBundle)
		}
	}
	return found, errors.Join(problems...)
}

// fingerprints of the certificates in a bundle, sorted.
func fingerprints(bundle string) ([]string, error) {
	var all []string
	for block, rest := pem.Decode([]byte(bundle)); block != nil; block, rest = pem.Decode(rest) {
		sum := sha256.Sum256(block.Bytes)
		all = append(all, hex.EncodeToString(sum[:]))
	}
	if len(all) == 0 {
		return nil, errors.New("it has no roots")
	}
	slices.Sort(all)
	return all, nil
}

// awaitRoots waits until every object has only these roots.
func (m *mesh) awaitRoots(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	await(t, "the new root and no other in every Secret, ConfigMap and ClusterTrustBundle", soon, func(ctx context.Context) error {
		found, err := m.published(ctx)
		if err != nil {
			return err
		}
		for _, kind := range trusted {
			if len(found[kind]) == 0 {
				return fmt.Errorf("there is no %s", kind)
			}
			for name, roots := range found[kind] {
				if !slices.Equal(roots, want) {
					return fmt.Errorf("%s %s has %q, want %q", kind, name, roots, want)
				}
			}
		}
		return nil
	})
}

// awaitTrust waits until every peer trusts only these roots: until no handshake that begins would go well with another.
func (m *mesh) awaitTrust(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	await(t, "every peer trusting the new root and no other", propagation()+soon, func(ctx context.Context) error {
		all, err := m.seeAll(ctx)
		if err != nil {
			return err
		}
		for i, one := range all {
			if !slices.Equal(one.Roots, want) {
				return fmt.Errorf("%s (by %s) trusts %q, want %q", m.peers[i].host(), m.peers[i].trusts, one.Roots, want)
			}
		}
		return nil
	})
}

// algorithm of the key of a generation.
func (s *scene) algorithm(t *testing.T, generation v1alpha1.GenerationStatus) x509.PublicKeyAlgorithm {
	t.Helper()
	block, _ := pem.Decode(s.secret(t, generation.SecretName).Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return certificate.PublicKeyAlgorithm
}
