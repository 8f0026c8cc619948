package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// anyPod draws a pod of up to 200 containers of all kinds that use the consumers in all ways, on some node.
func anyPod(t *rapid.T) plan.PodView {
	ways := make([]string, 0, len(waysOfUse))
	for way := range waysOfUse {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	pod := podOf()
	pod.Spec.Containers = nil
	count := rapid.SampledFrom([]int{1, 2, 5, 200}).Draw(t, "containers")
	for i := range count {
		one := waysOfUse[rapid.SampledFrom(ways).Draw(t, "way")].pod.DeepCopy()
		name := fmt.Sprintf("%s-%d", rapid.StringMatching(`[a-z]{1,58}`).Draw(t, "name"), i)
		one.Spec.Containers[0].Name = name
		for j := range one.Spec.Volumes { // one of its own for each
			one.Spec.Volumes[j].Name, one.Spec.Containers[0].VolumeMounts[j].Name = name, name
		}
		as := rapid.SampledFrom([]func(*corev1.Pod) *corev1.Pod{(*corev1.Pod).DeepCopy, asInit, asSidecar, asEphemeral})
		spec := as.Draw(t, "kind")(one).Spec
		pod.Spec.Volumes = append(pod.Spec.Volumes, spec.Volumes...)
		pod.Spec.Containers = append(pod.Spec.Containers, spec.Containers...)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, spec.InitContainers...)
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, spec.EphemeralContainers...)
	}
	view := runningPod(pod)
	view.NodeKnown = rapid.Bool().Draw(t, "node known")
	if rapid.Bool().Draw(t, "terminating") {
		view.Pod.DeletionTimestamp = &metav1.Time{Time: noon.Add(2 * day)}
	}
	return view
}

func anyMoment(t *rapid.T, what string, from, to time.Duration) time.Time {
	return noon.Add(time.Duration(rapid.Int64Range(int64(from/time.Second), int64(to/time.Second)).Draw(t, what)) * time.Second)
}

func TestNoPodBlocksThatStartedLateOnANodeThatIsWell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := anyPod(t)
		view = startedAt(view, anyMoment(t, "started", podDelay+podMargin, 10*podDelay))
		now := anyMoment(t, "now", 10*podDelay, day)
		view.NodeReadySince = anyMoment(t, "ready", -day, 9*podDelay).Add(now.Sub(noon.Add(10 * podDelay)))
		uses := plan.PodUses(view.Pod, oursWatch)
		if slices.ContainsFunc(uses, func(u plan.Use) bool { return u.ByName != "" }) {
			view.Pod.CreationTimestamp = metav1.NewTime(reachedNodes) // what is projected by name is as old as the pod
		}
		if got, is := plan.Stuck(view, uses, atNoon, podDelay, now); is {
			t.Fatalf("it blocks: %s", got.Message)
		}
	})
}

func TestAContainerThatReadBeforeTheChangeAlwaysBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := anyPod(t)
		view = startedAt(view, anyMoment(t, "started", -day, -time.Second))
		now := anyMoment(t, "now", 0, day)
		view.NodeReadySince = anyMoment(t, "ready", -day, day)
		uses := plan.PodUses(view.Pod, oursWatch)
		readsOnce := slices.ContainsFunc(uses, func(u plan.Use) bool { return u.ReadOnce != "" })
		if _, is := plan.Stuck(view, uses, atNoon, podDelay, now); readsOnce && !is {
			t.Fatal("it doesn't block")
		}
	})
}

func TestWhatIsToldOfAPodIsShortAndTheSameInAnyOrderAndEndsInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := startedAt(anyPod(t), anyMoment(t, "started", -day, day))
		now := anyMoment(t, "now", 0, 3*day)
		if rapid.Bool().Draw(t, "node ready") {
			view.NodeReadySince = anyMoment(t, "ready", -day, day)
		}
		uses := plan.PodUses(view.Pod, oursWatch)
		got, is := plan.Stuck(view, uses, atNoon, podDelay, now)
		if len(got.Message) > 1024 || is != (got.Message != "") || strings.Contains(got.Message, "\n") {
			t.Fatalf("stuck is %t, %d bytes: %s", is, len(got.Message), got.Message)
		}
		restartIt, _ := plan.Stuck(view, rapid.Permutation(uses).Draw(t, "order"), atNoon, podDelay, now)
		if restartIt != got {
			t.Fatalf("in another order it is\n%v, not\n%v", restartIt, got)
		}
		if got.Until.IsZero() {
			return
		}
		if !got.Until.After(now) {
			t.Fatalf("at %s it is stuck until %s", now, got.Until)
		}
		if late, is := plan.Stuck(view, uses, atNoon, podDelay, got.Until); is {
			t.Fatalf("at %s it is still stuck: %s", got.Until, late.Message)
		}
	})
}
