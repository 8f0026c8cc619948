package controllers

import (
	"context"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// trustConsumers are those to whom an authority's roots are delivered beside the Secrets of MTLSCertificates: everybody who is
// expected to have them, not who is found to have. They are told in terms of a lineage with its roots: the authority's own, or
// that of an authority above.
func (s shared) trustConsumers(ctx context.Context, authority *v1alpha1.MTLSAuthority, lineage plan.Lineage, roots pki.Bundle,
) ([]plan.Consumer, error) {
	key := client.ObjectKeyFromObject(authority)
	own, err := s.trustOf(ctx, authority)
	if err != nil {
		return nil, err
	}
	bundle := own.roots.Union(roots) // the same, unless the cache is behind
	view := trustView{
		lineage: lineage, all: holds(lineage, bundle), hash: bundle.Hash(), pem: string(bundle.PEM()), obstacles: s.published.of(key),
	}
	secrets, err := s.retainedOf(ctx, key, own.lineage)
	if err != nil {
		return nil, err
	}
	var consumers []plan.Consumer
	for _, one := range secrets {
		// Of a namespace that the authority doesn't permit, somebody could make one up and hold up a rotation.
		permitted, err := s.permits(ctx, authority, one.secret.Namespace)
		if err != nil {
			return nil, err
		}
		if permitted {
			consumers = append(consumers, one.consumer(view))
		}
	}
	configMaps, err := s.configMapConsumers(ctx, authority, view)
	if err != nil {
		return nil, err
	}
	bundles, err := s.bundleConsumers(ctx, authority, view)
	return slices.Concat(consumers, configMaps, bundles), err
}

// trustView is what the places with roots are looked at with.
type trustView struct {
	lineage   plan.Lineage
	hash, pem string  // of the roots that are to be delivered
	all       []int64 // the generations that are among these
	obstacles obstacles
}

// configMapConsumers has one consumer for each namespace that is to have the roots. One where a foreign ConfigMap stands never
// had them from us, and can't hold up anything; but one that has some of them is read by somebody.
func (s shared) configMapConsumers(ctx context.Context, authority *v1alpha1.MTLSAuthority, view trustView,
) ([]plan.Consumer, error) {
	wanted := ptr.Deref(authority.Spec.TrustBundle, v1alpha1.TrustBundle{}).ConfigMap
	if wanted == nil {
		return nil, nil
	}
	existing, err := s.configMapsOf(ctx, client.ObjectKeyFromObject(authority))
	if err != nil {
		return nil, err
	}
	places, _, err := s.places(ctx, wanted, existing)
	if err != nil {
		return nil, err
	}
	found, sum := byRef(existing), digest([]byte(view.pem))
	consumers := make([]plan.Consumer, 0, len(places))
	for _, place := range places {
		ref := configMapRef(place.namespace, wanted.Name)
		consumer := plan.Consumer{ConsumerRef: ref, Born: place.born}
		configMap := found[ref]
		if configMap != nil {
			view.read(&consumer, configMap, configMap.Data[digestKey] == sum)
		}
		if !place.terminating && view.expects(&consumer, configMap != nil) {
			consumers = append(consumers, consumer)
		}
	}
	return consumers, nil
}

// bundleConsumers has one consumer for all ClusterTrustBundles of the authority's signer: pods project them by that name.
func (s shared) bundleConsumers(ctx context.Context, authority *v1alpha1.MTLSAuthority, view trustView,
) ([]plan.Consumer, error) {
	wanted := ptr.Deref(authority.Spec.TrustBundle, v1alpha1.TrustBundle{}).ClusterTrustBundle
	if wanted == nil || !s.servesBundles() {
		return nil, nil
	}
	key := client.ObjectKeyFromObject(authority)
	bundles, err := s.bundlesOf(ctx, key)
	if err != nil {
		return nil, err
	}
	consumer := plan.Consumer{ConsumerRef: bundleRef(key), Born: authority.CreationTimestamp.Time}
	name := bundleName(key, view.hash)
	at := slices.IndexFunc(bundles, func(b certificatesv1.ClusterTrustBundle) bool { return b.Name == name })
	if at >= 0 {
		view.read(&consumer, &bundles[at], bundles[at].Spec.TrustBundle == view.pem)
	}
	if !view.expects(&consumer, len(bundles) > 0) {
		return nil, nil
	}
	return []plan.Consumer{consumer}, nil
}

// read what one of our objects holds. One that isn't as it is to be is about to be written: what it holds doesn't count.
func (v trustView) read(consumer *plan.Consumer, object client.Object, intact bool) {
	if intact && object.GetAnnotations()[v1alpha1.BundleHashAnnotation] == v.hash {
		consumer.Holds, consumer.Current = v.all, true
	}
	consumer.BundleSince = timeOf(object.GetAnnotations()[v1alpha1.BundleSinceAnnotation])
}

// expects completes a consumer, and tells whether it is one: not when there is nothing and nothing can be.
func (v trustView) expects(consumer *plan.Consumer, exists bool) bool {
	consumer.Reload = v1alpha1.ReloadWatch
	stands := v.obstacles[consumer.ConsumerRef]
	consumer.Problem = stands.message
	switch {
	case exists:
		return true
	case stands.foreign:
		consumer.Holds = holds(v.lineage, stands.roots)
		return len(consumer.Holds) > 0
	default:
		consumer.Missing = true
		return !stands.nowhere
	}
}

// holds are the live generations all of whose roots are in the bundle.
func holds(lineage plan.Lineage, bundle pki.Bundle) []int64 {
	var numbers []int64
	for i := range lineage.Live {
		all := true
		for _, root := range lineage.Live[i].Issuer.Bundle().Certificates() {
			all = all && bundle.Contains(root)
		}
		if all {
			numbers = append(numbers, lineage.Live[i].Number)
		}
	}
	return numbers
}
