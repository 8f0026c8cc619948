package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete

// digestKey of a cached ConfigMap's data holds the SHA-256 of its roots. No key that the API server lets through has a colon,
// so nobody but keepDigest can have written it; and a cached ConfigMap is never sent back.
const digestKey = "sha256:" + v1alpha1.BundleKey

// keepDigest drops the data of a ConfigMap before it is stored, and keeps what tells whether somebody edited the roots: of a
// thousand namespaces it holds a thousand hashes. It is called again for what it returned, and must never fail.
func keepDigest(object any) (any, error) {
	configMap, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object, nil
	}
	if _, kept := configMap.Data[digestKey]; !kept {
		configMap.Data = map[string]string{digestKey: digest([]byte(configMap.Data[v1alpha1.BundleKey]))}
	}
	configMap.BinaryData, configMap.ManagedFields = nil, nil
	delete(configMap.Annotations, corev1.LastAppliedConfigAnnotation) // the data once more
	return configMap, nil
}

// reservedNames are of ConfigMaps that the cluster puts into every namespace and that pods trust the cluster itself by. In a
// new namespace the operator could be the first.
var reservedNames = []string{"kube-root-ca.crt", "openshift-service-ca.crt"}

// place is a namespace that is to have the roots.
type place struct {
	namespace string
	// born is when the namespace was made, zero when that can't be seen.
	born        time.Time
	terminating bool
}

