package controllers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// later moves the clock on.
func (w *world) later(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

// soundLeaf reads a leaf Secret and checks that a program can use it: the key is that of the certificate, the
// certificate verifies with nothing but what stands beside it, and what the Secret says of itself is true.
func (w *world) soundLeaf(name string) *x509.Certificate {
	w.t.Helper()
	secret := w.secret(name)
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		w.t.Fatalf("Secret %q: %v", name, err)
	}
	bundle, err := pki.ParseBundle(secret.Data["ca.crt"])
	if err != nil {
		w.t.Fatalf("Secret %q: ca.crt: %v", name, err)
	}
	options := x509.VerifyOptions{
		Roots:         bundle.Pool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime:   w.clock.Now(),
	}
	for _, der := range pair.Certificate[1:] {
		intermediate, err := x509.ParseCertificate(der)
		w.check(err)
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := pair.Leaf.Verify(options); err != nil {
		w.t.Fatalf("the certificate in Secret %q doesn't verify with its own ca.crt: %v", name, err)
	}
	for annotation, want := range map[string]string{
		"mtls-operator.io/pair-hash":   pki.PairHash(secret.Data["tls.crt"], secret.Data["tls.key"]),
		"mtls-operator.io/bundle-hash": bundle.Hash(),
	} {
		if got := secret.Annotations[annotation]; got != want {
			w.t.Errorf("annotation %s of Secret %q is %q, want %q", annotation, name, got, want)
		}
	}
	return pair.Leaf
}

// wantUntouched checks that nobody wrote a Secret since it was read.
func (w *world) wantUntouched(before *corev1.Secret) {
	w.t.Helper()
	after := w.secret(before.Name)
	if after.ResourceVersion != before.ResourceVersion {
		before.Data, after.Data = nil, nil // private keys go nowhere
		t := gocmp.Diff(before, after)
		w.t.Errorf("Secret %q was written (-before +after, without data):\n%s", before.Name, t)
	}
}

// wantOnlyChanged checks that of a Secret's data these keys changed, and no others.
func (w *world) wantOnlyChanged(before *corev1.Secret, keys ...string) {
	w.t.Helper()
	after, changed := w.secret(before.Name), []string{}
	for _, key := range []string{"ca.crt", "tls.crt", "tls.key"} {
		if !bytes.Equal(before.Data[key], after.Data[key]) {
			changed = append(changed, key)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(changed, keys) {
		w.t.Errorf("of Secret %q changed %q, want %q", before.Name, changed, keys)
	}
}

// wantCertificateAtRest makes two more passes, one of them a minute later, and checks that they make no requests.
func (w *world) wantCertificateAtRest(certificate *v1alpha1.MTLSCertificate) {
	w.t.Helper()
	w.wantQuiet(certificate)
	w.later(time.Minute)
	w.wantQuiet(certificate)
}

// wantNoWrites makes a pass and another one a minute later, and checks that they write nothing, nor try to, but for the
// requests in vain.
func (w *world) wantNoWrites(pass func(), inVain ...string) {
	w.t.Helper()
	w.told.take()
	for _, wait := range []time.Duration{0, time.Minute} {
		w.later(wait)
		w.requests.reset()
		pass()
		writes := slices.DeleteFunc(w.requests.writes(), func(s string) bool { return slices.Contains(inVain, s) })
		if len(writes) > 0 {
			w.t.Errorf("a pass %v later writes: %q", wait, writes)
		}
	}
	if events := w.told.take(); len(events) > 0 {
		w.t.Errorf("passes that change nothing tell events: %q", events)
	}
}

// wantWrites checks which writes were made since the last reset.
func (w *world) wantWrites(want ...string) {
	w.t.Helper()
	if diff := gocmp.Diff(want, w.requests.writes()); diff != "" {
		w.t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// editSecret changes a Secret as a person does, and waits until the operator's caches see it. (The operator's own client
// would wait for ever for a Secret that its cache doesn't select.)
func (w *world) editSecret(name string, change func(*corev1.Secret)) {
	w.t.Helper()
	secret := w.secret(name)
	before := secret.DeepCopy()
	change(secret)
	w.check(w.admin.Patch(w.ctx, secret, client.MergeFrom(before)))
	w.eventually("a cache has the Secret as it is", func() bool {
		ours, foreign := &corev1.Secret{}, secretMetadata()
		_ = w.client.Get(w.ctx, keyOf(secret), ours)
		_ = w.foreign.Get(w.ctx, keyOf(secret), foreign)
		return secret.ResourceVersion == cmp.Or(ours.ResourceVersion, foreign.ResourceVersion)
	})
}

// removeSecret deletes a Secret of ours as a person does, and waits until the operator's cache sees it.
func (w *world) removeSecret(name string) {
	w.t.Helper()
	secret := w.secret(name)
	w.check(w.admin.Delete(w.ctx, secret))
	w.eventually("the cache sees that the Secret is gone", func() bool {
		return w.certificates.Get(w.ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{}) != nil
	})
}

// eventually waits until something that doesn't happen in a pass has happened.
func (w *world) eventually(what string, happened func() bool) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return happened(), nil
	})
	if err != nil {
		w.t.Fatalf("in vain waited until %s", what)
	}
}

// blind is the cache of foreign Secrets while it is behind: it knows of none.
type blind struct{ client.Reader }

func (blind) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}

// onBothPaths runs a test twice: with a cache of foreign Secrets that knows all of them, and with one that is behind. The
// first is waited for by seesForeign.
func onBothPaths(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	t.Run("while the cache of foreign Secrets is right", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("while the cache of foreign Secrets is behind", func(t *testing.T) {
		w := newWorld(t)
		w.certificates.foreign = blind{}
		test(t, w)
	})
}

// seesForeign waits until the cache of foreign Secrets has one, if it isn't blind.
func (w *world) seesForeign(name string) {
	w.t.Helper()
	if _, isBlind := w.certificates.foreign.(blind); isBlind {
		return
	}
	key := client.ObjectKey{Namespace: w.namespace, Name: name}
	w.eventually("the cache of foreign Secrets has "+name, func() bool {
		return w.foreign.Get(w.ctx, key, secretMetadata()) == nil
	})
}

func (w *world) exists(secret string) bool {
	w.t.Helper()
	err := w.admin.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: secret}, &corev1.Secret{})
	w.check(client.IgnoreNotFound(err))
	return err == nil
}

func (w *world) allSecrets() []corev1.Secret {
	w.t.Helper()
	secrets := &corev1.SecretList{}
	w.check(w.admin.List(w.ctx, secrets, client.InNamespace(w.namespace)))
	return secrets.Items
}

// secretVersions are the versions of all Secrets of the namespace.
func (w *world) secretVersions() map[string]string {
	w.t.Helper()
	versions := map[string]string{}
	for _, secret := range w.allSecrets() {
		versions[secret.Name] = secret.ResourceVersion
	}
	return versions
}

// wantVersions checks that no Secret was written, made or deleted.
func (w *world) wantVersions(before map[string]string) {
	w.t.Helper()
	if diff := gocmp.Diff(before, w.secretVersions()); diff != "" {
		w.t.Errorf("versions of Secrets (-before +after):\n%s", diff)
	}
}

func keyOf(object client.Object) client.ObjectKey { return client.ObjectKeyFromObject(object) }

// foreignCopy makes a Secret of somebody else with the data of another one.
func (w *world) foreignCopy(from, name string) {
	w.t.Helper()
	w.check(w.admin.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Data:       w.secret(from).Data,
	}))
}
