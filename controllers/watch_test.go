package controllers

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestWhoIsWokenByAChange(t *testing.T) {
	w := newWorld(t)
	home, tenant := w.namespace, w.newNamespace("", nil)
	deleting := w.authority("going-ca")
	w.check(w.admin.Delete(w.ctx, deleting))
	w.seesDeletion(deleting)
	w.authority("my-ca")
	w.authority("importing-ca", imports("walk-through"))
	refer := func(namespace, name string, secretName ...string) func(*v1alpha1.MTLSCertificate) {
		return func(c *v1alpha1.MTLSCertificate) {
			c.Spec.AuthorityRef = v1alpha1.AuthorityRef{Namespace: namespace, Name: name}
			c.Spec.SecretName = slices.Concat(secretName, []string{""})[0]
		}
	}
	a := w.certificate("a", refer("", "my-ca", "shop-tls"))
	w.certificate("b", refer("", "other-ca"))
	w.namespace = tenant
	w.certificate("c", refer(home, "my-ca", "shop-tls"))
	w.certificate("d", refer("", "my-ca")) // another one of that name
	other := w.newNamespace("", nil)
	w.namespace = other
	w.certificate("e", refer(home, "going-ca"))
	w.namespace = home

	ofSecret, toAuthority, ofForeign := w.certificatesOfSecret, w.authorityOfSecret, w.authoritiesOfForeign
	for _, test := range []struct {
		sentence string
		woken    func() []reconcile.Request
		want     []string
	}{
		{"its own Secret changes", w.by(ofSecret, ours(home, "shop-tls")), []string{"home/a"}},
		{"a foreign Secret of that name", w.by(ofSecret, foreign(home, "shop-tls")), []string{"home/a"}},
		{"a Secret of the certificate's own name", w.by(ofSecret, ours(home, "b")), []string{"home/b"}},
		{"the certificate's name, but its Secret has another", w.by(ofSecret, ours(home, "a")), nil},
		{"the Secret of one of its name elsewhere", w.by(ofSecret, ours(tenant, "shop-tls")), []string{"tenant/c"}},
		{"a CA generation, which only wakes when roots change", w.by(ofSecret, generation(home, "my-ca")), nil},
		{"a Secret that concerns nobody", w.by(ofSecret, foreign(home, "x")), nil},
		{"its authority", w.by(w.certificatesOfAuthority, authorityNamed(home, "my-ca")), []string{"home/a", "tenant/c"}},
		{"an authority without certificates", w.by(w.certificatesOfAuthority, authorityNamed(home, "x")), nil},
		{"the labels of its namespace", w.by(w.certificatesIn, namespaceNamed(tenant)), []string{"tenant/c", "tenant/d"}},

		{"an authority by its generation", w.by(toAuthority, generation(home, "my-ca")), []string{"home/my-ca"}},
		{"no authority by a leaf Secret", w.by(toAuthority, ours(home, "shop-tls")), nil},
		{"an authority by a Secret with a name it wants", w.by(toAuthority, ours(home, "my-ca-ca-2")), []string{"home/my-ca"}},
		{"the same, when it is foreign", w.by(ofForeign, foreign(home, "my-ca-ca-2")), []string{"home/my-ca"}},
		{"no authority by a number written in another way", w.by(ofForeign, foreign(home, "my-ca-ca-02")), nil},
		{"no authority by number nought", w.by(ofForeign, foreign(home, "my-ca-ca-0")), nil},
		{"no authority without a name", w.by(ofForeign, foreign(home, "-ca-1")), nil},
		{
			"an authority by the Secret it imports", w.by(ofForeign, foreign(home, "walk-through")),
			[]string{"home/importing-ca"},
		},
		{"no authority by such a Secret elsewhere", w.by(ofForeign, foreign(tenant, "walk-through")), nil},

		{
			"an authority that goes, by a certificate of it", w.by(w.authorityLeft, referring(a, "going-ca")),
			[]string{"home/going-ca"},
		},
		{
			"an authority that goes, by a namespace that it may have permitted", w.by(w.authoritiesLeftIn, namespaceNamed(other)),
			[]string{"home/going-ca"},
		},
		{"no authority that stays, by the labels of a namespace", w.by(w.authoritiesLeftIn, namespaceNamed(tenant)), nil},
		{"no authority by the labels of an empty namespace", w.by(w.authoritiesLeftIn, namespaceNamed("empty")), nil},
		{"no authority that stays, by a certificate", w.by(w.authorityLeft, a), nil},
		{"no authority that there isn't", w.by(w.authorityLeft, referring(a, "none")), nil},
	} {
		var got []string
		for _, request := range test.woken() {
			place := map[string]string{home: "home/", tenant: "tenant/"}[request.Namespace]
			got = append(got, place+request.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: wakes %q, want %q", test.sentence, got, test.want)
		}
	}
}

func (w *world) by(mapped handler.MapFunc, object client.Object) func() []reconcile.Request {
	return func() []reconcile.Request {
		w.catchUp()
		return mapped(w.ctx, object)
	}
}

func ours(namespace, name string) client.Object {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: ourLabel},
		Type:       corev1.SecretTypeTLS,
	}
}