// places are the namespaces that are to have the roots. When it isn't known which are selected, they are those that have
// them: roots are neither spread nor taken away on a guess.
func (s shared) places(ctx context.Context, wanted *v1alpha1.TrustBundleConfigMap, existing []corev1.ConfigMap,
) (all []place, problem string, err error) {
	if slices.Contains(reservedNames, wanted.Name) {
		return nil, fmt.Sprintf("spec.trustBundle.configMap.name: %q is the cluster's own: take another name", wanted.Name), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(wanted.NamespaceSelector)
	switch {
	case err != nil:
		problem = fmt.Sprintf("spec.trustBundle.configMap.namespaceSelector: %s", cut(err.Error()))
	case len(s.options.Namespaces) == 0:
		all, err = s.selectedPlaces(ctx, selector)
		return all, "", err
	case selector.Empty():
		for _, namespace := range slices.Compact(slices.Sorted(slices.Values(s.options.Namespaces))) {
			all = append(all, place{namespace: namespace})
		}
		return all, "", nil
	}
	for i := range existing {
		if existing[i].Name == wanted.Name {
			all = append(all, place{namespace: existing[i].Namespace})
		}
	}
	return all, problem, nil
}

func (s shared) selectedPlaces(ctx context.Context, selector labels.Selector) ([]place, error) {
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	err := s.List(ctx, namespaces, client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	all := make([]place, len(namespaces.Items))
	for i := range namespaces.Items {
		n := &namespaces.Items[i]
		all[i] = place{n.Name, n.CreationTimestamp.Time, !n.DeletionTimestamp.IsZero()}
	}
	slices.SortFunc(all, func(a, b place) int { return strings.Compare(a.namespace, b.namespace) })
	return all, nil
}

// selectsAll tells whether a selector takes all namespaces, whatever their labels.
func selectsAll(selector *metav1.LabelSelector) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Empty()
}

// configMapsOf are the ConfigMaps with the roots of an authority, from the cache. They must not be changed.
func (s shared) configMapsOf(ctx context.Context, authority types.NamespacedName) ([]corev1.ConfigMap, error) {
	configMaps := &corev1.ConfigMapList{}
	err := s.List(ctx, configMaps, client.MatchingFields{byPublisher: authority.String()}, client.UnsafeDisableDeepCopy)
	return configMaps.Items, err
}

func configMapRef(namespace, name string) plan.ConsumerRef {
	return plan.ConsumerRef{Kind: plan.ConsumerConfigMap, Namespace: namespace, Name: name}
}

// deliverConfigMaps writes the ConfigMaps that are wanted, and then removes those that aren't any more.
func (r *TrustReconciler) deliverConfigMaps(ctx context.Context, pass *trustPass) error {
	existing, err := r.configMapsOf(ctx, pass.key)
	if err != nil {
		return err
	}
	wanted := ptr.Deref(pass.authority.Spec.TrustBundle, v1alpha1.TrustBundle{}).ConfigMap
	keep := map[plan.ConsumerRef]bool{}
	if wanted != nil {
		places, problem, err := r.places(ctx, wanted, existing)
		if err != nil {
			return err
		}
		if problem != "" {
			pass.obstacles[plan.ConsumerRef{Name: "configMap"}] = obstacle{reason: v1alpha1.ReasonTrustBundleRejected, message: problem}
		}
		found := byRef(existing)
		for _, place := range places {
			ref := configMapRef(place.namespace, wanted.Name)
			keep[ref] = true
			if !place.terminating && len(pass.pem) > 0 && pass.begin(ctx, ref) {
				r.deliverConfigMap(ctx, pass, ref, found[ref])
			}
		}
	}
	r.removeConfigMaps(ctx, pass, existing, keep)
	return nil
}

func byRef(configMaps []corev1.ConfigMap) map[plan.ConsumerRef]*corev1.ConfigMap {
	found := make(map[plan.ConsumerRef]*corev1.ConfigMap, len(configMaps))
	for i := range configMaps {
		found[configMapRef(configMaps[i].Namespace, configMaps[i].Name)] = &configMaps[i]
	}
	return found
}

func (r *TrustReconciler) removeConfigMaps(ctx context.Context, pass *trustPass, existing []corev1.ConfigMap,
	keep map[plan.ConsumerRef]bool,
) {
	for i := range existing {
		ref := configMapRef(existing[i].Namespace, existing[i].Name)
		if keep[ref] || !pass.begin(ctx, ref) {
			continue
		}
		pass.deliveries++
		if err := r.remove(ctx, &existing[i]); err != nil {
			pass.fail(ref, err)
		}
	}
}

// deliverConfigMap brings one ConfigMap to what it is to be, with one write, or none when it is.
func (r *TrustReconciler) deliverConfigMap(ctx context.Context, pass *trustPass, ref plan.ConsumerRef, found *corev1.ConfigMap) {
	if found == nil {
		r.makeConfigMap(ctx, pass, ref)
		return
	}
	patch, edited := configMapPatch(found, pass)
	switch {
	case patch == nil:
	case edited && ptr.Deref(found.Immutable, false):
		pass.obstacles[ref] = obstacle{reason: v1alpha1.ReasonTrustBundleRejected, message: fmt.Sprintf("%s has other roots and "+
			"can't be written, since somebody made it immutable: delete it, and it is made anew", placeText(ref))}
	case !pass.waits(ref):
		pass.done(ref, r.patchConfigMap(ctx, found, patch))
	}
}

// makeConfigMap creates a ConfigMap that the cache doesn't have. Creating can't overwrite anything.
func (r *TrustReconciler) makeConfigMap(ctx context.Context, pass *trustPass, ref plan.ConsumerRef) {
	if pass.waits(ref) {
		return
	}
	other := &corev1.ConfigMap{}
	err := r.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, other)
	_, tried := pass.before[ref]
	switch {
	case err == nil && issuedBy(other).Name != "": // another authority's: an event tells when it goes
		stands := inTheWay(ref, pass, other)
		stands.retryAt = time.Time{}
		pass.obstacles[ref] = stands
		return
	case client.IgnoreNotFound(err) != nil:
		pass.fail(ref, err)
		return
	case (err == nil || tried) && r.classify(ctx, pass, ref):
		return // better read in vain than written in vain, again and again
	}
	err = r.Create(ctx, newConfigMap(pass, ref))
	switch {
	case apierrors.IsAlreadyExists(err):
		if !r.classify(ctx, pass, ref) {
			pass.fail(ref, behind(ref))
		}
	case apierrors.IsNotFound(err): // the namespace
		pass.obstacles[ref] = obstacle{nowhere: true, retryAt: pass.now.Add(rejectedDelay)}
	default:
		pass.done(ref, err)
	}
}

