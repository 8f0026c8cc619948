package controllers

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestWhichAuthoritiesAreWokenByWhatTheyWaitFor(t *testing.T) {
	w := newWorld(t)
	home, tenant := w.namespace, w.newNamespace("", nil)
	w.authority("importing-ca", imports("walk-through"))
	w.authority("my-ca")
	w.namespace = tenant
	w.authority("child", signedBy(home, "my-ca"))
	w.authority("grandchild", signedBy("", "child"))
	w.authority("alone")
	w.namespace = home
	going := w.authority("going-ca")
	w.certificate("a", func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "going-ca" })
	w.deleteAuthority(going)

	for _, test := range []struct {
		sentence string
		woken    func() []reconcile.Request
		want     []string
	}{
		{
			"those in a namespace that another one signs", w.by(w.authoritiesOfNamespace, namespaceNamed(tenant)),
			[]string{"child", "grandchild"},
		},
		{"those that its certificates hold", w.by(w.authoritiesOfNamespace, namespaceNamed(home)), []string{"going-ca"}},
		{"nobody in an empty namespace", w.by(w.authoritiesOfNamespace, namespaceNamed("empty")), nil},

		{"by an imported Secret with our label", w.by(w.authoritiesOfSecret, ours(home, "walk-through")), []string{"importing-ca"}},
		{"not by such a Secret elsewhere", w.by(w.authoritiesOfSecret, ours(tenant, "walk-through")), nil},
		{
			"by a foreign Secret that is imported", w.by(w.authoritiesOfForeign, foreign(home, "walk-through")),
			[]string{"importing-ca"},
		},
		{"nobody by another Secret with our label", w.by(w.authoritiesOfSecret, ours(home, "a")), nil},
	} {
		var got []string
		for _, request := range test.woken() {
			got = append(got, request.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: wakes %q, want %q", test.sentence, got, test.want)
		}
	}
}

// TestTheOperatorWakesAuthorities shows that what their watches are told by is put together.
func TestTheOperatorWakesAuthorities(t *testing.T) {
	runOperator(t)
	for sentence, test := range map[string]func(*testing.T, *world){
		"a namespace that gets the label that the authority above selects": namespaceOfAChildIsLabelled,
		"an imported Secret that is a copy of a generation with its label": importedCopyThatComesLater,
	} {
		t.Run(sentence, func(t *testing.T) { test(t, bystander(t)) })
	}
}

func namespaceOfAChildIsLabelled(_ *testing.T, w *world) {
	above := w.newAuthority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		a.Spec.MaxPathLength = new(int32(1))
		a.Spec.AllowedAuthorities = &v1alpha1.AllowedNamespaces{
			From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": w.namespace}},
		}
	})
	w.becomes(above, v1alpha1.ReasonSigning)
	home := w.namespace
	w.namespace = w.newNamespace("", nil)
	child := w.newAuthority("child", func(a *v1alpha1.MTLSAuthority) {
		signedBy(home, "my-ca")(a)
		a.Spec.Duration = "2160h"
	})
	w.becomes(child, v1alpha1.ReasonParentNotReady)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	edit(w, namespace, func(n *corev1.Namespace) { n.Labels["of"] = home })
	w.becomes(child, v1alpha1.ReasonSigning)
}

func importedCopyThatComesLater(_ *testing.T, w *world) {
	w.becomes(w.newAuthority("maker", nil), v1alpha1.ReasonSigning)
	authority := w.newAuthority("my-ca", imports("copy"))
	w.becomes(authority, v1alpha1.ReasonImportedSecretNotFound)
	original := w.secret("maker-ca-1")
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "copy", Labels: original.Labels}, Data: original.Data})
	w.becomes(authority, v1alpha1.ReasonSigning)

	edit(w, w.secret("copy"), func(s *corev1.Secret) { s.Data["tls.key"] = []byte("?") })
	w.reports(authority, v1alpha1.ConditionStalled, v1alpha1.ReasonImportedInvalid)
}
