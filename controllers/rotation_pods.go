package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=list

const (
	// podsTimeout bounds a look at the pods, so that the pass can go on without them.
	podsTimeout = passTimeout * 2 / 3
	// podsInterval is the least time between two looks that nothing hangs on.
	podsInterval = rotationInterval
	// podsShare is that no more than one part in so many of the time goes by with looking.
	podsShare = 20
	// maxNamespaces are listed one after the other. Of more than these all pods there are come sooner.
	maxNamespaces = 50
)

// podsSeen are what was found when pods were looked at last.
type podsSeen struct {
	at       time.Time
	took     time.Duration
	blocking []plan.PodView // they are few, other than all that use a consumer; nil when nobody could look
	unknown  string         // why nobody could look, empty when one could
}

// planWithPods plans on the pods as they were seen a while ago: to wait for them, that will do. A step that can't be taken back
// is taken only if nothing is in the way of it now, after all else was found to be as it must be.
func (r *AuthorityReconciler) planWithPods(ctx context.Context, pass *authorityPass) (plan.AuthorityPlan, error) {
	seen := &pass.memory.pods
	interval := max(min(pass.input.Wish.PropagationDelay, podsInterval), podsShare*seen.took)
	if !seen.at.IsZero() && r.clock.Since(seen.at) < interval {
		pass.input.Pods, pass.input.PodsUnknown = seen.blocking, seen.unknown
		decision := plan.Authority(pass.input, r.clock.Now())
		if kind := decision.Step.Kind; kind != plan.StepActivate && kind != plan.StepRetire {
			return seen.told(decision), nil
		}
	}
	began := r.clock.Now()
	if err := r.lookAtPods(ctx, pass); err != nil {
		return plan.AuthorityPlan{}, err
	}
	now := r.clock.Now()
	decision := plan.Authority(pass.input, now)
	*seen = podsSeen{at: now, took: now.Sub(began), unknown: pass.input.PodsUnknown}
	if seen.unknown == "" {
		seen.blocking = blockingPods(pass.input.Pods, decision.Blockers)
	}
	return seen.told(decision), nil
}

// lookAtPods tells the plan of the pods, or why it can't. It is an error only when no time is left for the pass.
func (r *AuthorityReconciler) lookAtPods(ctx context.Context, pass *authorityPass) error {
	bound, cancel := context.WithTimeout(ctx, podsTimeout)
	defer cancel()
	views, err := r.pods(bound, pass.input.Consumers)
	if err != nil && ctx.Err() != nil {
		return err
	}
	pass.input.Pods, pass.input.PodsUnknown = views, ""
	if err == nil {
		return nil
	}
	why := err.Error()
	if request, ok := errors.AsType[*url.Error](err); ok { // its address is another one for each page
		why = request.Err.Error()
	}
	if bound.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("that takes longer than %s", podsTimeout)
	}
	pass.input.Pods, pass.input.PodsUnknown = nil, "pods can't be listed, so it isn't known which can't follow: "+cut(why)
	return nil
}

// told says with a plan that pods can't be listed.
func (s *podsSeen) told(decision plan.AuthorityPlan) plan.AuthorityPlan {
	if s.unknown != "" {
		decision.Message = s.unknown
	}
	return decision
}

// blockingPods are those of the pods that block, without the pages that they came in.
func blockingPods(views []plan.PodView, blockers []plan.Blocker) []plan.PodView {
	blocking := make(map[types.NamespacedName]bool, len(blockers))
	for i := range blockers {
		if blockers[i].Kind == "Pod" {
			blocking[types.NamespacedName{Namespace: blockers[i].Namespace, Name: blockers[i].Name}] = true
		}
	}
	kept := []plan.PodView{}
	for _, view := range views {
		if blocking[client.ObjectKeyFromObject(view.Pod)] {
			pod := *view.Pod
			pod.ManagedFields = nil
			view.Pod = &pod
			kept = append(kept, view)
		}
	}
	return kept
}

// pods are all that may use one of the consumers. They are read from the API server, in pages and only in the namespaces
// concerned unless these are many: to watch all pods of a cluster for something that is asked twice in a rotation would cost
// more than all else.
func (s shared) pods(ctx context.Context, consumers []plan.Consumer) ([]plan.PodView, error) {
	ready, known, err := s.nodesReady(ctx)
	if err != nil {
		return nil, err
	}
	expected := make(map[plan.ConsumerRef]bool, len(consumers))
	for i := range consumers {
		expected[consumers[i].ConsumerRef] = true
	}
	concerned := func(ref plan.ConsumerRef) (v1alpha1.Reload, bool) { return "", expected[ref] }
	views := []plan.PodView{}
	for _, namespace := range s.namespacesOf(consumers) {
		page := &corev1.PodList{}
		for more := true; more; more = page.Continue != "" {
			next := page.Continue
			page = &corev1.PodList{}
			err := s.live.List(ctx, page, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(next))
			if err != nil {
				return nil, err
			}
			for i := range page.Items {
				pod := &page.Items[i]
				if len(plan.PodUses(pod, concerned)) > 0 {
					views = append(views, plan.PodView{Pod: pod, NodeReadySince: ready[pod.Spec.NodeName], NodeKnown: known})
				}
			}
		}
	}
	return views, nil
}

// namespacesOf the pods that can use the consumers. A ClusterTrustBundle can be used by pods of all namespaces. An operator of
// some namespaces only may not list the pods of all.
func (s shared) namespacesOf(consumers []plan.Consumer) []string {
	var some []string
	for i := range consumers {
		if consumers[i].Namespace == "" {
			return []string{metav1.NamespaceAll}
		}
		some = append(some, consumers[i].Namespace)
	}
	slices.Sort(some)
	some = slices.Compact(some)
	if len(some) > maxNamespaces && len(s.options.Namespaces) == 0 {
		return []string{metav1.NamespaceAll}
	}
	return some
}

// nodesReady is since when each node that is Ready has been so. An operator of some namespaces only may not read nodes: then
// nothing is known, and only time tells.
func (s shared) nodesReady(ctx context.Context) (ready map[string]time.Time, known bool, err error) {
	if len(s.options.Namespaces) > 0 {
		return nil, false, nil
	}
	ready = map[string]time.Time{}
	page := &corev1.NodeList{}
	for more := true; more; more = page.Continue != "" {
		next := page.Continue
		page = &corev1.NodeList{}
		if err := s.live.List(ctx, page, client.Limit(pageSize), client.Continue(next)); err != nil {
			return nil, false, err
		}
		for i := range page.Items {
			for _, condition := range page.Items[i].Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					ready[page.Items[i].Name] = condition.LastTransitionTime.Time
				}
			}
		}
	}
	return ready, true, nil
}
