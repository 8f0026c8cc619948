//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const helloClientImage = "mtls-operator/hello-client:dev"

// podSpec is a pod of one container that the restricted Pod Security Standard lets in, with the volume as /etc/mtls.
func podSpec(image string, volume corev1.VolumeSource, args ...string) corev1.PodSpec {
	return corev1.PodSpec{
		AutomountServiceAccountToken:  new(false),
		TerminationGracePeriodSeconds: new(int64(5)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), FSGroup: new(int64(65532)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{{Name: "mtls", VolumeSource: volume}},
		Containers: []corev1.Container{{
			Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: append(args, "--dir=/etc/mtls"),
			VolumeMounts: []corev1.VolumeMount{{Name: "mtls", MountPath: "/etc/mtls", ReadOnly: true}},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

func secretVolume(name string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}
}

// projected is a volume with the pair of one Secret and the roots of another.
func projected(pair, roots string) corev1.VolumeSource {
	files := func(secret string, keys ...string) corev1.VolumeProjection {
		items := make([]corev1.KeyToPath, len(keys))
		for i, key := range keys {
			items[i] = corev1.KeyToPath{Key: key, Path: key}
		}
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Items: items,
		}}
	}
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{files(pair, "tls.crt", "tls.key"), files(roots, "ca.crt")},
	}}
}

// startClient starts a pod with the sample's client.
func (s *scene) startClient(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	spec.RestartPolicy = corev1.RestartPolicyNever
	must(t, cluster.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Spec: spec,
	}))
}

// awaitEnd waits until a pod ended and returns its exit code and what it printed.
func (s *scene) awaitEnd(t *testing.T, pod string) (code int32, output string) {
	t.Helper()
	await(t, "pod "+pod+" ending", soon, func(ctx context.Context) error {
		found := &corev1.Pod{}
		if err := cluster.Get(ctx, s.name(pod), found); err != nil {
			return err
		}
		if len(found.Status.ContainerStatuses) == 0 || found.Status.ContainerStatuses[0].State.Terminated == nil {
			return fmt.Errorf("it is %s: %+v", found.Status.Phase, found.Status.ContainerStatuses)
		}
		code = found.Status.ContainerStatuses[0].State.Terminated.ExitCode
		return nil
	})
	return code, s.kubectl(t, "logs", pod)
}

// awaitRollout waits until a Deployment has all its pods.
func (s *scene) awaitRollout(t *testing.T, deployment string) {
	t.Helper()
	s.kubectl(t, "rollout", "status", "deployment/"+deployment, "--timeout", soon.String())
}

// pods of a Deployment of ours; both kinds carry app.kubernetes.io/name.
func (s *scene) pods(t *testing.T, app string) []corev1.Pod {
	t.Helper()
	list := &corev1.PodList{}
	must(t, cluster.List(t.Context(), list, client.InNamespace(s.namespace), client.MatchingLabels{"app.kubernetes.io/name": app}))
	return list.Items
}

// wantNoRestart checks that no container in the namespace ended but those that were to.
func (s *scene) wantNoRestart(t *testing.T) {
	t.Helper()
	list := &corev1.PodList{}
	must(t, cluster.List(t.Context(), list, client.InNamespace(s.namespace)))
	for _, pod := range list.Items {
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount > 0 {
				t.Errorf("container %s of pod %s was restarted %d times: %+v", status.Name, pod.Name, status.RestartCount,
					status.LastTerminationState)
			}
		}
	}
}

// onBothNodes spreads the pods of a Deployment, the control plane included.
func onBothNodes(deployment *appsv1.Deployment) {
	spec := &deployment.Spec.Template.Spec
	spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
		LabelSelector: deployment.Spec.Selector,
	}}
}

// onNode runs a command in a node of the cluster, which is a container.
func onNode(t *testing.T, node string, command ...string) string {
	t.Helper()
	output, err := tryOnNode(t.Context(), node, command...)
	must(t, err)
	return output
}

// tryOnNode is onNode that may fail, or that is to be done when the test is over.
func tryOnNode(ctx context.Context, node string, command ...string) (string, error) {
	output, err := exec.CommandContext(ctx, "docker", append([]string{"exec", node}, command...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s", node, strings.Join(command, " "), err, output)
	}
	return string(output), err
}

// controlPlane and worker are the two nodes of a kind cluster.
func controlPlane() string { return strings.TrimPrefix(inCluster, "kind-") + "-control-plane" }
func worker() string       { return strings.TrimPrefix(inCluster, "kind-") + "-worker" }

// elapsed since, as a figure to print.
func elapsed(since time.Time) time.Duration { return time.Since(since).Round(100 * time.Millisecond) }

// signal sends a signal to the program of a pod on its node, past the API server.
func (s *scene) signal(t *testing.T, pod, signal string) {
	t.Helper()
	must(t, s.trySignal(t.Context(), pod, signal))
}

// trySignal is signal that may fail.
func (s *scene) trySignal(ctx context.Context, pod, signal string) error {
	found := &corev1.Pod{}
	if err := cluster.Get(ctx, s.name(pod), found); err != nil {
		return err
	}
	if len(found.Status.ContainerStatuses) == 0 {
		return fmt.Errorf("pod %s has no container yet", pod)
	}
	id := strings.TrimPrefix(found.Status.ContainerStatuses[0].ContainerID, "containerd://")
	_, err := tryOnNode(ctx, found.Spec.NodeName, "ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", signal, id)
	return err
}
