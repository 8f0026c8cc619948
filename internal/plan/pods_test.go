package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// The consumers of the tests changed at noon, and reached every node at reachedNodes. What starts at renewedAt or later is
// fresh.
const (
	podDelay  = 5 * time.Minute
	podMargin = time.Minute
)

var (
	reachedNodes = noon.Add(podDelay)
	renewedAt    = reachedNodes.Add(podMargin)
)

func atNoon(plan.ConsumerRef) time.Time { return noon }

// runningPod runs on a node that has been Ready for a day, since an hour before noon.
func runningPod(pod *corev1.Pod) plan.PodView {
	pod = pod.DeepCopy()
	pod.CreationTimestamp = metav1.NewTime(noon.Add(-time.Hour))
	pod.Spec.NodeName = "node-1"
	pod.Status.Phase = corev1.PodRunning
	return startedAt(plan.PodView{Pod: pod, NodeKnown: true, NodeReadySince: noon.Add(-day)}, noon.Add(-time.Hour))
}

// startedAt gives every container that state which it has after it was started: init containers have ended.
func startedAt(view plan.PodView, at time.Time) plan.PodView {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at)}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		StartedAt: metav1.NewTime(at), FinishedAt: metav1.NewTime(at.Add(day)),
	}}
	pod := view.Pod.DeepCopy()
	status := &pod.Status
	status.ContainerStatuses, status.InitContainerStatuses, status.EphemeralContainerStatuses = nil, nil, nil
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: running})
	}
	for _, c := range pod.Spec.InitContainers {
		state := ended
		if c.RestartPolicy != nil {
			state = running
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: state})
	}
	for _, c := range pod.Spec.EphemeralContainers {
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses,
			corev1.ContainerStatus{Name: c.Name, State: running})
	}
	view.Pod = pod
	return view
}

func stuckPod(view plan.PodView, now time.Time) (plan.Blocker, bool) {
	return plan.Stuck(view, plan.PodUses(view.Pod, oursWatch), atNoon, podDelay, now)
}

// wantStuck fails unless the pod is, until a time.
func wantStuck(t testing.TB, view plan.PodView, now, until time.Time) {
	t.Helper()
	got, is := stuckPod(view, now)
	if !is || !got.Until.Equal(until) {
		t.Errorf("at %s stuck is %t until %s, want until %s: %s", now.Format(time.TimeOnly), is, got.Until, until, got.Message)
	}
}

func wantFollows(t testing.TB, view plan.PodView, now time.Time) {
	t.Helper()
	if got, is := stuckPod(view, now); is || got != (plan.Blocker{}) {
		t.Errorf("at %s it is stuck until %s: %s", now.Format(time.TimeOnly), got.Until, got.Message)
	}
}

// forEver is the Until of what only a deed ends.
var forEver time.Time

func TestAContainerThatReadsOnceIsStuckUnlessItStartedLateEnough(t *testing.T) {
	for sentence, c := range waysOfUse {
		for kind, as := range map[string]func(*corev1.Pod) *corev1.Pod{
			"container": (*corev1.Pod).DeepCopy, "init container": asInit, "sidecar": asSidecar, "ephemeral container": asEphemeral,
		} {
			t.Run(sentence+" by a "+kind, func(t *testing.T) {
				view := runningPod(as(c.pod))
				readsOnce := c.readOnce != "" || kind == "init container"
				for after, want := range map[time.Duration]bool{
					-day: true, 0: true, podDelay: true, podDelay + podMargin - time.Second: true,
					podDelay + podMargin:               c.byName != "",
					podDelay + podMargin + time.Second: c.byName != "", // until the pod is replaced
				} {
					got, is := stuckPod(startedAt(view, noon.Add(after)), noon.Add(2*day))
					if is != (want && readsOnce) || !got.Until.IsZero() {
						t.Errorf("started %s after the change: stuck is %t until %s: %s", after, is, got.Until, got.Message)
					}
				}
			})
		}
	}
}

func TestAPodThatWasMadeLateEnoughNeedsNoMargin(t *testing.T) {
	for sentence, c := range waysOfUse {
		t.Run(sentence, func(t *testing.T) {
			view := startedAt(runningPod(asInit(c.pod)), reachedNodes)
			for after, want := range map[time.Duration]bool{-time.Second: true, 0: false, time.Second: false} {
				view.Pod.CreationTimestamp = metav1.NewTime(reachedNodes.Add(after))
				if got, is := stuckPod(view, noon.Add(day)); is != want {
					t.Errorf("made %s after the change was everywhere: stuck is %t: %s", after, is, got.Message)
				}
			}
		})
	}
}

