package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// manyContainers of a pod read a Secret in a variable. Their order isn't that of their names.
func manyContainers(count int, name func(int) string) *corev1.Pod {
	pod := podOf()
	pod.Spec.Containers = nil
	for i := count - 1; i >= 0; i-- {
		pod.Spec.Containers = append(pod.Spec.Containers,
			corev1.Container{Name: name(i), Env: []corev1.EnvVar{secretEnv("CA", "cart-tls"), secretEnv("KEY", "cart-tls")}})
	}
	return pod
}

func letterOf(i int) string { return string(rune('a' + i)) }

func onLostNode(view plan.PodView) plan.PodView {
	view.NodeReadySince = time.Time{}
	return view
}

func onNodeThatIsBack(view plan.PodView) plan.PodView {
	view.NodeReadySince = noon.Add(day - time.Minute)
	return view
}

func terminatingPod(view plan.PodView) plan.PodView {
	view.Pod.DeletionTimestamp = &metav1.Time{Time: noon.Add(day)}
	return view
}

// initAndApp reads a Secret in an init container and a ConfigMap in a variable.
func initAndApp() *corev1.Pod {
	pod := asInit(podOf(secretVolume("cart-tls")))
	pod.Spec.Containers = []corev1.Container{{Name: "a", Env: []corev1.EnvVar{configMapEnv("CA", "roots")}}}
	return pod
}

// Words that messages have in common.
const (
	oldStart  = " and was started at 2026-11-24T11:00:00Z: "
	restartIt = "restart it after 2026-11-24T12:06:00Z, for example by deleting the pod"
	deleteIt  = "delete the pod after 2026-11-24T12:06:00Z, restarting the container isn't enough"
)

// messages are those of pods a day after the change.
var podMessages = map[string]struct {
	view    plan.PodView
	message string
}{
	"one container": {
		runningPod(manyContainers(1, letterOf)), `container "a" uses Secret "cart-tls" in environment variable CA` + oldStart +
			restartIt,
	},
	"a few containers": {
		runningPod(manyContainers(3, letterOf)),
		`container "a" uses Secret "cart-tls" in environment variable CA` + oldStart + restartIt +
			`; likewise containers "b", "c"`,
	},
	"the product of an init container": {
		runningPod(asInit(podOf(secretVolume("cart-tls")))),
		`container "app" uses Secret "cart-tls" in an init container` + oldStart + deleteIt,
	},
	"a container and the product of another": {
		runningPod(initAndApp()),
		`container "a" uses ConfigMap "roots" in environment variable CA` + oldStart + deleteIt + `; likewise container "app"`,
	},
	"trust bundles of a signer": {
		runningPod(subPath(podOf(projectedVolume(bundleProjection(bundleSigner, everything()))), "ca", "")),
		`container "app" uses the ClusterTrustBundles of signer "mtls-operator.io/pki.my-ca" through subPath "ca"` + oldStart +
			restartIt,
	},
	"a trust bundle by name, before all others": {
		runningPod(podOf(secretVolume("cart-tls"), projectedVolume(namedProjection("mtls-operator.io:pki.my-ca:0a1b")))),
		`container "app" projects ClusterTrustBundle "mtls-operator.io:pki.my-ca:0a1b" by name, and this one never holds other ` +
			`roots: project it by signerName "mtls-operator.io/pki.my-ca", and replace the pod after 2026-11-24T12:06:00Z`,
	},
	"a node that is lost": {
		onLostNode(runningPod(podOf(secretVolume("cart-tls")))),
		`uses Secret "cart-tls" and its node "node-1" isn't Ready: kubelet can't update its files. ` +
			`Repair or remove the node, or delete the pod`,
	},
	"a node that is back": {
		onNodeThatIsBack(runningPod(podOf(secretVolume("cart-tls")))),
		`uses Secret "cart-tls" and its node "node-1" is Ready only since 2026-11-25T11:59:00Z: ` +
			`kubelet has updated its files by 2026-11-25T12:04:00Z`,
	},
	"a container on a node that is lost": {
		onLostNode(runningPod(manyContainers(1, letterOf))),
		`container "a" uses Secret "cart-tls" in environment variable CA` + oldStart + restartIt + `; its node "node-1" isn't Ready`,
	},
	"a container on a node that is back": {
		onNodeThatIsBack(runningPod(manyContainers(1, letterOf))),
		`container "a" uses Secret "cart-tls" in environment variable CA` + oldStart + restartIt +
			`; its node "node-1" is Ready only since 2026-11-25T11:59:00Z`,
	},
	"a pod that is terminating": {
		terminatingPod(onLostNode(runningPod(podOf(secretVolume("cart-tls"))))),
		`uses Secret "cart-tls" and its node "node-1" isn't Ready: kubelet can't update its files. ` +
			`Repair or remove the node, or delete the pod; it is terminating, and counts until 2026-11-25T12:05:00Z`,
	},
	"several containers of a pod that is terminating, on a node that is lost": {
		terminatingPod(onLostNode(runningPod(manyContainers(2, letterOf)))),
		`container "a" uses Secret "cart-tls" in environment variable CA` + oldStart + restartIt + `; likewise container "b"` +
			`; its node "node-1" isn't Ready; it is terminating, and counts until 2026-11-25T12:05:00Z`,
	},
}

