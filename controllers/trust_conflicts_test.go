package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// foreignRoots is a ConfigMap that stands where an authority publishes.
func foreignRoots(namespace string, change func(*corev1.ConfigMap)) *corev1.ConfigMap {
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "roots"},
		Data:       map[string]string{"ca.crt": "mine"},
	}
	change(configMap)
	return configMap
}

// marks a ConfigMap as one of an authority.
func marks(issuedBy string) func(*corev1.ConfigMap) {
	return func(c *corev1.ConfigMap) {
		c.Labels = map[string]string{v1alpha1.TrustBundleLabel: "my-ca"}
		c.Annotations = map[string]string{v1alpha1.IssuedByAnnotation: issuedBy}
	}
}

func TestAConfigMapInTheWayIsLeftAlone(t *testing.T) {
	for _, row := range []struct {
		sentence string
		change   func(*world) func(*corev1.ConfigMap)
		told     string
		cached   bool
	}{
		{"of a person", func(*world) func(*corev1.ConfigMap) {
			return func(*corev1.ConfigMap) {}
		}, "wasn't made by this operator", false},
		{"with our label alone", func(*world) func(*corev1.ConfigMap) {
			return func(c *corev1.ConfigMap) { c.Labels = map[string]string{v1alpha1.TrustBundleLabel: "my-ca"} }
		}, "wasn't made by this operator", false},
		{"of an authority beside it", func(w *world) func(*corev1.ConfigMap) {
			return marks(w.namespace + "/other")
		}, `has the roots of MTLSAuthority "other"`, true},
		{"of an authority elsewhere", func(*world) func(*corev1.ConfigMap) {
			return marks("elsewhere/my-ca")
		}, "has the roots of another MTLSAuthority", true},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			w := onlyTrust(t)
			namespace, other := w.selected(), w.selected()
			authority := w.publisher()
			standing := foreignRoots(namespace, row.change(w))
			w.check(w.admin.Create(w.ctx, standing))
			if len(standing.Labels) > 0 {
				w.eventually("the cache has it", func() bool {
					return w.client.Get(w.ctx, keyOf(standing), &corev1.ConfigMap{}) == nil
				})
			}
			result := w.reconcileTrust(authority)
			w.wantTrustProblem(authority, v1alpha1.ReasonConfigMapConflict, `"`+namespace+`/roots"`, row.told)
			w.wantEvents("Warning " + v1alpha1.ReasonConfigMapConflict)
			w.wantPublished(other, authority, w.bundleOf(authority), w.clock.Now())
			w.wantTrustAtRest(authority)
			w.wantEvents()
			if !row.cached && result.RequeueAfter != rejectedDelay {
				t.Errorf("it is looked at again after %s", result.RequeueAfter)
			}
			if after := w.configMap(namespace); after.ResourceVersion != standing.ResourceVersion {
				t.Error("it was written")
			}

			w.afterwards(rejectedDelay)
			w.requests.reset()
			w.reconcileTrust(authority)
			if writes := w.requests.writes(); len(writes) > 0 {
				t.Errorf("writes while it stands in the way: %q", writes)
			}
			w.check(w.admin.Delete(w.ctx, standing))
			w.noLongerSees(standing)
			now := w.afterwards(rejectedDelay)
			w.reconcileTrust(authority)
			w.wantPublished(namespace, authority, w.bundleOf(authority), now)
			w.wantTrustProblem(authority, "")
			w.wantTrustAtRest(authority)
			w.wantEvents()
		})
	}
}

func TestAProblemThatTheConditionTellsOfIsNotToldAgainAfterARestart(t *testing.T) {
	w := onlyTrust(t)
	authority := w.publisher()
	w.check(w.admin.Create(w.ctx, foreignRoots(w.selected(), func(*corev1.ConfigMap) {})))
	w.check(w.admin.Create(w.ctx, foreignRoots(w.selected(), func(*corev1.ConfigMap) {})))
	w.reconcileTrust(authority)
	w.wantEvents("Warning " + v1alpha1.ReasonConfigMapConflict)
	w.wantTrustProblem(authority, v1alpha1.ReasonConfigMapConflict, "There are 1 more such problems")
	select {
	case changed := <-w.trust.published.changed:
		if client.ObjectKeyFromObject(changed.Object) != keyOf(authority) {
			t.Errorf("the status of %v is to be written", changed.Object)
		}
	default:
		t.Error("nobody is told that the status is to be written")
	}

	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Annotations["note"] = "x" })
	before := authority.DeepCopy()
	meta.SetStatusCondition(&authority.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionTrustDistributed, Status: "False", Reason: v1alpha1.ReasonConfigMapConflict,
	})
	w.check(w.admin.Status().Patch(w.ctx, authority, client.MergeFrom(before)))
	w.restart()
	w.reconcileTrust(authority)
	w.wantEvents()
}

