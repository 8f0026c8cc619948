package controllers

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestRootsArePublishedInTheSelectedNamespaces(t *testing.T) {
	w := onlyTrust(t)
	first, second := w.selected(), w.selected()
	authority := w.publisher()
	bundle, _ := w.roots(authority)
	begin := w.clock.Now()
	w.requests.reset()
	w.reconcileTrust(authority)
	if diff := cmp.Diff([]string{"POST configmaps", "POST configmaps"}, w.requests.all()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	w.wantPublished(first, authority, bundle, begin)
	w.wantPublished(second, authority, bundle, begin)
	if w.configMap(w.namespace) != nil {
		t.Error("a namespace that isn't selected has the roots")
	}
	w.wantTrustProblem(authority, "")
	w.wantTrustAtRest(authority)

	third := w.selected()
	later := w.afterwards(time.Hour)
	w.reconcileTrust(authority)
	w.wantPublished(third, authority, bundle, later)
	w.wantPublished(first, authority, bundle, begin)
	w.restart()
	w.wantTrustAtRest(authority)
	w.wantEvents()
}

func TestTheTimeOfTheRootsChangesWithThemAlone(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.publisher()
	bundle, more := w.bundleOf(authority), w.withAnotherRoot(authority)
	begin := w.clock.Now()
	w.reconcileTrust(authority)

	changed := w.afterwards(time.Hour)
	w.delivers(authority, more)
	w.wantPublished(namespace, authority, more, changed)
	w.afterwards(time.Hour)
	w.delivers(authority, more)
	w.wantPublished(namespace, authority, more, changed)
	back := w.afterwards(time.Hour)
	w.delivers(authority, bundle)
	w.wantPublished(namespace, authority, bundle, back)
	if begin.Equal(back) {
		t.Error("the clock stands still")
	}
}

func TestTheRootOfTheNextCAIsPublishedBesideTheFirst(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.authority("my-ca", publishesTo(w), func(a *v1alpha1.MTLSAuthority) {
		a.Spec.TrustBundle.ClusterTrustBundle = &v1alpha1.TrustBundleObject{}
	})
	w.reconcileTrust(authority)
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Annotations[v1alpha1.RotateRequestedAtAnnotation] = "now" })
	changed := w.afterwards(time.Hour)
	w.reconcileAuthority(authority)
	w.reconcileTrust(authority)
	bundle, lineage := w.roots(authority)
	if len(bundle.Certificates()) != 2 {
		t.Fatalf("there are %d roots", len(bundle.Certificates()))
	}
	w.wantPublished(namespace, authority, bundle, changed)
	w.wantBundle(bundle, changed)
	consumers, err := w.trust.trustConsumers(w.ctx, authority, lineage, bundle)
	w.check(err)
	for i := range consumers {
		if !slices.Equal(consumers[i].Holds, []int64{1, 2}) || !consumers[i].BundleSince.Equal(changed) {
			t.Errorf("%v", consumers[i])
		}
	}
	if len(consumers) != 2 {
		t.Errorf("consumers are %v", consumers)
	}
	w.wantTrustAtRest(authority)
}

func TestWhatOthersChangeInAPublishedConfigMapIsPutRight(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.publisher()
	bundle, _ := w.roots(authority)
	begin := w.clock.Now()
	w.reconcileTrust(authority)
	for _, row := range []struct {
		sentence string
		change   func(*corev1.ConfigMap)
		edited   bool // those who read it had other roots
	}{
		{"other roots", func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "x" }, true},
		{"no roots", func(c *corev1.ConfigMap) { c.Data = nil }, true},
		{"another label", func(c *corev1.ConfigMap) { c.Labels[v1alpha1.TrustBundleLabel] = "x" }, false},
		{"another time", func(c *corev1.ConfigMap) { c.Annotations[v1alpha1.BundleSinceAnnotation] = "x" }, true},
		{"another hash", func(c *corev1.ConfigMap) { c.Annotations[v1alpha1.BundleHashAnnotation] = "x" }, true},
	} {
		edit(w, w.configMap(namespace), row.change)
		now := w.afterwards(time.Minute)
		w.requests.reset()
		w.reconcileTrust(authority)
		if diff := cmp.Diff([]string{"PATCH configmaps"}, w.requests.all()); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", row.sentence, diff)
		}
		if row.edited {
			begin = now
		}
		w.wantPublished(namespace, authority, bundle, begin)
		w.wantTrustAtRest(authority)
	}

	edit(w, w.configMap(namespace), func(c *corev1.ConfigMap) {
		c.Data["note"], c.Labels["team"], c.Annotations["note"] = "x", "shop", "x"
	})
	w.wantTrustAtRest(authority)
	if w.configMap(namespace).Data["note"] != "x" {
		t.Error("what others added is gone")
	}
}

func TestAPublishedConfigMapThatLostItsLabelGetsItBack(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.publisher()
	bundle, begin := w.bundleOf(authority), w.clock.Now()
	w.reconcileTrust(authority)
	found := w.configMap(namespace)
	unlabelled := found.DeepCopy()
	unlabelled.Labels = nil
	w.check(w.admin.Patch(w.ctx, unlabelled, client.MergeFrom(found)))
	w.noLongerSees(found)
	w.afterwards(time.Hour)
	w.reconcileTrust(authority)
	w.wantPublished(namespace, authority, bundle, begin)
	w.wantTrustProblem(authority, "")
	w.wantTrustAtRest(authority)
	w.wantEvents()
}

// noLongerSees waits until the operator's cache doesn't have a ConfigMap any more.
func (w *world) noLongerSees(configMap *corev1.ConfigMap) {
	w.t.Helper()
	w.eventually("the cache sees that the ConfigMap is gone", func() bool {
		return w.client.Get(w.ctx, keyOf(configMap), &corev1.ConfigMap{}) != nil
	})
}