func TestMessagesSayWhatToDo(t *testing.T) {
	for sentence, c := range podMessages {
		t.Run(sentence, func(t *testing.T) {
			got, is := stuckPod(c.view, noon.Add(day))
			if diff := cmp.Diff(c.message, got.Message); !is || diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if later, _ := stuckPod(c.view, noon.Add(day+time.Minute)); later != got {
				t.Errorf("a minute later it is\n%v, it was\n%v", later, got)
			}
		})
	}
}

func TestWhatAsksForTheMostIsToldFirst(t *testing.T) {
	view := runningPod(manyContainers(4, letterOf))
	var uses []plan.Use
	for _, container := range []string{"d", "b", "c", "a"} {
		use := plan.Use{Consumer: theBundle, Container: container, ReadOnce: `through subPath "ca.crt"`}
		if container > "b" {
			use.ReadOnce, use.OnlyPod, use.ByName = "by name", true, "mtls-operator.io:pki.my-ca:0a1b"
		}
		uses = append(uses, use)
	}
	got, _ := plan.Stuck(view, uses, atNoon, podDelay, noon.Add(day))
	if !strings.HasPrefix(got.Message, `container "c" projects ClusterTrustBundle`) ||
		!strings.HasSuffix(got.Message, `; likewise containers "a", "b", "d"`) {
		t.Error(got.Message)
	}
}

func TestTheConsumerOfAPodOnALostNodeIsTheFirstByName(t *testing.T) {
	view := onLostNode(runningPod(podOf()))
	for _, uses := range [][]plan.Use{
		{{Consumer: theSecret, Container: "app"}, {Consumer: theConfigMap, Container: "app"}},
		{{Consumer: theConfigMap, Container: "app"}, {Consumer: theSecret, Container: "app"}},
	} {
		got, _ := plan.Stuck(view, uses, atNoon, podDelay, noon.Add(day))
		if want := `uses ConfigMap "roots" and its node`; !strings.HasPrefix(got.Message, want) {
			t.Errorf("%s\ndoesn't begin with\n%s", got.Message, want)
		}
	}
}

func TestTheTimeToRestartAfterIsThatOfTheLastChange(t *testing.T) {
	view := runningPod(withEnv([]corev1.EnvVar{secretEnv("A", "cart-tls"), configMapEnv("B", "roots")}))
	later := func(ref plan.ConsumerRef) time.Time {
		if ref == theSecret {
			return noon.Add(time.Hour)
		}
		return noon
	}
	got, _ := plan.Stuck(view, plan.PodUses(view.Pod, oursWatch), later, podDelay, noon.Add(day))
	if !strings.HasPrefix(got.Message, `container "app" uses ConfigMap "roots"`) ||
		!strings.Contains(got.Message, "restart it after 2026-11-24T13:06:00Z") {
		t.Error(got.Message)
	}
}

func TestTwoHundredContainersAreCounted(t *testing.T) {
	number := func(i int) string { return fmt.Sprintf("container-%03d", i) }
	got, _ := stuckPod(runningPod(manyContainers(200, number)), noon.Add(day))
	if !strings.Contains(got.Message, `; likewise containers "container-001", "container-002", `) {
		t.Error(got.Message)
	}
	named := strings.Count(got.Message, `"container-`)
	if end := fmt.Sprintf(`" and %d more`, 200-named); named < 5 || !strings.HasSuffix(got.Message, end) {
		t.Errorf("%d are named, want an end of %q: %s", named, end, got.Message)
	}
	if len(got.Message) >= 500 {
		t.Errorf("%d bytes", len(got.Message))
	}
}

func TestNoNameIsTooLongForTheAdvice(t *testing.T) {
	long := strings.Repeat("n", 253)
	every := func(plan.ConsumerRef) (v1alpha1.Reload, bool) { return v1alpha1.ReloadRestart, true }
	for sentence, volume := range map[string]corev1.VolumeSource{
		"a Secret":               secretVolume(long),
		"trust bundles":          projectedVolume(bundleProjection(long, everything())),
		"a trust bundle by name": projectedVolume(namedProjection(long[:100] + ":" + long[:100] + ":" + long[:50])),
	} {
		for _, path := range []string{"", long} {
			t.Run(sentence+path, func(t *testing.T) {
				pod := subPath(podOf(volume), path, "")
				pod.Spec.Containers[0].Name = long[:63]
				view := runningPod(pod)
				view.Pod.Spec.NodeName, view.NodeReadySince = long, noon.Add(day)
				view.Pod.DeletionTimestamp = &metav1.Time{Time: noon.Add(day)}
				got, _ := plan.Stuck(view, plan.PodUses(view.Pod, every), atNoon, podDelay, noon.Add(day))
				if len(got.Message) >= 500 || !strings.Contains(got.Message, " after 2026-11-24T12:06:00Z") {
					t.Errorf("%d bytes: %s", len(got.Message), got.Message)
				}
			})
		}
	}
}