func TestARefusedConfigMapIsAProblem(t *testing.T) {
	w := onlyTrust(t)
	namespace, other := w.selected(), w.selected()
	authority := w.publisher()
	quota := noConfigMaps(namespace)
	status := quota.Status
	w.check(w.admin.Create(w.ctx, quota))
	quota.Status = status
	w.check(w.admin.Status().Update(w.ctx, quota))
	probe := foreignRoots(namespace, func(c *corev1.ConfigMap) { c.Name = "probe" })
	w.eventually("the quota counts", func() bool { return w.admin.Create(w.ctx, probe.DeepCopy(), client.DryRunAll) != nil })

	w.reconcileTrust(authority)
	w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected, `ConfigMap "`+namespace+`/roots"`, "quota")
	w.wantEvents("Warning " + v1alpha1.ReasonTrustBundleRejected)
	w.wantPublished(other, authority, w.bundleOf(authority), w.clock.Now())
	w.wantTrustAtRest(authority)
	w.afterwards(rejectedDelay)
	w.reconcileTrust(authority)
	w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected)
	w.wantEvents()

	w.check(w.admin.Delete(w.ctx, quota))
	w.eventually("the quota doesn't count", func() bool { return w.admin.Create(w.ctx, probe.DeepCopy(), client.DryRunAll) == nil })
	now := w.afterwards(rejectedDelay)
	w.reconcileTrust(authority)
	w.wantPublished(namespace, authority, w.bundleOf(authority), now)
}

func TestAnImmutableConfigMapIsAProblemOnceTheRootsChange(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	authority := w.publisher()
	w.reconcileTrust(authority)
	edit(w, w.configMap(namespace), func(c *corev1.ConfigMap) { c.Immutable = new(true) })
	w.wantTrustAtRest(authority)
	w.wantTrustProblem(authority, "")

	more := w.withAnotherRoot(authority)
	w.requests.reset()
	w.delivers(authority, more)
	w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected, `"`+namespace+`/roots"`, "immutable", "delete it")
	w.wantEvents("Warning " + v1alpha1.ReasonTrustBundleRejected)
	if all := w.requests.all(); len(all) > 0 {
		t.Errorf("what can't be written is tried: %q", all)
	}
	standing := w.configMap(namespace)
	w.check(w.client.Delete(w.ctx, standing))
	w.delivers(authority, more)
	w.wantPublished(namespace, authority, more, w.clock.Now())
	w.wantTrustProblem(authority, "")
}

func TestSettingsThatCannotBeFollowedAreTold(t *testing.T) {
	for _, row := range []struct {
		sentence string
		change   func(*v1alpha1.TrustBundleConfigMap)
		told     string
		kept     bool
	}{
		{"a selector that can't be read", func(c *v1alpha1.TrustBundleConfigMap) {
			c.NamespaceSelector = &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "of", Operator: "Foo"}},
			}
		}, "spec.trustBundle.configMap.namespaceSelector: ", true},
		{"the name of what pods trust the cluster by", func(c *v1alpha1.TrustBundleConfigMap) {
			c.Name = "kube-root-ca.crt"
		}, `spec.trustBundle.configMap.name: "kube-root-ca.crt"`, false},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			w := onlyTrust(t)
			namespace := w.selected()
			authority := w.publisher()
			w.reconcileTrust(authority)
			edit(w, authority, func(a *v1alpha1.MTLSAuthority) { row.change(a.Spec.TrustBundle.ConfigMap) })
			added := w.selected()
			more := w.withAnotherRoot(authority)
			w.delivers(authority, more)
			w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected, row.told)
			w.wantEvents("Warning " + v1alpha1.ReasonTrustBundleRejected)
			if w.configMap(added) != nil {
				t.Error("another namespace has the roots")
			}
			if row.kept {
				w.wantPublished(namespace, authority, more, w.clock.Now())
			} else if w.configMap(namespace) != nil {
				t.Error("those of another name are still there")
			}
		})
	}
}

// With rights in some namespaces only, an operator can't see the labels of namespaces.
func TestAnOperatorOfSomeNamespacesPublishesToAllOfThemOrNone(t *testing.T) {
	w := onlyTrust(t)
	namespace, notServed := w.selected(), w.selected()
	authority := w.publisher()
	w.trust.options.Namespaces = []string{w.namespace, namespace, "absent", namespace}
	w.reconcileTrust(authority)
	if w.configMap(namespace) != nil {
		t.Error("it saw the labels of a namespace")
	}
	if remarks := w.trust.trustRemarks(authority); !strings.Contains(remarks, "cannot see the labels of namespaces") {
		t.Errorf("remarks are %q", remarks)
	}
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) {
		a.Spec.TrustBundle.ConfigMap.NamespaceSelector = &metav1.LabelSelector{}
		a.Spec.TrustBundle.ClusterTrustBundle = &v1alpha1.TrustBundleObject{}
	})
	bundle := w.bundleOf(authority)
	w.requests.reset()
	w.reconcileTrust(authority)
	if diff := cmp.Diff([]string{"POST configmaps", "POST configmaps", "POST configmaps"}, w.requests.all()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	w.wantPublished(namespace, authority, bundle, w.clock.Now())
	w.wantPublished(w.namespace, authority, bundle, w.clock.Now())
	if w.configMap(notServed) != nil {
		t.Error("a namespace that isn't served has the roots")
	}
	remarks := w.trust.trustRemarks(authority)
	if strings.Contains(remarks, "labels") || !strings.Contains(remarks, "ClusterTrustBundles are for the whole cluster") {
		t.Errorf("remarks are %q", remarks)
	}
	w.wantTrustProblem(authority, "")
	w.wantTrustAtRest(authority)

	// Before it served some namespaces only, it knew which were selected: nobody loses their roots by it.
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) {
		a.Spec.TrustBundle.ConfigMap.NamespaceSelector.MatchLabels = map[string]string{"of": w.namespace}
	})
	more, now := w.withAnotherRoot(authority), w.afterwards(time.Hour)
	w.delivers(authority, more)
	w.wantPublished(namespace, authority, more, now)
}
