package controllers

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// A Secret of deletionPolicy Retain has no owner from its beginning: thousands of them change when they are renewed.
func TestLeafSecretsWithoutOwnerAreLookedAtOnceInASecond(t *testing.T) {
	w := onlyTrust(t)
	w.authority("my-ca")
	w.retained("hello")
	for sentence, row := range map[string]struct {
		secret *corev1.Secret
		want   time.Duration
	}{
		"a leaf Secret":   {w.secret("hello"), soonDelay},
		"a CA generation": {w.secret("my-ca-ca-1"), 0},
	} {
		events := w.whenTrustSecretsChange()
		for change, happens := range map[string]func(*added){
			"comes": func(q *added) { events.Create(w.ctx, event.CreateEvent{Object: row.secret}, q) },
			"changes": func(q *added) {
				events.Update(w.ctx, event.UpdateEvent{ObjectOld: row.secret, ObjectNew: row.secret}, q)
			},
			"goes": func(q *added) { events.Delete(w.ctx, event.DeleteEvent{Object: row.secret}, q) },
		} {
			queue := &added{waits: map[time.Duration]bool{}}
			happens(queue)
			names := slices.Compact(queue.names)
			if later := queue.waits[row.want]; !slices.Equal(names, []string{"my-ca"}) || later != (row.want > 0) {
				t.Errorf("%s %s: wakes %q after %v", sentence, change, queue.names, queue.waits)
			}
		}
	}
}

// wantedAsked counts how often it is asked for the certificates of a Secret.
type wantedAsked struct {
	client.Client

	times int
}

func (a *wantedAsked) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, certificates := list.(*v1alpha1.MTLSCertificateList); certificates {
		a.times++
	}
	return a.Client.List(ctx, list, options...)
}

// To verify a signature costs a thousand times as much as to look into an index.
func TestOnlyCertificatesThatNobodyWantsAreVerified(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca")
	w.retained("hello")
	edit(w, w.secret("hello"), func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("x") })
	_, lineage := w.roots(authority)
	counted := &wantedAsked{Client: w.trust.Client}
	w.trust.Client = counted
	all, err := w.trust.retainedOf(w.ctx, keyOf(authority), lineage)
	w.check(err)
	if len(all) > 0 || counted.times != 1 {
		t.Errorf("%d are retained; whether somebody wants it was asked %d times before its certificate was read", len(all),
			counted.times)
	}
}

// A foreign ConfigMap is in the way for as long as its owner likes.
func TestAStableAuthorityDoesNotLookAtItsConsumersForEver(t *testing.T) {
	w := onlyTrust(t)
	namespace := w.selected()
	standing := foreignRoots(namespace, func(*corev1.ConfigMap) {})
	w.check(w.admin.Create(w.ctx, standing))
	authority := w.publisher()
	if !w.rotations.watching(keyOf(authority)) {
		t.Error("its consumers aren't looked at before they have the roots")
	}
	w.reconcileTrust(authority)
	result := w.reconcileAuthority(authority)
	w.wantCondition(authority, v1alpha1.ConditionTrustDistributed, "False", v1alpha1.ReasonConfigMapConflict, namespace)
	if w.rotations.watching(keyOf(authority)) || result.RequeueAfter > 0 && result.RequeueAfter <= rotationInterval {
		t.Errorf("it is looked at again in %s", result.RequeueAfter)
	}

	w.check(w.admin.Delete(w.ctx, standing))
	w.afterwards(rejectedDelay)
	w.trust.published.changed = make(chan event.GenericEvent, 8)
	w.reconcileTrust(authority)
	if len(w.trust.published.changed) != 1 {
		t.Error("it isn't woken when nothing is in the way any more")
	}
	w.reconcileAuthority(authority)
	w.wantCondition(authority, v1alpha1.ConditionTrustDistributed, "True", v1alpha1.ReasonDistributed, "")
	if w.rotations.watching(keyOf(authority)) {
		t.Error("it looks at its consumers though all have the roots")
	}
	if condition := meta.FindStatusCondition(authority.Status.Conditions, v1alpha1.ConditionStalled); condition.Status != "False" {
		t.Errorf("it is stalled: %s", condition.Message)
	}
}