func TestRootsAreTakenBackFromWhereTheyAreNotWanted(t *testing.T) {
	for sentence, change := range map[string]func(*world, *v1alpha1.MTLSAuthority, string){
		"a namespace isn't selected any more": func(w *world, _ *v1alpha1.MTLSAuthority, namespace string) {
			w.label(namespace, "null")
		},
		"they aren't to be published": func(w *world, a *v1alpha1.MTLSAuthority, _ string) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Spec.TrustBundle = nil })
		},
		"they have another name": func(w *world, a *v1alpha1.MTLSAuthority, _ string) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Spec.TrustBundle.ConfigMap.Name = "others" })
		},
		"the authority was deleted": func(w *world, a *v1alpha1.MTLSAuthority, _ string) {
			w.deleteAuthority(a)
			w.reconcileAuthority(a)
			w.wantGone(a)
		},
		"the authority was forced to go": func(w *world, a *v1alpha1.MTLSAuthority, _ string) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Finalizers = nil })
			w.check(w.client.Delete(w.ctx, a))
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := onlyTrust(t)
			namespace := w.selected()
			authority := w.publisher()
			w.reconcileTrust(authority)
			other := w.configMap(namespace)
			other.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "mine"}
			w.check(w.admin.Create(w.ctx, other))
			change(w, authority, namespace)
			w.reconcileTrust(authority)
			if w.configMap(namespace) != nil {
				t.Error("they are still there")
			}
			w.check(w.admin.Get(w.ctx, keyOf(other), other)) // what isn't ours stays
			w.wantTrustAtRest(authority)
		})
	}
}

// An operator that serves some namespaces doesn't have the authorities of others in its caches: they aren't gone.
func TestRootsOfAnAuthorityThatIsNotServedAreLeftAlone(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.publisher()
	w.reconcileTrust(authority)
	w.check(w.client.Delete(w.ctx, authority)) // held by its finalizer
	w.trust.options.Namespaces = []string{namespace}
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Finalizers = nil })
	w.wantTrustAtRest(authority)
	if w.configMap(namespace) == nil {
		t.Error("they are gone")
	}
}

func TestNothingIsPublishedBeforeThereAreRoots(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "my-ca"}}
	publishesTo(w)(authority)
	w.create(authority)
	w.wantTrustAtRest(authority)
	w.reconcileAuthority(authority)
	w.reconcileTrust(authority)
	w.wantPublished(namespace, authority, w.bundleOf(authority), w.clock.Now())
}

func TestANamespaceThatGoesIsNoProblem(t *testing.T) {
	w := onlyTrust(t)
	namespace, going := w.selected(), w.selected()
	authority := w.publisher()
	w.check(w.admin.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: going}}))
	w.label(going, `"`+w.namespace+`"`) // the next pass sees it
	w.eventually("the cache sees that the namespace goes", func() bool {
		found := namespaceNamed(going)
		w.check(w.client.Get(w.ctx, keyOf(found), found))
		return !found.GetDeletionTimestamp().IsZero()
	})
	w.reconcileTrust(authority)
	if w.configMap(namespace) == nil || w.configMap(going) != nil {
		t.Error("the roots aren't where they are wanted")
	}
	w.wantTrustAtRest(authority)
	w.wantTrustProblem(authority, "")
	w.wantEvents()
}

func TestOneNamespaceDoesNotKeepTheOthersWaiting(t *testing.T) {
	w := onlyTrust(t)
	names := []string{w.selected(), w.selected(), w.selected()}
	authority := w.publisher()
	w.requests.breakRequest(2, false)
	if _, err := w.trust.Reconcile(w.ctx, requestsFor(keyOf(authority))[0]); err == nil {
		t.Error("the failure isn't told to the queue")
	}
	made := 0
	for _, name := range names {
		if w.configMap(name) != nil {
			made++
		}
	}
	if made != 2 {
		t.Errorf("%d of the other two have the roots", made)
	}
	w.reconcileTrust(authority)
	w.wantTrustAtRest(authority)
}

func TestAPassWithTooManyWritesIsContinued(t *testing.T) {
	w := onlyTrust(t)
	names := []string{w.selected(), w.selected(), w.selected()}
	authority := w.publisher()
	bundle, lineage := w.roots(authority)
	pass := w.trust.newTrustPass(authority, bundle, lineage)
	pass.deliveries = maxDeliveries - 1
	pass.before = obstacles{configMapRef("elsewhere", "roots"): {reason: "x", message: "still to be looked at"}}
	w.requests.reset()
	w.check(w.trust.deliverConfigMaps(w.ctx, pass))
	result, err := w.trust.finish(pass)
	w.check(err)
	if len(w.requests.writes()) != 1 || result.RequeueAfter <= 0 || result.RequeueAfter > time.Second {
		t.Errorf("writes are %q, the next pass begins after %s", w.requests.writes(), result.RequeueAfter)
	}
	w.wantTrustProblem(authority, "x")
	if result := w.reconcileTrust(authority); result.RequeueAfter != 0 {
		t.Errorf("there is another pass after %s", result.RequeueAfter)
	}
	for _, name := range names {
		w.wantPublished(name, authority, bundle, w.clock.Now())
	}
	w.wantTrustProblem(authority, "")
}

func noConfigMaps(namespace string) *corev1.ResourceQuota {
	none := corev1.ResourceList{"count/configmaps": quantity.MustParse("0")}
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: none},
		Status:     corev1.ResourceQuotaStatus{Hard: none, Used: none},
	}
}
