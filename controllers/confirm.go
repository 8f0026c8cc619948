package controllers

import (
	"cmp"
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// pageSize of lists that are read from the API server.
const pageSize = 500

// confirmGenerations makes sure that the cache misses no generation, before one is made or called lost. One that lost its
// labels, by which the cache selects, gets them back.
func (r *AuthorityReconciler) confirmGenerations(ctx context.Context, pass *authorityPass) error {
	live, err := r.liveGenerations(ctx, client.ObjectKeyFromObject(pass.authority))
	if err != nil {
		return err
	}
	for i := range live {
		if relabelled, err := r.relabelGeneration(ctx, &live[i]); err != nil || relabelled {
			return cmp.Or(err, stale(live[i].Name))
		}
		_, number := parseGenerationName(live[i].Name)
		if number != 0 && pass.secrets[number] == nil { // a copy with another name is no generation, and the cache may not have it
			return stale(live[i].Name)
		}
	}
	return nil
}

// confirmConsumers makes sure that the consumers are what the cache says, before a step that can't be taken back: another
// process may have written one that this one hasn't heard of. ClusterTrustBundles are left out: kubelet projects all there are
// of a signer, so one that comes late takes nothing away.
func (r *AuthorityReconciler) confirmConsumers(ctx context.Context, pass *authorityPass) error {
	authorities, err := authoritiesBelow(ctx, r, client.ObjectKeyFromObject(pass.authority))
	if err != nil {
		return err
	}
	issuers := map[string]bool{client.ObjectKeyFromObject(pass.authority).String(): true}
	for _, of := range authorities {
		issuers[client.ObjectKeyFromObject(of).String()] = true
	}
	if err := r.confirm(ctx, &corev1.SecretList{}, v1alpha1.GenerationLabel, issuers); err != nil {
		return err
	}
	return r.confirm(ctx, &corev1.ConfigMapList{}, v1alpha1.TrustBundleLabel, issuers)
}

// confirm that the API server has the objects of a kind, with a label and delivered to by one of the authorities, in the
// versions that the cache has. It reads their metadata, in pages.
func (s shared) confirm(ctx context.Context, cached client.ObjectList, label string, issuers map[string]bool) error {
	kind, err := apiutil.GVKForObject(cached, s.Scheme())
	if err != nil {
		return err
	}
	if err := s.List(ctx, cached, client.HasLabels{label}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	versions := map[types.NamespacedName]string{}
	_ = meta.EachListItem(cached, func(item runtime.Object) error {
		object := item.(client.Object)
		versions[client.ObjectKeyFromObject(object)] = object.GetResourceVersion()
		return nil
	})
	return s.livePages(ctx, kind, label, func(object *metav1.PartialObjectMetadata) error {
		key := client.ObjectKeyFromObject(object)
		if issuers[object.Annotations[v1alpha1.IssuedByAnnotation]] && versions[key] != object.ResourceVersion {
			return stale(key.String())
		}
		return nil
	})
}

// livePages reads the metadata of all objects of a kind that have a label.
func (s shared) livePages(ctx context.Context, kind schema.GroupVersionKind, label string,
	visit func(*metav1.PartialObjectMetadata) error,
) error {
	namespaces := s.options.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(kind)
		for more := true; more; more = page.Continue != "" {
			err := s.live.List(ctx, page, client.InNamespace(namespace), client.HasLabels{label}, client.Limit(pageSize),
				client.Continue(page.Continue))
			if err != nil {
				return err
			}
			for i := range page.Items {
				if err := visit(&page.Items[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
