package controllers

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// leafFrom is a leaf Secret as it comes from the API server, with memory of its own.
func leafFrom(t *testing.T, name, authority string, roots []byte) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name,
			Labels:          ourLabel,
			Annotations:     map[string]string{v1alpha1.IssuedByAnnotation: authority, v1alpha1.CertificateAnnotation: name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MTLSCertificate"}},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{v1alpha1.BundleKey: roots, v1alpha1.CertificateKey: []byte(name)},
	}
	wire, err := secret.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	received := &corev1.Secret{}
	if err := received.Unmarshal(wire); err != nil {
		t.Fatal(err)
	}
	return received
}

func TestCachedSecretsShareWhatIsTheSame(t *testing.T) {
	roots := newCA(t, "my-ca", time.Now()).Issuer().Bundle().PEM()
	transform := sharing(dropKey)
	received := func(name, authority string, roots []byte) *corev1.Secret {
		plain, shared := leafFrom(t, name, authority, roots), leafFrom(t, name, authority, roots)
		_, _ = dropKey(plain)
		if _, err := transform(shared); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plain, shared); diff != "" {
			t.Errorf("sharing changes the Secret:\n%s", diff)
		}
		return shared
	}
	one, two := received("a", "shop/my-ca", roots), received("b", "shop/my-ca", roots)
	other := received("c", "shop/other-ca", []byte("others"))
	sameRoots := func(a, b *corev1.Secret) bool {
		return unsafe.SliceData(a.Data[v1alpha1.BundleKey]) == unsafe.SliceData(b.Data[v1alpha1.BundleKey])
	}
	sameAuthority := func(a, b *corev1.Secret) bool {
		return unsafe.StringData(a.Annotations[v1alpha1.IssuedByAnnotation]) ==
			unsafe.StringData(b.Annotations[v1alpha1.IssuedByAnnotation])
	}
	if !sameRoots(one, two) || !sameAuthority(one, two) {
		t.Error("two Secrets of one authority share nothing")
	}
	if sameRoots(one, other) || sameAuthority(one, other) {
		t.Error("Secrets of two authorities share their roots")
	}
}

func TestWhatIsSharedIsBounded(t *testing.T) {
	for what, size := range map[string]int{"many short ones": 10, "some long ones": maxValue / 2, "too long ones": maxValue + 1} {
		values := &sharedValues{texts: map[string]string{}, data: map[string][]byte{}}
		kept := func() (sum int) {
			for key, text := range values.texts {
				sum += len(key) + len(text)
			}
			for key, data := range values.data {
				sum += len(key) + len(data)
			}
			return sum
		}
		for i := range 2 * maxShared / size {
			value := fmt.Sprintf("%0*d", size, i)
			secret := &corev1.Secret{Data: map[string][]byte{v1alpha1.BundleKey: []byte(value)}}
			secret.Annotations = map[string]string{v1alpha1.IssuedByAnnotation: value}
			values.share(secret)
			if (i%1000 == 0 || size > 10) && kept() > 2*maxShared {
				t.Fatalf("of %s %d bytes are remembered", what, kept())
			}
		}
	}
}
