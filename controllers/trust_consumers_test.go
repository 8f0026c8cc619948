package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func lineageOnly(_ pki.Bundle, lineage plan.Lineage) plan.Lineage { return lineage }

// wantConsumers checks who is expected to have the roots, with an authority's lineage.
func (w *world) wantConsumers(sentence string, authority *v1alpha1.MTLSAuthority, lineage plan.Lineage, bundle pki.Bundle,
	want ...plan.Consumer,
) {
	w.t.Helper()
	w.requests.reset()
	got, err := w.trust.trustConsumers(w.ctx, authority, lineage, bundle)
	w.check(err)
	for i := range got {
		if got[i].Born.IsZero() {
			w.t.Errorf("%s: %v is as old as time", sentence, got[i].ConsumerRef)
		}
		got[i].Born = time.Time{}
		if got[i].Problem != "" {
			got[i].Problem = "yes"
		}
	}
	for i := range want {
		want[i].Reload = v1alpha1.ReloadWatch
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s: consumers (-want +got):\n%s", sentence, diff)
	}
	if all := w.requests.all(); len(all) > 0 {
		w.t.Errorf("%s: requests %q", sentence, all)
	}
}

func TestEveryNamespaceThatIsToHaveTheRootsIsExpectedToHaveThem(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	ref := configMapRef(namespace, "roots")
	authority := w.publisher()
	bundle, lineage := w.roots(authority)
	begin := w.clock.Now()
	missing := plan.Consumer{ConsumerRef: ref, Missing: true}
	complete := plan.Consumer{ConsumerRef: ref, Holds: []int64{1}, Current: true, BundleSince: begin}

	w.wantConsumers("before they were delivered", authority, lineage, bundle, missing)
	w.reconcileTrust(authority)
	w.wantConsumers("delivered", authority, lineage, bundle, complete)
	behind := plan.Consumer{ConsumerRef: ref, BundleSince: begin}
	w.wantConsumers("while others are to be delivered", authority, lineage, w.withAnotherRoot(authority), behind)
	edit(w, w.configMap(namespace), func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "x" })
	w.wantConsumers("edited", authority, lineage, bundle, behind)
	w.reconcileTrust(authority)
	w.wantConsumers("put right", authority, lineage, bundle, complete)
	w.check(w.client.Delete(w.ctx, w.configMap(namespace)))
	w.wantConsumers("deleted", authority, lineage, bundle, missing)
	w.restart()
	w.wantConsumers("deleted, and the operator doesn't know", authority, lineage, bundle, missing)
	w.reconcileTrust(authority)

	edit(w, w.configMap(namespace), func(c *corev1.ConfigMap) { c.Immutable = new(true) })
	w.delivers(authority, w.withAnotherRoot(authority))
	stuck := behind
	stuck.Problem = "yes"
	w.wantConsumers("immutable", authority, lineage, w.withAnotherRoot(authority), stuck)
	w.label(namespace, "null")
	w.wantConsumers("not selected any more", authority, lineage, bundle)
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.TrustBundle = nil })
	w.wantConsumers("not wanted any more", authority, lineage, bundle)
}

func TestAForeignConfigMapCountsWhenItHasTheRoots(t *testing.T) {
	w := onlyTrust(t)
	without, with := w.selected(), w.selected()
	authority := w.publisher()
	bundle, lineage := w.roots(authority)
	w.check(w.admin.Create(w.ctx, foreignRoots(without, func(*corev1.ConfigMap) {})))
	w.check(w.admin.Create(w.ctx, foreignRoots(with, func(c *corev1.ConfigMap) {
		c.Data = map[string]string{"bundle.pem": string(bundle.PEM())}
	})))
	w.reconcileTrust(authority)
	counts := plan.Consumer{ConsumerRef: configMapRef(with, "roots"), Holds: []int64{1}, Problem: "yes"}
	w.wantConsumers("one has them", authority, lineage, bundle, counts)
}

func TestNobodyWaitsForANamespaceThatIsNotThere(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", publishesTo(w), func(a *v1alpha1.MTLSAuthority) {
		a.Spec.TrustBundle.ConfigMap.NamespaceSelector = &metav1.LabelSelector{}
	})
	bundle, lineage := w.roots(authority)
	w.trust.options.Namespaces = []string{w.namespace, "absent"}
	w.reconcileTrust(authority)
	consumers, err := w.trust.trustConsumers(w.ctx, authority, lineage, bundle)
	w.check(err)
	if len(consumers) != 1 || consumers[0].Namespace != w.namespace {
		t.Errorf("consumers are %v", consumers)
	}
}

func TestAllClusterTrustBundlesOfASignerAreOneConsumer(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", asClusterTrustBundle)
	bundle, lineage := w.roots(authority)
	begin := w.clock.Now()
	ref := plan.ConsumerRef{Kind: "ClusterTrustBundle", Name: "mtls-operator.io/" + w.namespace + ".my-ca"}
	w.wantConsumers("before they were delivered", authority, lineage, bundle, plan.Consumer{ConsumerRef: ref, Missing: true})
	w.reconcileTrust(authority)
	w.wantConsumers("delivered", authority, lineage, bundle,
		plan.Consumer{ConsumerRef: ref, Holds: []int64{1}, Current: true, BundleSince: begin})
	w.wantConsumers("while others are to be delivered", authority, lineage, w.withAnotherRoot(authority),
		plan.Consumer{ConsumerRef: ref})
	w.trust.options.Namespaces = []string{w.namespace}
	w.wantConsumers("where there can't be any", authority, lineage, bundle)
}

func TestASecretThatOutlivedItsCertificateIsAConsumer(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca")
	secret := w.retained("hello")
	bundle, lineage := w.roots(authority)
	want := plan.Consumer{
		ConsumerRef: plan.ConsumerRef{Kind: "Secret", Namespace: w.namespace, Name: "hello"},
		Holds:       []int64{1},
		Current:     true,
		BundleSince: timeOf(secret.Annotations[v1alpha1.BundleSinceAnnotation]),
		Leaf: &plan.ConsumerLeaf{
			On:    1,
			Ends:  w.leaf("hello").NotAfter,
			Since: timeOf(secret.Annotations[v1alpha1.IssuerSinceAnnotation]),
			Kept:  "its MTLSCertificate was deleted and it was retained",
		},
	}
	w.wantConsumers("as it was", authority, lineage, bundle, want)

	// In terms of an authority above, of another number, whose root isn't there yet.
	root := newCA(t, "above", w.clock.Now()).Issuer()
	above := plan.Lineage{Live: []plan.Generation{{Number: 7, Issuer: root}}}
	child := want
	child.Holds, child.Current, child.Leaf = nil, false, nil
	w.wantConsumers("before the root above is there", authority, above, bundle.Union(root.Bundle()), child)
	now := w.afterwards(time.Hour)
	w.delivers(authority, bundle.Union(root.Bundle()))
	child.Holds, child.Current, child.BundleSince = []int64{7}, true, now
	w.wantConsumers("with the root above", authority, above, bundle.Union(root.Bundle()), child)

	// Anybody can make such a Secret in a namespace of their own from a certificate that they saw.
	w.namespace = w.newNamespace("", nil)
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "copy", Labels: secret.Labels, Annotations: secret.Annotations,
		},
		Type: corev1.SecretTypeTLS,
		Data: secret.Data,
	}
	w.check(w.client.Create(w.ctx, forged))
	w.wantConsumers("one is made up elsewhere", authority, above, bundle.Union(root.Bundle()), child)
}