// classify finds out, with one live read, what a ConfigMap is that isn't in the cache: foreign, which is an obstacle, or ours
// without our label, which gets it back. False when there is none.
func (r *TrustReconciler) classify(ctx context.Context, pass *trustPass, ref plan.ConsumerRef) bool {
	found := &corev1.ConfigMap{}
	err := r.live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, found)
	if apierrors.IsNotFound(err) {
		return false
	}
	if err != nil {
		pass.fail(ref, err)
		return true
	}
	if issuedBy(found) != pass.key {
		pass.obstacles[ref] = inTheWay(ref, pass, found)
		return true
	}
	_, _ = keepDigest(found)
	if patch, _ := configMapPatch(found, pass); patch != nil {
		pass.done(ref, r.patchConfigMap(ctx, found, patch))
	}
	return true
}

// inTheWay is a ConfigMap that isn't the authority's. It is looked at again now and then: no watch tells of foreign ones.
func inTheWay(ref plan.ConsumerRef, pass *trustPass, found *corev1.ConfigMap) obstacle {
	holder := "wasn't made by this operator"
	switch other := issuedBy(found); {
	case other.Namespace == pass.key.Namespace && other.Name != "":
		holder = fmt.Sprintf("has the roots of MTLSAuthority %q", other.Name)
	case other.Name != "": // what exists in other namespaces is nobody's business
		holder = "has the roots of another MTLSAuthority"
	}
	return obstacle{
		reason: v1alpha1.ReasonConfigMapConflict,
		message: fmt.Sprintf("%s exists and %s. It is left alone: delete it, or set another name in spec.trustBundle.configMap",
			placeText(ref), holder),
		foreign: true,
		roots:   rootsIn(found.Data),
		retryAt: pass.now.Add(rejectedDelay),
	}
}

// rootsIn are all certificates in a foreign ConfigMap. Programs may trust by any of its keys.
func rootsIn(data map[string]string) pki.Bundle {
	var all pki.Bundle
	for _, value := range data {
		if bundle, err := pki.ParseBundle([]byte(value)); err == nil {
			all = all.Union(bundle)
		}
	}
	return all
}

func newConfigMap(pass *trustPass, ref plan.ConsumerRef) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   ref.Namespace,
			Name:        ref.Name,
			Labels:      pass.labels(),
			Annotations: pass.facts(nil, true),
		},
		Data: map[string]string{v1alpha1.BundleKey: string(pass.pem)},
	}
}

// configMapPatch is a JSON merge patch from what was observed to what is wanted, nil when there is no difference; edited tells
// whether other roots stand there. Unlike server-side apply it can't create what was deleted meanwhile, leaves alone what
// others added, and takes over nobody's field unless its value is wrong.
func configMapPatch(found *corev1.ConfigMap, pass *trustPass) (patch []byte, edited bool) {
	edited = found.Data[digestKey] != digest(pass.pem)
	metadata, data := map[string]any{}, map[string]any{}
	put(metadata, "labels", difference(found.Labels, pass.labels(), nil))
	put(metadata, "annotations", difference(found.Annotations, pass.facts(found.Annotations, edited), nil))
	if edited {
		data[v1alpha1.BundleKey] = string(pass.pem)
	}
	if len(metadata)+len(data) == 0 {
		return nil, false
	}
	return mergePatch(found, metadata, data), edited
}

func (s shared) patchConfigMap(ctx context.Context, found metav1.Object, patch []byte) error {
	answer := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: found.GetNamespace(), Name: found.GetName()}}
	return s.Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch))
}
