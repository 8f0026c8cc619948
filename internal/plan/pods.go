package plan

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Blocker is an object that a step waits for.
type Blocker struct {
	Kind, Namespace, Name string
	// Message says why, and what to do.
	Message string
	// Until is when it ends by itself at the latest, unless something happens; zero when only a deed ends it.
	Until time.Time
	// Yields: it is waited for until the deadline only.
	Yields bool
}

// PodView is a pod with what is known of its node.
type PodView struct {
	Pod *corev1.Pod
	// NodeReadySince is zero when the node isn't Ready or isn't there.
	NodeReadySince time.Time
	// NodeKnown is false when nodes may not be read: only time counts then.
	NodeKnown bool
}

// clockMargin is how far the clock of a node, by which containers start, may differ from others.
const clockMargin = time.Minute

// Stuck tells whether a pod may still have what its consumers held before they changed, and can't or doesn't follow by
// itself. A container that reads once, see Use, has what reached its node before it started; everybody else has what
// reached it by now, provided that its node is well.
//
// since is when a consumer changed. Zero stands for now: where it isn't known, the caller passes when it first saw the
// change, or the pod is stuck for ever. delay is how long a change takes to reach a node. Uses of consumers that don't
// matter are for the caller to leave out.
func Stuck(view PodView, uses []Use, since func(ConsumerRef) time.Time, delay time.Duration, now time.Time) (Blocker, bool) {
	s := podState{PodView: view, delay: delay, now: now}
	if s.over() {
		return Blocker{}, false
	}
	for _, use := range uses {
		from := since(use.Consumer)
		if from.IsZero() {
			from = now
		}
		s.judge(use, from.Add(delay))
	}
	s.sort()
	if len(s.old) == 0 && (len(s.followed) == 0 || s.nodeWell()) {
		return Blocker{}, false
	}
	return Blocker{
		Kind: "Pod", Namespace: view.Pod.Namespace, Name: view.Pod.Name, Message: s.message(), Until: s.until(), Yields: true,
	}, true
}

// podState is what is found out about one pod.
type podState struct {
	PodView

	delay    time.Duration
	now      time.Time
	old      []oldUse      // containers with old content
	followed []ConsumerRef // consumers whose changes the node must bring
}

// oldUse is a use by a container that has what was there before.
type oldUse struct {
	Use

	started time.Time
	// renewed is from when on a container that starts has what is there now, whatever its clock says.
	renewed time.Time
}

// over tells whether the pod doesn't run, or must be considered gone: one that is deleted gets no new connections, and
// where its node is lost nobody may ever confirm the end.
func (s *podState) over() bool {
	phase := s.Pod.Status.Phase
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed || s.terminating() && !s.now.Before(s.gone())
}

func (s *podState) terminating() bool { return s.Pod.DeletionTimestamp != nil }

// gone is when a pod that is terminating counts no longer; its deletionTimestamp includes the grace period.
func (s *podState) gone() time.Time { return s.Pod.DeletionTimestamp.Add(s.delay) }

// judge one use of a consumer whose change has reached every node by a time. Nothing in a pod that was made after it can be
// older; that is the API server's clock, so it needs no margin.
func (s *podState) judge(use Use, reached time.Time) {
	if !s.Pod.CreationTimestamp.Time.Before(reached) {
		return
	}
	if s.Pod.Spec.NodeName != "" {
		s.followed = append(s.followed, use.Consumer)
	}
	if use.ReadOnce == "" {
		return
	}
	renewed := reached.Add(clockMargin)
	if started, holds := s.started(use); holds && started.Before(renewed) {
		s.old = append(s.old, oldUse{use, started, renewed})
	}
}

// started is when the container read what it has; false when it has nothing, as it didn't start or will start again. A time
// that kubelet forgot is zero. What is projected by name is as old as the pod.
func (s *podState) started(use Use) (time.Time, bool) {
	status, found := containerStatus(&s.Pod.Status, use.Container)
	state := status.State
	switch {
	case !found:
		return time.Time{}, false
	case use.ByName != "":
		ran := state.Running != nil || state.Terminated != nil || status.LastTerminationState.Terminated != nil
		return s.Pod.CreationTimestamp.Time, ran
	case state.Running != nil:
		return state.Running.StartedAt.Time, true
	case state.Terminated != nil && use.OnlyPod:
		return state.Terminated.StartedAt.Time, true
	default:
		return time.Time{}, false
	}
}

func containerStatus(status *corev1.PodStatus, name string) (corev1.ContainerStatus, bool) {
	for _, statuses := range [][]corev1.ContainerStatus{
		status.ContainerStatuses, status.InitContainerStatuses, status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			if statuses[i].Name == name {
				return statuses[i], true
			}
		}
	}
	return corev1.ContainerStatus{}, false
}

// nodeWell tells whether the node's kubelet has had the time to write what changed.
func (s *podState) nodeWell() bool {
	return !s.NodeKnown || !s.NodeReadySince.IsZero() && !s.now.Before(s.NodeReadySince.Add(s.delay))
}

// until is when the pod blocks no longer if nothing but time goes on; zero for never.
func (s *podState) until() time.Time {
	var until time.Time
	if len(s.old) == 0 && !s.NodeReadySince.IsZero() {
		until = s.NodeReadySince.Add(s.delay)
	}
	if s.terminating() && (until.IsZero() || s.gone().Before(until)) {
		until = s.gone()
	}
	return until
}

// sort puts first what is told first. What asks for the most comes before the rest.
func (s *podState) sort() {
	slices.SortFunc(s.old, func(a, b oldUse) int {
		return cmp.Or(-cmp.Compare(a.ByName, b.ByName), cmp.Compare(a.Container, b.Container),
			a.Consumer.compare(b.Consumer), cmp.Compare(a.ReadOnce, b.ReadOnce))
	})
	slices.SortFunc(s.followed, ConsumerRef.compare)
}
