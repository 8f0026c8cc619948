package controllers

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// caKeys are the keys of CAs: parsed, by the UID of their Secret, which is immutable. A key is read once per generation and
// process, by the first who needs it. Whoever needs another one doesn't wait for that.
type caKeys struct {
	live client.Reader

	mu   sync.Mutex // never held during a request
	read map[types.UID]*keyRead
}

// keyRead is one reading of a key. All but done is written before done is closed, and only read after that.
type keyRead struct {
	done      chan struct{}
	authority *pki.Authority // nil when it failed
	err       error
	// gaveUp: the one who read it ended before the answer came. That says nothing of the key: another one reads it.
	gaveUp bool
}

func newCAKeys(live client.Reader) *caKeys {
	return &caKeys{live: live, read: map[types.UID]*keyRead{}}
}

// authority returns the CA of a generation with its key. It is the planned one: its certificate is compared.
func (k *caKeys) authority(ctx context.Context, namespace string, generation plan.Generation) (*pki.Authority, error) {
	reading, err := k.await(ctx, namespace, generation)
	if err != nil {
		return nil, err
	}
	if reading.authority.Issuer().Fingerprint() != generation.Issuer.Fingerprint() {
		k.drop(generation.SecretUID, reading) // whichever of the two is behind: what is read next is up to date
		return nil, keyUnavailable{fmt.Errorf("the CA in Secret %s/%s is not the one planned with", namespace,
			generation.SecretName)}
	}
	return reading.authority, nil
}

// await reads the key of a generation, or waits for the one who does.
func (k *caKeys) await(ctx context.Context, namespace string, generation plan.Generation) (*keyRead, error) {
	for {
		reading, mine := k.join(generation.SecretUID)
		if mine {
			k.fill(ctx, reading, namespace, generation)
			return reading, reading.err
		}
		select {
		case <-reading.done:
		case <-ctx.Done():
			return nil, keyUnavailable{ctx.Err()}
		}
		if !reading.gaveUp {
			return reading, reading.err
		}
	}
}

// join returns the reading of a key that is done or under way. When there is none it begins one, which is the caller's.
func (k *caKeys) join(uid types.UID) (reading *keyRead, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if reading, found := k.read[uid]; found {
		return reading, false
	}
	reading = &keyRead{done: make(chan struct{})}
	k.read[uid] = reading
	return reading, true
}

// fill carries a reading out. One that fails isn't kept; nor is one that was forgotten meanwhile, since only join adds any.
func (k *caKeys) fill(ctx context.Context, reading *keyRead, namespace string, generation plan.Generation) {
	reading.gaveUp = true // as long as nothing else is known: load may panic
	defer func() {
		if reading.authority == nil {
			k.drop(generation.SecretUID, reading)
		}
		close(reading.done)
	}()
	reading.authority, reading.err = k.load(ctx, namespace, generation)
	reading.gaveUp = reading.err != nil && ctx.Err() != nil
}

// drop a reading, unless it was forgotten already and another one has its place.
func (k *caKeys) drop(uid types.UID, reading *keyRead) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.read[uid] == reading {
		delete(k.read, uid)
	}
}

func (k *caKeys) load(ctx context.Context, namespace string, generation plan.Generation) (*pki.Authority, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: namespace, Name: generation.SecretName}
	if err := k.live.Get(ctx, key, secret); err != nil {
		return nil, keyUnavailable{err}
	}
	if secret.UID != generation.SecretUID {
		return nil, keyUnavailable{stale(secret.Name)}
	}
	return pki.LoadAuthority(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey],
		secret.Data[v1alpha1.BundleKey])
}

// keyUnavailable: the key of the planned generation cannot be read now. What is planned anew may find it.
type keyUnavailable struct{ error }

func (k keyUnavailable) Unwrap() error { return k.error }

// Forget drops the key that was read, or is being read, from the Secret with this UID.
func (k *caKeys) Forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.read, uid)
}

// ForgetAll drops all keys.
func (k *caKeys) ForgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.read)
}
