package controllers

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// publishesTo has an authority publish its roots as ConfigMap "roots" in the namespaces that are of a world.
func publishesTo(w *world) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) {
		a.Spec.TrustBundle = &v1alpha1.TrustBundle{ConfigMap: &v1alpha1.TrustBundleConfigMap{
			Name: "roots", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": w.namespace}},
		}}
	}
}

// publisher is authority my-ca with roots that it is about to publish to the namespaces of the world.
func (w *world) publisher() *v1alpha1.MTLSAuthority {
	w.t.Helper()
	return w.authority("my-ca", publishesTo(w))
}

// selected makes a namespace that is of the world; the next pass sees it.
func (w *world) selected() string {
	w.t.Helper()
	name := w.newNamespace("", nil)
	w.label(name, fmt.Sprintf("%q", w.namespace))
	return name
}

// label sets label "of" of a namespace to a value in JSON; the next pass sees it.
func (w *world) label(namespace, value string) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"of":%s}}}`, value)
	w.check(w.client.Patch(w.ctx, namespaceNamed(namespace), client.RawPatch(types.MergePatchType, []byte(patch))))
}

// reconcileTrust makes one pass, which must not fail, and reads the object anew.
func (w *world) reconcileTrust(authority *v1alpha1.MTLSAuthority) ctrl.Result {
	w.t.Helper()
	w.catchUp()
	result, err := w.trust.Reconcile(w.ctx, ctrl.Request{NamespacedName: keyOf(authority)})
	w.check(err)
	w.check(client.IgnoreNotFound(w.admin.Get(w.ctx, keyOf(authority), authority)))
	return result
}

// delivers makes one pass with other roots than the authority has.
func (w *world) delivers(authority *v1alpha1.MTLSAuthority, bundle pki.Bundle) ctrl.Result {
	w.t.Helper()
	_, lineage := w.roots(authority)
	result, err := w.trust.deliver(w.ctx, authority, bundle, lineage)
	w.check(err)
	return result
}

func (w *world) roots(authority *v1alpha1.MTLSAuthority) (pki.Bundle, plan.Lineage) {
	w.t.Helper()
	found, err := w.trust.trustOf(w.ctx, authority)
	w.check(err)
	return found.roots, found.lineage
}

func (w *world) bundleOf(authority *v1alpha1.MTLSAuthority) pki.Bundle {
	w.t.Helper()
	bundle, _ := w.roots(authority)
	return bundle
}

// withAnotherRoot are the roots of an authority and one more.
func (w *world) withAnotherRoot(authority *v1alpha1.MTLSAuthority) pki.Bundle {
	w.t.Helper()
	return w.bundleOf(authority).Union(newCA(w.t, "another", w.clock.Now()).Issuer().Bundle())
}

// wantTrustAtRest makes another pass and checks that it asks the API server for nothing.
func (w *world) wantTrustAtRest(authority *v1alpha1.MTLSAuthority) {
	w.t.Helper()
	w.requests.reset()
	w.reconcileTrust(authority)
	if all := w.requests.all(); len(all) > 0 {
		w.t.Errorf("a pass that changes nothing makes requests: %v", all)
	}
}

// configMap reads ConfigMap "roots" of a namespace as it is, nil when there is none.
func (w *world) configMap(namespace string) *corev1.ConfigMap {
	w.t.Helper()
	found := &corev1.ConfigMap{}
	err := w.admin.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: "roots"}, found)
	w.check(client.IgnoreNotFound(err))
	if err != nil {
		return nil
	}
	return found
}

// wantPublished checks that the ConfigMap of a namespace has these roots since a time, and is told to be the authority's.
func (w *world) wantPublished(namespace string, authority *v1alpha1.MTLSAuthority, bundle pki.Bundle, since time.Time) {
	w.t.Helper()
	found := w.configMap(namespace)
	if found == nil {
		w.t.Fatalf("no ConfigMap in namespace %s", namespace)
	}
	if !bytes.Equal([]byte(found.Data["ca.crt"]), bundle.PEM()) || len(bundle.Certificates()) == 0 {
		w.t.Errorf("the ConfigMap has %q", found.Data["ca.crt"])
	}
	want := map[string]string{
		"mtls-operator.io/issued-by":    authority.Namespace + "/" + authority.Name,
		"mtls-operator.io/bundle-hash":  bundle.Hash(),
		"mtls-operator.io/bundle-since": since.Format(time.RFC3339),
	}
	for name, value := range want {
		if found.Annotations[name] != value {
			w.t.Errorf("annotation %s is %q, want %q", name, found.Annotations[name], value)
		}
	}
	if found.Labels["mtls-operator.io/trust-bundle"] != authority.Name || len(found.OwnerReferences) > 0 {
		w.t.Errorf("labels are %v, owners %v", found.Labels, found.OwnerReferences)
	}
}

// wantTrustProblem checks what stands in the way of publishing: every text must be in the verdict.
func (w *world) wantTrustProblem(authority *v1alpha1.MTLSAuthority, reason string, texts ...string) {
	w.t.Helper()
	verdict := w.trust.trustVerdict(authority)
	if verdict.Reason != reason {
		w.t.Errorf("the problem is %q: %s; want %q", verdict.Reason, verdict.Message, reason)
	}
	for _, text := range texts {
		if !bytes.Contains([]byte(verdict.Message), []byte(text)) {
			w.t.Errorf("the problem is told as %q, want %q in it", verdict.Message, text)
		}
	}
}

// afterwards moves the clock.
func (w *world) afterwards(d time.Duration) time.Time {
	w.clock.SetTime(w.clock.Now().Add(d))
	return w.clock.Now()
}

func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	got := w.told.take()
	if len(got) != len(want) {
		w.t.Fatalf("events are %q, want %d", got, len(want))
	}
	for i := range want {
		if !bytes.HasPrefix([]byte(got[i]), []byte(want[i])) {
			w.t.Errorf("event %q, want %q", got[i], want[i])
		}
	}
}

// onlyTrust drops what the test doesn't look at.
func onlyTrust(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.told.take()
	return w
}
