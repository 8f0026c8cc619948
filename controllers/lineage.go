package controllers

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// maxDepth bounds how many authorities stand above one another, since two could name each other.
const maxDepth = 9

// lineage is the CA generations of an authority, from the cache as it is. To have it wait for what this process wrote would be
// to wait for each leaf Secret that is being written. That is worth it where it isn't enough: who is woken by the status of an
// authority may be ahead of the Secret it tells of.
func (s shared) lineage(ctx context.Context, authority *v1alpha1.MTLSAuthority) (plan.Lineage, error) {
	key := client.ObjectKeyFromObject(authority)
	secrets, err := s.generationSecrets(ctx, key, client.DisableReadYourWritesConsistency)
	if err != nil {
		return plan.Lineage{}, err
	}
	lineage := s.lineages.of(authority, secrets)
	if _, signs := lineage.Signer(); signs && !misses(authority, lineage) {
		return lineage, nil
	}
	if secrets, err = s.generationSecrets(ctx, key); err != nil {
		return plan.Lineage{}, err
	}
	return s.lineages.of(authority, secrets), nil
}

// generationSecrets are the Secrets of an authority's generations, from the cache. They must not be changed.
func (s shared) generationSecrets(ctx context.Context, authority types.NamespacedName, options ...client.ListOption,
) ([]corev1.Secret, error) {
	secrets := &corev1.SecretList{}
	err := s.List(ctx, secrets, append(options, client.InNamespace(authority.Namespace),
		client.MatchingFields{byAuthority: authority.Name}, client.UnsafeDisableDeepCopy)...)
	return secrets.Items, err
}

func lineageOf(authority *v1alpha1.MTLSAuthority, secrets []corev1.Secret) plan.Lineage {
	generations := make([]plan.Generation, len(secrets))
	for i := range secrets {
		generations[i] = observedGeneration(&secrets[i])
	}
	known := make(map[int64]string, len(authority.Status.Generations))
	for _, generation := range authority.Status.Generations {
		known[generation.Number] = generation.FingerprintSHA256
	}
	name := client.ObjectKeyFromObject(authority).String()
	return plan.NewLineage(plan.Accept(name, generations, known))
}

// trust is what certificates of an authority are delivered with: its generations, and the roots.
type trust struct {
	lineage plan.Lineage
	roots   pki.Bundle
}

// trustOf an authority. One that is signed by another has the roots of that one, which change without it.
func (s shared) trustOf(ctx context.Context, authority *v1alpha1.MTLSAuthority) (trust, error) {
	lineage, err := s.lineage(ctx, authority)
	if err != nil {
		return trust{}, err
	}
	roots, err := s.roots(ctx, authority, lineage, maxDepth)
	return trust{lineage, roots}, err
}

// settledTrust is trustOf an authority, for who delivers it: a conflict while a generation is missed, here or above.
func (s shared) settledTrust(ctx context.Context, authority *v1alpha1.MTLSAuthority) (trust, error) {
	found, err := s.trustOf(ctx, authority)
	if err != nil {
		return trust{}, err
	}
	lineage := found.lineage
	for range maxDepth {
		if len(lineage.Live) > 0 && misses(authority, lineage) {
			return trust{}, stale(authority.Name)
		}
		if authority.Spec.SignedBy == nil {
			break
		}
		above := &v1alpha1.MTLSAuthority{}
		if err := s.Get(ctx, parentKey(authority), above); err != nil {
			return found, client.IgnoreNotFound(err)
		}
		if lineage, err = s.lineage(ctx, above); err != nil {
			return trust{}, err
		}
		authority = above
	}
	return found, nil
}

// misses tells whether status tells of a generation that the cache doesn't have and that wasn't retired: it lost its labels,
// or its key is lost, or the cache is behind. The authority's own pass finds out which. Until then nobody may take the others
// for all there are.
func misses(authority *v1alpha1.MTLSAuthority, lineage plan.Lineage) bool {
	return slices.ContainsFunc(authority.Status.Generations, func(g v1alpha1.GenerationStatus) bool {
		return !lineage.Has(g.Number)
	})
}

func (s shared) roots(ctx context.Context, authority *v1alpha1.MTLSAuthority, lineage plan.Lineage, depth int,
) (pki.Bundle, error) {
	if authority.Spec.SignedBy == nil || depth == 0 {
		return lineage.Bundle(), nil
	}
	key, above := parentKey(authority), &v1alpha1.MTLSAuthority{}
	if err := s.Get(ctx, key, above); err != nil {
		return lineage.Bundle(), client.IgnoreNotFound(err) // deleted: what it signed stays as good as it is
	}
	aboveLineage, err := s.lineage(ctx, above)
	if err != nil {
		return pki.Bundle{}, err
	}
	if len(aboveLineage.Live) == 0 {
		return lineage.Bundle(), nil
	}
	roots, err := s.roots(ctx, above, aboveLineage, depth-1)
	return roots.Union(lineage.BundleBeside(above)), err
}

// parentKey is the authority above one that is signed by another.
func parentKey(authority *v1alpha1.MTLSAuthority) types.NamespacedName {
	key := types.NamespacedName{Namespace: authority.Spec.SignedBy.Namespace, Name: authority.Spec.SignedBy.Name}
	if key.Namespace == "" {
		key.Namespace = authority.Namespace
	}
	return key
}

// authoritiesBelow are the authorities under one, at any depth, from a cache. They must not be changed.
func authoritiesBelow(ctx context.Context, cache client.Reader, authority types.NamespacedName,
) ([]*v1alpha1.MTLSAuthority, error) {
	var all []*v1alpha1.MTLSAuthority
	seen := map[types.NamespacedName]bool{authority: true}
	for queue := []types.NamespacedName{authority}; len(queue) > 0; queue = queue[1:] {
		children := &v1alpha1.MTLSAuthorityList{}
		err := cache.List(ctx, children, client.MatchingFields{bySigner: queue[0].String()}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil, err
		}
		for i := range children.Items {
			child := &children.Items[i]
			if key := client.ObjectKeyFromObject(child); !seen[key] {
				seen[key] = true
				all, queue = append(all, child), append(queue, key)
			}
		}
	}
	return all, nil
}