func foreign(namespace, name string) client.Object {
	secret := secretMetadata()
	secret.Namespace, secret.Name = namespace, name
	return secret
}

func generation(namespace, authority string) client.Object {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: authority + "-ca-1", Labels: generationLabels(authority, 1)},
		Type:       v1alpha1.AuthoritySecretType,
	}
}

func authorityNamed(namespace, name string) client.Object {
	return &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func namespaceNamed(name string) client.Object {
	namespace := metadataOf("Namespace")
	namespace.Name = name
	return namespace
}

func referring(certificate *v1alpha1.MTLSCertificate, authority string) client.Object {
	other := certificate.DeepCopy()
	other.Spec.AuthorityRef.Name = authority
	return other
}

func TestWhichChangesAreLookedAt(t *testing.T) {
	ready := func(status metav1.ConditionStatus, message string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Message: message}}
	}
	certificate := func(change func(*v1alpha1.MTLSCertificate)) client.Object {
		c := &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
		change(c)
		return c
	}
	authority := func(change func(*v1alpha1.MTLSAuthority)) client.Object {
		a := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
		a.Status.Conditions = ready("True", "generation 1 signs")
		change(a)
		return a
	}
	same, sameAuthority := certificate(func(*v1alpha1.MTLSCertificate) {}), authority(func(*v1alpha1.MTLSAuthority) {})
	renewal := func(token string) client.Object {
		return certificate(func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": token}
		})
	}
	for _, test := range []struct {
		sentence      string
		predicate     predicate.Predicate
		before, after client.Object
		want          bool
	}{
		{"a certificate's spec", specOrRequestChanged(), same, certificate(func(c *v1alpha1.MTLSCertificate) {
			c.Generation = 2
		}), true},
		{"a request to renew", specOrRequestChanged(), same, renewal("1"), true},
		{"another request to renew", specOrRequestChanged(), renewal("1"), renewal("2"), true},
		{"the same request to renew", specOrRequestChanged(), renewal("1"), renewal("1"), false},
		{"another annotation", specOrRequestChanged(), same, certificate(func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{"note": "x"}
		}), false},
		{"a certificate's status, which is ours", specOrRequestChanged(), same, certificate(func(c *v1alpha1.MTLSCertificate) {
			c.Status.SecretName, c.ResourceVersion = "x", "2"
		}), false},
		{"the spec of an authority", specOrOrderChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Generation = 2
		}), true},
		{"an authority that isn't to wait for its CA", specOrOrderChanged(), authority(marked("home", "my-ca")), sameAuthority, true},
		{"another annotation of an authority", specOrOrderChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Annotations = map[string]string{"note": "x"}
		}), false},
		{"the status of an authority, which is ours", specOrOrderChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Status.Conditions, a.ResourceVersion = nil, "2"
		}), false},
		{"an authority's spec", abilityChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Generation = 2
		}), true},
		{"an authority that stops to sign", abilityChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Status.Conditions = ready("False", "generation 1 signs")
		}), true},
		{"an authority that tells something else", abilityChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Status.Conditions = ready("True", "generation 2 signs")
		}), true},
		{"an authority's first status", abilityChanged(), authority(func(a *v1alpha1.MTLSAuthority) {
			a.Status.Conditions = nil
		}), sameAuthority, true},
		{"the rest of an authority's status", abilityChanged(), sameAuthority, authority(func(a *v1alpha1.MTLSAuthority) {
			a.Status.TrustBundleHash, a.ResourceVersion = "x", "2"
			a.Status.Conditions = append(a.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: "True"})
		}), false},
	} {
		if got := test.predicate.Update(event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}); got != test.want {
			t.Errorf("%s: is looked at: %v, want %v", test.sentence, got, test.want)
		}
		if !test.predicate.Create(event.CreateEvent{Object: test.after}) {
			t.Errorf("%s: an object that comes isn't looked at", test.sentence)
		}
		if !test.predicate.Delete(event.DeleteEvent{Object: test.after}) {
			t.Errorf("%s: an object that goes isn't looked at", test.sentence)
		}
	}
}

func TestWhereTheOperatorWorks(t *testing.T) {
	for _, test := range []struct {
		namespaces []string
		namespace  string
		want       bool
	}{
		{nil, "shop", true},
		{[]string{"shop", "bank"}, "bank", true},
		{[]string{"shop", "bank"}, "shops", false},
	} {
		if got := (Options{Namespaces: test.namespaces}).watched(test.namespace); got != test.want {
			t.Errorf("with %q it works in %q: %v", test.namespaces, test.namespace, got)
		}
	}
}
