//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// issuances are the certificates that were ever in the leaf Secrets of a namespace since it is watched. The watch tells
// every version of a Secret, and is begun again with a list when it breaks.
type issuances struct {
	client.Reader // the cache
	namespace     string

	mu   sync.Mutex
	seen map[string]map[string]time.Time // by Secret and serial number: when it was seen first
}

// watch lasts as long as the test.
func (s *scene) watch(t *testing.T) *issuances {
	t.Helper()
	watched, err := cache.New(suite.EnvConf().Client().RESTConfig(), cache.Options{
		Scheme: scheme.Scheme, DefaultNamespaces: map[string]cache.Config{s.namespace: {}},
	})
	must(t, err)
	i := &issuances{Reader: watched, namespace: s.namespace, seen: map[string]map[string]time.Time{}}
	secrets, err := watched.GetInformer(t.Context(), &corev1.Secret{})
	must(t, err)
	_, err = secrets.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(secret any) { i.add(t, secret.(*corev1.Secret)) },
		UpdateFunc: func(_, secret any) { i.add(t, secret.(*corev1.Secret)) },
	})
	must(t, err)
	_, err = watched.GetInformer(t.Context(), &v1alpha1.MTLSCertificate{})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := watched.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	if !watched.WaitForCacheSync(t.Context()) {
		t.Fatal("the watches didn't begin")
	}
	return i
}

// add a version of a Secret, if it is a leaf's.
func (i *issuances) add(t *testing.T, secret *corev1.Secret) {
	if secret.Type != corev1.SecretTypeTLS {
		return
	}
	leaf, err := parseLeaf(secret)
	if err != nil {
		t.Errorf("Secret %s: %v", secret.Name, err)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen[secret.Name] == nil {
		i.seen[secret.Name] = map[string]time.Time{}
	}
	if serial := leaf.SerialNumber.Text(16); i.seen[secret.Name][serial].IsZero() {
		i.seen[secret.Name][serial] = time.Now()
	}
}

// issued is the number of different certificates.
func (i *issuances) issued() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	total := 0
	for _, serials := range i.seen {
		total += len(serials)
	}
	return total
}

func (i *issuances) wantSecrets(want int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.seen) != want {
		return fmt.Errorf("%d Secrets were seen, want %d", len(i.seen), want)
	}
	return nil
}

// firstSince is when the first certificate was seen at or after that time; the zero time if none was.
func (i *issuances) firstSince(start time.Time) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	var first time.Time
	for _, serials := range i.seen {
		for _, at := range serials {
			if !at.Before(start) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// ready is the number of certificates that are Ready.
func (i *issuances) ready(ctx context.Context) int {
	list := &v1alpha1.MTLSCertificateList{}
	if err := i.List(ctx, list, client.InNamespace(i.namespace)); err != nil {
		return 0
	}
	ready := 0
	for _, certificate := range list.Items {
		if meta.IsStatusConditionTrue(certificate.Status.Conditions, v1alpha1.ConditionReady) {
			ready++
		}
	}
	return ready
}

func (i *issuances) awaitReady(t *testing.T, want int) {
	t.Helper()
	await(t, fmt.Sprintf("%d Ready certificates", want), soon, func(ctx context.Context) error {
		if ready := i.ready(ctx); ready < want {
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
}