func TestAContainerThatDoesNotRunIsNotStuck(t *testing.T) {
	oldStart := corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(noon.Add(-time.Hour))}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	oldRan := corev1.ContainerState{Terminated: &oldStart}
	app := subPath(podOf(secretVolume("cart-tls")), "ca.crt", "")
	named := podOf(projectedVolume(namedProjection("mtls-operator.io:pki.my-ca:0a1b")))
	for sentence, c := range map[string]struct {
		pod    *corev1.Pod
		status *corev1.ContainerStatus
		want   bool
	}{
		"one without a status":                {app, nil, false},
		"one without a state":                 {app, &corev1.ContainerStatus{}, false},
		"one that waits":                      {app, &corev1.ContainerStatus{State: waiting}, false},
		"one that waits to be started again":  {app, &corev1.ContainerStatus{State: waiting, LastTerminationState: oldRan}, false},
		"one that ended":                      {app, &corev1.ContainerStatus{State: oldRan}, false},
		"a sidecar that ended":                {asSidecar(app), &corev1.ContainerStatus{State: oldRan}, false},
		"an ephemeral one that ended":         {asEphemeral(app), &corev1.ContainerStatus{State: oldRan}, false},
		"an init container that waits":        {asInit(app), &corev1.ContainerStatus{State: waiting}, false},
		"an init container that ended":        {asInit(app), &corev1.ContainerStatus{State: oldRan}, true},
		"one that waits for a bundle by name": {named, &corev1.ContainerStatus{State: waiting}, false},
		"a volume by name that outlives a start": {
			named, &corev1.ContainerStatus{State: waiting, LastTerminationState: oldRan}, true,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			view := runningPod(c.pod)
			status := &view.Pod.Status
			status.ContainerStatuses, status.InitContainerStatuses, status.EphemeralContainerStatuses = nil, nil, nil
			if c.status != nil {
				c.status.Name = "app"
				status.ContainerStatuses = []corev1.ContainerStatus{*c.status}
			}
			if got, is := stuckPod(view, noon.Add(day)); is != c.want {
				t.Errorf("stuck is %t, want %t: %s", is, c.want, got.Message)
			}
		})
	}
}

func TestAnInitContainerWhoseEndKubeletForgotIsAsOldAsCanBe(t *testing.T) {
	view := runningPod(asInit(podOf(secretVolume("cart-tls"))))
	view.Pod.Status.InitContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
	wantStuck(t, view, noon.Add(day), forEver)
	got, _ := stuckPod(view, noon.Add(day))
	if !strings.Contains(got.Message, "and was started at an unknown time: delete the pod") {
		t.Error(got.Message)
	}
	view.Pod.CreationTimestamp = metav1.NewTime(reachedNodes)
	wantFollows(t, view, noon.Add(day))
}

func TestARunningInitContainerIsJudgedByItsStart(t *testing.T) {
	view := runningPod(asInit(podOf(secretVolume("cart-tls"))))
	state := &view.Pod.Status.InitContainerStatuses[0].State
	*state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(renewedAt.Add(-time.Second))}}
	wantStuck(t, view, noon.Add(day), forEver)
	state.Running.StartedAt = metav1.NewTime(renewedAt)
	wantFollows(t, view, noon.Add(day))
}

func TestAPodThatFollowsNeedsANodeThatIsReadyLongEnough(t *testing.T) {
	now := noon.Add(day)
	unscheduled := runningPod(podOf(secretVolume("cart-tls")))
	unscheduled.Pod.Spec.NodeName, unscheduled.Pod.Status = "", corev1.PodStatus{Phase: corev1.PodPending}
	for sentence, c := range map[string]struct {
		view       plan.PodView
		readySince time.Time
		known      bool
		stuck      bool
		until      time.Time
	}{
		"Ready for a day":               {runningPod(waysOfUse["projected trust bundles"].pod), noon, true, false, forEver},
		"Ready for exactly long enough": {runningPod(podOf(secretVolume("cart-tls"))), now.Add(-podDelay), true, false, forEver},
		"Ready for a second less": {
			runningPod(podOf(secretVolume("cart-tls"))), now.Add(time.Second - podDelay), true, true, now.Add(time.Second),
		},
		"Ready as of now":                {runningPod(podOf(configMapVolume("roots"))), now, true, true, now.Add(podDelay)},
		"not Ready or gone":              {runningPod(waysOfUse["projected trust bundles"].pod), time.Time{}, true, true, forEver},
		"not Ready, by a sidecar":        {runningPod(asSidecar(podOf(secretVolume("cart-tls")))), time.Time{}, true, true, forEver},
		"not Ready, and nothing is used": {runningPod(podOf(secretVolume("other"))), time.Time{}, true, false, forEver},
		"not known":                      {runningPod(podOf(secretVolume("cart-tls"))), time.Time{}, false, false, forEver},
		"not chosen yet":                 {unscheduled, time.Time{}, true, false, forEver},
	} {
		t.Run(sentence, func(t *testing.T) {
			view := c.view
			view.NodeReadySince, view.NodeKnown = c.readySince, c.known
			if c.stuck {
				wantStuck(t, view, now, c.until)
				return
			}
			wantFollows(t, view, now)
		})
	}
}

// What a pod has that was made when everything had reached every node isn't old, however its node is: nodes that join all the
// while must not hold up a rotation for ever.
func TestAPodThatWasMadeLateEnoughNeedsNoNode(t *testing.T) {
	view := runningPod(podOf(secretVolume("cart-tls")))
	view.NodeReadySince = time.Time{}
	view.Pod.CreationTimestamp = metav1.NewTime(reachedNodes.Add(-time.Second))
	wantStuck(t, view, noon.Add(day), forEver)
	view.Pod.CreationTimestamp = metav1.NewTime(reachedNodes)
	wantFollows(t, view, noon.Add(day))
}

