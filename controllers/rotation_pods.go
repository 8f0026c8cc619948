package controllers

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=list

// pods are all that may use one of the consumers. They are read from the API server, in pages and only in the namespaces
// concerned: to watch all pods of a cluster for something that is asked twice in a rotation would cost more than all else.
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

// namespacesOf the pods that can use the consumers. A ClusterTrustBundle can be used by pods of all namespaces.
func (s shared) namespacesOf(consumers []plan.Consumer) []string {
	var all []string
	for i := range consumers {
		if consumers[i].Namespace == "" {
			return []string{metav1.NamespaceAll}
		}
		all = append(all, consumers[i].Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
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
