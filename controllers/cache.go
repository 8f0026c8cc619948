package controllers

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// keyStateField of a cached Secret's StringData holds its plan.KeyState. The API server never returns StringData, so
// nobody but dropKey can have written it; and a cached Secret is never sent back.
const keyStateField = "key-state"

// CacheOptions of the manager: of all Secrets only the operator's, and these without their private keys. Empty
// namespaces means all.
func CacheOptions(namespaces []string) cache.Options {
	return cache.Options{
		DefaultNamespaces: cacheNamespaces(namespaces),
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:    {Label: secretSelector(selection.Exists), Transform: sharing(dropKey)},
			&corev1.ConfigMap{}: {Label: trustSelector(), Transform: keepDigest},
		},
	}
}

// foreignSecrets is a cache of the names of all Secrets that are not the operator's: of 20,000 Secrets with 100 KiB each
// it holds the names. It tells when a Secret comes or goes that stands in a certificate's way or has an imported CA.
func foreignSecrets(mgr ctrl.Manager, namespaces []string) (cache.Cache, error) {
	return cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient:           mgr.GetHTTPClient(),
		Scheme:               mgr.GetScheme(),
		Mapper:               mgr.GetRESTMapper(),
		DefaultNamespaces:    cacheNamespaces(namespaces),
		DefaultLabelSelector: secretSelector(selection.DoesNotExist),
		DefaultTransform:     keepName,
	})
}

func cacheNamespaces(namespaces []string) map[string]cache.Config {
	if len(namespaces) == 0 {
		return nil
	}
	configs := make(map[string]cache.Config, len(namespaces))
	for _, namespace := range namespaces {
		configs[namespace] = cache.Config{}
	}
	return configs
}

// secretSelector selects the Secrets that have, or don't have, the label that each of ours has.
func secretSelector(operator selection.Operator) labels.Selector {
	requirement, err := labels.NewRequirement(v1alpha1.GenerationLabel, operator, nil)
	utilruntime.Must(err)
	return labels.NewSelector().Add(*requirement)
}

// dropKey replaces the private key of a Secret by what the planner needs to know of it, before the Secret is stored. It
// is called again for what it returned, and must never fail: an error would stop the cache.
func dropKey(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok || secret.StringData != nil {
		return object, nil
	}
	state := plan.ObserveKey(secret.Data, secret.Annotations[v1alpha1.PairHashAnnotation])
	secret.StringData = map[string]string{keyStateField: string(state)}
	kept := make(map[string][]byte, 2)
	for _, name := range []string{v1alpha1.CertificateKey, v1alpha1.BundleKey} {
		if value, found := secret.Data[name]; found {
			kept[name] = withoutKey(value)
		}
	}
	secret.Data = kept
	secret.ManagedFields = nil
	// kubectl apply puts the whole Secret there, with its key.
	delete(secret.Annotations, corev1.LastAppliedConfigAnnotation)
	return secret, nil
}

// keyOmitted stands where a private key stood that somebody put among certificates.
var keyOmitted = []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")

// withoutKey returns certificates as they are, and keyOmitted when there is a private key in them: it is refused as the
// original would be.
func withoutKey(certificates []byte) []byte {
	if bytes.Contains(certificates, []byte("PRIVATE KEY")) {
		return keyOmitted
	}
	return certificates
}

// keepName drops all of an object but what says which object it is.
func keepName(object any) (any, error) {
	metadata, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: metadata.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace:       metadata.Namespace,
		Name:            metadata.Name,
		ResourceVersion: metadata.ResourceVersion,
	}}, nil
}

// secretMetadata is an empty metadata object of a Secret, to read into or to watch.
func secretMetadata() *metav1.PartialObjectMetadata {
	return metadataOf("Secret")
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return metadata
}
