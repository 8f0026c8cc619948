package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Every Secret of ours goes through this when the operator starts, and each time it changes.
func BenchmarkDropKey(b *testing.B) {
	data, err := generationData(newCA(b, "my-ca", time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	secret := corev1.Secret{Data: data}
	secret.Annotations = map[string]string{
		v1alpha1.PairHashAnnotation: pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey]),
	}
	b.ReportAllocs()
	for b.Loop() {
		received := secret
		if _, err := dropKey(&received); err != nil {
			b.Fatal(err)
		}
	}
}

// Every certificate goes through this when the operator starts, and whenever something wakes it for nothing.
func BenchmarkPassThatChangesNothing(b *testing.B) {
	w := newWorld(b)
	w.authority("my-ca")
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.issued("a"))}
	w.catchUp()
	w.requests.reset()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.certificates.Reconcile(w.ctx, request); err != nil {
			b.Fatal(err)
		}
	}
	if all := w.requests.all(); len(all) > 0 {
		b.Errorf("requests: %v", all)
	}
}

// What a certificate costs this process, with the requests, but without what the watches tell.
func BenchmarkPassThatIssues(b *testing.B) {
	w := newWorld(b)
	w.authority("my-ca")
	for number := 0; b.Loop(); number++ {
		b.StopTimer()
		request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.certificate(fmt.Sprintf("c%d", number)))}
		w.catchUp()
		b.StartTimer()
		if _, err := w.certificates.Reconcile(w.ctx, request); err != nil {
			b.Fatal(err)
		}
	}
}
