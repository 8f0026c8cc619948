package controllers

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	// maxShared bounds what is remembered to be shared, in bytes. There are some values for each authority and for each namespace;
	// when they are more, all are forgotten, and those that come after share among themselves.
	maxShared = 4 << 20
	// maxValue is the longest that is shared: whoever may write a Secret may put anything there.
	maxValue = 16 << 10
	// perValue is what a value takes beside its bytes, about.
	perValue = 100
)

// sharing has Secrets in a cache share what is the same in thousands of them: the roots, and the texts of labels and annotations.
// That is a third of what one of them takes.
func sharing(transform cache.TransformFunc) cache.TransformFunc {
	values := &sharedValues{texts: map[string]string{}, data: map[string][]byte{}}
	return func(object any) (any, error) {
		object, err := transform(object)
		if secret, ok := object.(*corev1.Secret); ok {
			values.share(secret)
		}
		return object, err
	}
}

// sharedValues are those that were seen before.
type sharedValues struct {
	mu    sync.Mutex
	size  int
	texts map[string]string
	data  map[string][]byte
}

// share replaces what others have too by what they have.
func (s *sharedValues) share(secret *corev1.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size > maxShared {
		s.size = 0
		clear(s.texts)
		clear(s.data)
	}
	secret.Namespace = s.text(secret.Namespace)
	secret.Type = corev1.SecretType(s.text(string(secret.Type)))
	secret.Labels = s.all(secret.Labels, v1alpha1.GenerationLabel)
	secret.Annotations = s.all(secret.Annotations, v1alpha1.IssuedByAnnotation, v1alpha1.BundleHashAnnotation,
		v1alpha1.BundleSinceAnnotation, v1alpha1.IssuerSinceAnnotation)
	for i := range secret.OwnerReferences {
		owner := &secret.OwnerReferences[i]
		owner.APIVersion, owner.Kind = s.text(owner.APIVersion), s.text(owner.Kind)
	}
	if bundle, found := secret.Data[v1alpha1.BundleKey]; found {
		secret.Data[v1alpha1.BundleKey] = s.bytes(bundle)
	}
}

// all of a map's keys, and the values of those that have the same value in many objects.
func (s *sharedValues) all(texts map[string]string, alike ...string) map[string]string {
	if texts == nil {
		return nil
	}
	shared := make(map[string]string, len(texts))
	for key, value := range texts {
		shared[s.text(key)] = value
	}
	for _, key := range alike {
		if value, found := shared[key]; found {
			shared[key] = s.text(value)
		}
	}
	return shared
}

func (s *sharedValues) text(text string) string {
	if known, found := s.texts[text]; found {
		return known
	}
	if s.remembers(len(text)) {
		s.texts[text] = text
	}
	return text
}

func (s *sharedValues) bytes(data []byte) []byte {
	if known, found := s.data[string(data)]; found {
		return known
	}
	if s.remembers(2 * len(data)) { // as the key, and as the value
		s.data[string(data)] = data
	}
	return data
}

// remembers tells whether a value is short enough, and counts it.
func (s *sharedValues) remembers(size int) bool {
	if size > maxValue {
		return false
	}
	s.size += size + perValue
	return true
}
