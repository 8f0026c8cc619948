package controllers

import (
	"bytes"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestWhoIsWokenToDeliverRoots(t *testing.T) {
	w := newWorld(t)
	home := w.namespace
	w.publisher()
	w.authority("other-ca", asClusterTrustBundle)
	w.authority("blocked-ca")
	ref := configMapRef(home, "roots")
	w.trust.published.set(client.ObjectKey{Namespace: home, Name: "blocked-ca"}, obstacles{ref: {foreign: true}})
	certificate := w.issued("owned")
	gone := w.issued("retained", func(c *v1alpha1.MTLSCertificate) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	for _, name := range []string{"owned", "retained"} {
		edit(w, w.secret(name), func(s *corev1.Secret) { s.Annotations[v1alpha1.IssuedByAnnotation] = home + "/my-ca" })
	}
	configMap := func(change func(*corev1.ConfigMap)) client.Object { return foreignRoots(home, change) }
	bundle := func(signer string) client.Object {
		bundle := newBundle("x")
		bundle.Spec.SignerName = signer
		return bundle
	}

	for _, test := range []struct {
		sentence string
		woken    func() []reconcile.Request
		want     []string
	}{
		{"an authority by its generation", w.by(w.trustOfSecret, generation(home, "my-ca")), []string{"my-ca"}},
		{"the authority of a retained Secret", w.by(w.trustOfSecret, w.secret("retained")), []string{"my-ca"}},
		{"no authority by a Secret that is looked after", w.by(w.trustOfSecret, w.secret("owned")), nil},
		{"the authority of a retained Secret when its certificate goes", w.by(w.trustOfCertificate, gone), []string{"my-ca"}},
		{"no authority when the Secret goes too", w.by(w.trustOfCertificate, certificate), nil},
		{"no authority by a certificate without Secret", w.by(w.trustOfCertificate, w.certificate("none")), nil},
		{"the authority whose roots a ConfigMap has, and who wants its name", w.by(w.trustOfConfigMap,
			configMap(marks(home+"/my-ca"))), []string{"blocked-ca", "my-ca"}},
		{
			"who wants the name of a ConfigMap", w.by(w.trustOfConfigMap, configMap(func(*corev1.ConfigMap) {})),
			[]string{"blocked-ca"},
		},
		{"the authority of a signer", w.by(w.trustOfBundle, bundle("mtls-operator.io/"+home+".my.ca")), []string{"my.ca"}},
		{"nobody by another signer", w.by(w.trustOfBundle, bundle("example.com/"+home+".my-ca")), nil},
		{"nobody by no signer", w.by(w.trustOfBundle, bundle("")), nil},
		{"nobody by a signer that isn't an authority's", w.by(w.trustOfBundle, bundle("mtls-operator.io/x")), nil},
		{"those who publish to namespaces", w.by(w.publishing, namespaceNamed("any")), []string{"my-ca"}},
	} {
		var got []string
		for _, request := range test.woken() {
			if request.Namespace == home { // the API server is shared with other tests
				got = append(got, request.Name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: wakes %q, want %q", test.sentence, got, test.want)
		}
	}
}

func TestWhichChangesAreLookedAtToDeliverRoots(t *testing.T) {
	namespace := func(change func(*metav1.PartialObjectMetadata)) client.Object {
		n := metadataOf("Namespace")
		change(n)
		return n
	}
	same := namespace(func(*metav1.PartialObjectMetadata) {})
	certificate := func(policy v1alpha1.DeletionPolicy) client.Object {
		return &v1alpha1.MTLSCertificate{Spec: v1alpha1.MTLSCertificateSpec{DeletionPolicy: policy}}
	}
	authority := func(hash string) client.Object {
		return &v1alpha1.MTLSAuthority{Status: v1alpha1.MTLSAuthorityStatus{TrustBundleHash: hash}}
	}
	for _, test := range []struct {
		sentence      string
		predicate     predicate.Predicate
		before, after client.Object
		want          bool
	}{
		{"labels of a namespace", selectionChanged(), same, namespace(func(n *metav1.PartialObjectMetadata) {
			n.Labels = map[string]string{"team": "shop"}
		}), true},
		{"a namespace that goes", selectionChanged(), same, namespace(func(n *metav1.PartialObjectMetadata) {
			n.DeletionTimestamp = new(metav1.Now())
		}), true},
		{"another annotation of a namespace", selectionChanged(), same, namespace(func(n *metav1.PartialObjectMetadata) {
			n.Annotations = map[string]string{"note": "x"}
		}), false},
		{"a certificate that stays", retainedOnly(), certificate("Delete"), certificate("Retain"), false},
		{"other roots in status", rootsTold(), authority("1"), authority("2"), true},
		{"the same roots in status", rootsTold(), authority("1"), authority("1"), false},
	} {
		if got := test.predicate.Update(event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}); got != test.want {
			t.Errorf("%s: looked at %v", test.sentence, got)
		}
	}
	for policy, want := range map[v1alpha1.DeletionPolicy]bool{v1alpha1.DeletionRetain: true, v1alpha1.DeletionDelete: false} {
		if got := retainedOnly().Delete(event.DeleteEvent{Object: certificate(policy)}); got != want {
			t.Errorf("the end of a certificate with deletionPolicy %s: looked at %v", policy, got)
		}
	}
	if !selectionChanged().Create(event.CreateEvent{Object: same}) {
		t.Error("a new namespace isn't looked at")
	}
	if retainedOnly().Create(event.CreateEvent{Object: certificate("Retain")}) || retainedOnly().Generic(event.GenericEvent{}) {
		t.Error("a new certificate is looked at")
	}
}

// What is cached of a ConfigMap tells whether somebody edited the roots, and has no data.
func TestOfAConfigMapOnlyAHashIsCached(t *testing.T) {
	configMap := foreignRoots("shop", marks("home/my-ca"))
	configMap.Data["more"], configMap.BinaryData = "x", map[string][]byte{"x": {1}}
	configMap.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
	configMap.Annotations[corev1.LastAppliedConfigAnnotation] = "the data"
	for range 2 { // it is called again for what it returned
		kept, err := keepDigest(configMap)
		if err != nil || kept != any(configMap) {
			t.Fatal(kept, err)
		}
		if len(configMap.Data) != 1 || configMap.Data[digestKey] != digest([]byte("mine")) {
			t.Errorf("data is %v", configMap.Data)
		}
		if len(configMap.BinaryData)+len(configMap.ManagedFields) > 0 || len(configMap.Annotations) != 1 {
			t.Errorf("kept is %v", configMap)
		}
	}
	if kept, err := keepDigest("x"); kept != "x" || err != nil {
		t.Error(kept, err)
	}
}

// TestRootsAreDeliveredByTheWholeOperator shows that every watch is there.
func TestRootsAreDeliveredByTheWholeOperator(t *testing.T) {
	runOperator(t)
	w := bystander(t)
	home := w.namespace
	namespace := w.newNamespace("", nil)
	authority := w.newAuthority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		publishesTo(w)(a)
		a.Spec.TrustBundle.ClusterTrustBundle = &v1alpha1.TrustBundleObject{}
	})
	published := func(namespace string) func() bool {
		return func() bool {
			found := w.configMap(namespace)
			return found != nil && bytes.HasPrefix([]byte(found.Data["ca.crt"]), []byte("-----BEGIN CERTIFICATE"))
		}
	}
	w.becomes(authority, v1alpha1.ReasonSigning)
	w.eventually("the roots are there for the whole cluster", func() bool { return len(w.bundles()) == 1 })
	w.label(namespace, `"`+home+`"`)
	w.eventually("a namespace that was labelled has them", published(namespace))
	young := w.newNamespace("", map[string]string{"of": home})
	w.eventually("a new namespace has them", published(young))
	edit(w, w.configMap(young), func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "x" })
	w.eventually("an edited one is put right", published(young))
	w.check(w.admin.Delete(w.ctx, w.configMap(young)))
	w.eventually("a deleted one is made anew", published(young))
	w.check(w.admin.Delete(w.ctx, &w.bundles()[0]))
	w.eventually("the one for the cluster is made anew", func() bool { return len(w.bundles()) == 1 })
	w.label(namespace, "null")
	w.eventually("a namespace that isn't selected has none", func() bool { return w.configMap(namespace) == nil })
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.TrustBundle.ClusterTrustBundle = nil })
	w.eventually("there is none for the cluster", func() bool { return len(w.bundles()) == 0 })

	secret := w.retainedByItself(authority)
	w.eventually("a Secret that outlived its certificate gets its roots back", func() bool {
		return bytes.Equal(w.secret(secret.Name).Data["ca.crt"], secret.Data["ca.crt"])
	})
	w.check(w.admin.Delete(w.ctx, authority))
	w.eventually("they go with the authority", func() bool { return w.configMap(young) == nil })
}

// retainedByItself deletes a certificate whose Secret stays, and takes the roots out of this. It returns the Secret as it was.
func (w *world) retainedByItself(authority *v1alpha1.MTLSAuthority) *corev1.Secret {
	w.t.Helper()
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.DeletionPolicy, c.Spec.AuthorityRef.Name = v1alpha1.DeletionRetain, authority.Name
	})
	w.becomes(certificate, v1alpha1.ReasonIssued)
	edit(w, w.secret("hello"), func(s *corev1.Secret) {
		s.Annotations[v1alpha1.IssuedByAnnotation] = client.ObjectKeyFromObject(authority).String()
	})
	before := w.secret("hello")
	w.check(w.admin.Delete(w.ctx, certificate))
	edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("x") })
	return before
}