func TestAContainerIsStuckThoughItsNodeWillBeReadyLongEnough(t *testing.T) {
	view := runningPod(waysOfUse["a Secret in a variable"].pod)
	view.NodeReadySince = noon.Add(day)
	wantStuck(t, view, noon.Add(day), forEver)
}

func TestAPodThatEndedIsNotStuck(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
		view := runningPod(waysOfUse["a Secret through subPath"].pod)
		view.NodeReadySince, view.Pod.Status.Phase = time.Time{}, phase
		wantFollows(t, view, noon.Add(day))
	}
}

func TestAPodThatIsTerminatingCountsForAWhile(t *testing.T) {
	deleted := noon.Add(time.Hour) // with the grace period
	for sentence, c := range map[string]struct {
		pod        *corev1.Pod
		readySince time.Time
		until      time.Time // before the pod's end; zero for not stuck
	}{
		"it is old":        {waysOfUse["a Secret through subPath"].pod, noon, deleted.Add(podDelay)},
		"its node is lost": {podOf(secretVolume("cart-tls")), time.Time{}, deleted.Add(podDelay)},
		"its node is well sooner": {
			podOf(secretVolume("cart-tls")), deleted.Add(-time.Minute), deleted.Add(podDelay - time.Minute),
		},
		"its node is well later":         {podOf(secretVolume("cart-tls")), deleted.Add(time.Minute), deleted.Add(podDelay)},
		"it is old and its node is lost": {waysOfUse["a Secret in a variable"].pod, time.Time{}, deleted.Add(podDelay)},
		"it follows":                     {podOf(secretVolume("cart-tls")), noon.Add(-day), time.Time{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			view := runningPod(c.pod)
			view.NodeReadySince = c.readySince
			view.Pod.DeletionTimestamp = &metav1.Time{Time: deleted}
			if !c.until.IsZero() {
				wantStuck(t, view, deleted.Add(-time.Minute), c.until)
				wantStuck(t, view, c.until.Add(-time.Second), c.until)
				wantFollows(t, view, c.until)
			}
			wantFollows(t, view, deleted.Add(podDelay))
			wantFollows(t, view, deleted.Add(day))
		})
	}
}

func TestAContainerIsStuckWhenItReadOneOfItsConsumersTooEarly(t *testing.T) {
	pod := withEnv([]corev1.EnvVar{secretEnv("A", "cart-tls"), configMapEnv("B", "roots")})
	view := startedAt(runningPod(pod), noon.Add(time.Hour))
	for later, want := range map[time.Duration]bool{0: false, time.Hour: true, day: true} {
		since := func(ref plan.ConsumerRef) time.Time {
			if ref == theConfigMap {
				return noon.Add(later)
			}
			return noon
		}
		got, is := plan.Stuck(view, plan.PodUses(view.Pod, oursWatch), since, podDelay, noon.Add(day))
		if is != want || is && !strings.Contains(got.Message, `ConfigMap "roots" in environment variable B`) {
			t.Errorf("changed %s after noon: stuck is %t: %s", later, is, got.Message)
		}
	}
}

func TestAnUnknownChangeIsStuckForEver(t *testing.T) {
	view := startedAt(runningPod(waysOfUse["a Secret in a variable"].pod), noon.Add(day))
	never := func(plan.ConsumerRef) time.Time { return time.Time{} }
	if _, is := plan.Stuck(view, plan.PodUses(view.Pod, oursWatch), never, podDelay, noon.Add(year)); !is {
		t.Error("it follows a change of which nobody knows when it was")
	}
}

func TestAPodOfNoUseIsNotStuck(t *testing.T) {
	view := runningPod(podOf())
	view.NodeReadySince = time.Time{}
	wantFollows(t, view, noon.Add(day))
}

func TestABlockerNamesThePodAndYields(t *testing.T) {
	got, _ := stuckPod(runningPod(waysOfUse["a Secret through subPath"].pod), noon.Add(day))
	want := plan.Blocker{Kind: "Pod", Namespace: "shop", Name: "cart-1", Yields: true, Message: `container "app" uses Secret ` +
		`"cart-tls" through subPath "ca.crt" and was started at 2026-11-24T11:00:00Z: restart it after 2026-11-24T12:06:00Z, ` +
		`for example by deleting the pod`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReloadRestartIsToldAsTheReason(t *testing.T) {
	view := runningPod(podOf(configMapVolume("roots")))
	view.Pod.Annotations = map[string]string{v1alpha1.ReloadAnnotation: "Restart"}
	got, _ := stuckPod(view, noon.Add(day))
	want := `container "app" uses ConfigMap "roots" with reload: Restart and was started`
	if !strings.HasPrefix(got.Message, want) {
		t.Errorf("%s\ndoesn't begin with\n%s", got.Message, want)
	}
}
