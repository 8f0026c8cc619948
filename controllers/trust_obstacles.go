package controllers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// obstacle is why roots can't be delivered to one place. It isn't stored anywhere: what stands in a place is in no cache
// when it isn't ours, and what the API server refuses can only be found out by trying.
type obstacle struct {
	reason, message string
	// nowhere: there is no such place any more, and nobody waits for it.
	nowhere bool
	// foreign: what stands there isn't ours. These are the roots in it.
	foreign bool
	roots   pki.Bundle
	// retryAt is when it is tried again, zero where an event tells that the obstacle is gone.
	retryAt time.Time
}

// obstacles by what can't be delivered to. A setting that can't be followed has only a name, that of its field.
type obstacles map[plan.ConsumerRef]obstacle

func refused(ref plan.ConsumerRef, err error, now time.Time) obstacle {
	return obstacle{
		reason: v1alpha1.ReasonTrustBundleRejected,
		message: fmt.Sprintf("the API server refuses %s: %s. It is tried again every %.0f minutes", placeText(ref),
			cut(err.Error()), rejectedDelay.Minutes()),
		retryAt: now.Add(rejectedDelay),
	}
}

func placeText(ref plan.ConsumerRef) string {
	return fmt.Sprintf("%s %q", ref.Kind, strings.TrimPrefix(ref.Namespace+"/"+ref.Name, "/"))
}

// told are the obstacles that a person can do something about, in a fixed order.
func (all obstacles) told() []plan.ConsumerRef {
	refs := slices.DeleteFunc(slices.Collect(maps.Keys(all)), func(ref plan.ConsumerRef) bool { return all[ref].nowhere })
	slices.SortFunc(refs, func(a, b plan.ConsumerRef) int {
		return cmp.Or(cmp.Compare(all[a].reason, all[b].reason), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return refs
}

// verdict tells of the first obstacle and counts the others; nothing when there is none.
func (all obstacles) verdict(refs []plan.ConsumerRef) plan.Verdict {
	if len(refs) == 0 {
		return plan.Verdict{}
	}
	verdict := plan.Verdict{Reason: all[refs[0]].reason, Message: all[refs[0]].message}
	if more := len(refs) - 1; more > 0 {
		verdict.Message += fmt.Sprintf(". There are %d more such problems", more)
	}
	return verdict
}

// newsFor are the warnings of what stands in the way now and didn't before, at most one of each reason. A process that has
// just begun doesn't know what was before, but for the condition.
func (all obstacles) newsFor(authority *v1alpha1.MTLSAuthority, before obstacles) []notice {
	condition := meta.FindStatusCondition(authority.Status.Conditions, v1alpha1.ConditionTrustDistributed)
	byReason := map[string][]plan.ConsumerRef{}
	for _, ref := range all.told() {
		reason := all[ref].reason
		told := before == nil && condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == reason
		if !told && before[ref].message != all[ref].message {
			byReason[reason] = append(byReason[reason], ref)
		}
	}
	var news []notice
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		verdict := all.verdict(byReason[reason])
		news = append(news, notice{corev1.EventTypeWarning, reason, "Publish", verdict.Message})
	}
	return news
}

// published is what the reconcilers know of published roots beside what is in the caches.
type published struct {
	// changed tells of authorities whose obstacles changed: their status has to tell of it.
	changed chan event.GenericEvent

	mu        sync.Mutex
	obstacles map[types.NamespacedName]obstacles

	bundles bundleAPI
}

func newPublished(mapper meta.RESTMapper) *published {
	return &published{
		changed:   make(chan event.GenericEvent, 1024),
		obstacles: map[types.NamespacedName]obstacles{},
		bundles:   bundleAPI{mapper: mapper},
	}
}

// of an authority; nil when no pass was made yet. It must not be changed.
func (p *published) of(authority types.NamespacedName) obstacles {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.obstacles[authority]
}

// set what stands in the way of an authority, and tell whether that is news to its status.
func (p *published) set(authority types.NamespacedName, all obstacles) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.obstacles[authority]
	p.obstacles[authority] = all
	return !maps.EqualFunc(before, all, func(a, b obstacle) bool { return a.message == b.message && a.nowhere == b.nowhere })
}

func (p *published) forget(authority types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.obstacles, authority)
}

// blockedBy are the authorities that an object is in the way of.
func (p *published) blockedBy(ref plan.ConsumerRef) []types.NamespacedName {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []types.NamespacedName
	for authority, obstacles := range p.obstacles {
		if _, blocked := obstacles[ref]; blocked {
			all = append(all, authority)
		}
	}
	return all
}

// tell that the obstacles of an authority changed. When nobody listens, as while the process begins or ends, it is lost: the
// first pass over the authority sees them anyway.
func (p *published) tell(authority types.NamespacedName) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: authority.Namespace, Name: authority.Name}}
	select {
	case p.changed <- event.GenericEvent{Object: object}:
	default:
	}
}

// trustVerdict tells why the roots of an authority can't be published somewhere; nothing when they can.
func (s shared) trustVerdict(authority client.Object) plan.Verdict {
	all := s.published.of(client.ObjectKeyFromObject(authority))
	return all.verdict(all.told())
}

// trustRemarks tells what of spec.trustBundle isn't followed, and why that isn't a problem that anybody can solve here.
func (s shared) trustRemarks(authority *v1alpha1.MTLSAuthority) string {
	wanted := authority.Spec.TrustBundle
	if wanted == nil {
		return ""
	}
	remarks, blind := "", len(s.options.Namespaces) > 0
	if blind && wanted.ConfigMap != nil && !selectsAll(wanted.ConfigMap.NamespaceSelector) {
		remarks = ". spec.trustBundle.configMap selects no namespace: this operator serves some namespaces only (--namespaces) " +
			"and cannot see the labels of namespaces. Leave namespaceSelector empty for all that it serves"
	}
	switch {
	case wanted.ClusterTrustBundle == nil || s.servesBundles():
	case blind:
		remarks += ". spec.trustBundle.clusterTrustBundle has no effect: this operator serves some namespaces only " +
			"(--namespaces), and ClusterTrustBundles are for the whole cluster"
	default:
		remarks += ". spec.trustBundle.clusterTrustBundle has no effect: this cluster has no ClusterTrustBundles " +
			"(certificates.k8s.io/v1, Kubernetes 1.37)"
	}
	return remarks
}
