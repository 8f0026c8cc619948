package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// node makes a node that is Ready since an hour, or isn't.
func (r *rotating) node(ready bool) string {
	r.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	r.check(r.admin.Create(r.ctx, node))
	r.t.Cleanup(func() { _ = r.adminOfAll().Delete(r.t.Context(), node) })
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: status, LastTransitionTime: metav1.NewTime(start().Add(-time.Hour)),
	}}
	r.check(r.admin.Status().Update(r.ctx, node))
	return node.Name
}

// pod makes a pod whose container "app" runs on a node and mounts Secret "a" as a volume.
func (r *rotating) pod(name, node string, change func(*corev1.Pod)) *corev1.Pod {
	r.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName: node,
			Containers: []corev1.Container{{
				Name: "app", Image: "none", VolumeMounts: []corev1.VolumeMount{{Name: "tls", MountPath: "/tls"}},
			}},
			Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "a"},
			}}},
		},
	}
	change(pod)
	r.check(r.admin.Create(r.ctx, pod))
	pod.Status.Phase = corev1.PodRunning
	r.runs(pod, r.clock.Now())
	return pod
}

// runs has kubelet tell that all containers of a pod were started at a time.
func (r *rotating) runs(pod *corev1.Pod, at time.Time) {
	r.t.Helper()
	pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses = nil, nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at)}},
		})
	}
	for _, container := range pod.Spec.InitContainers {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				StartedAt: metav1.NewTime(at), FinishedAt: metav1.NewTime(at),
			}},
		})
	}
	r.check(r.admin.Status().Update(r.ctx, pod))
}

// goes has a pod end, and kubelet confirm it.
func (r *rotating) goes(pod *corev1.Pod) {
	r.t.Helper()
	r.check(r.admin.Delete(r.ctx, pod, client.GracePeriodSeconds(0)))
}

// wantBlocker checks that exactly one blocker is named, and that its message has these parts, separated by "|".
func (r *rotating) wantBlocker(kind, name, parts string) {
	r.t.Helper()
	r.check(r.admin.Get(r.ctx, keyOf(r.authority), r.authority))
	rotation := r.authority.Status.Rotation
	if rotation == nil || len(rotation.Blockers) != 1 || ptr.Deref(rotation.BlockerCount, 0) != 1 {
		r.t.Fatalf("the rotation is %+v, want one blocker", rotation)
	}
	blocker := rotation.Blockers[0]
	if blocker.Kind != kind || blocker.Name != name || blocker.Namespace != r.namespace {
		r.t.Fatalf("%+v blocks, want %s %s", blocker, kind, name)
	}
	for part := range strings.SplitSeq(parts, "|") {
		if !strings.Contains(blocker.Message, part) {
			r.t.Errorf("the blocker's message is %q, want %q in it", blocker.Message, part)
		}
	}
	want := kind + " " + r.namespace + "/" + name
	if rotation.Stage != v1alpha1.StageReissuing && !strings.Contains(rotation.Message, want) {
		r.t.Errorf("the message is %q, want %q in it", rotation.Message, want)
	}
}

// stuckRows are the ways in which a pod can't follow a change of Secret "a".
var stuckRows = []struct {
	sentence string
	pod      func(*corev1.Pod)
	reload   v1alpha1.Reload
	badNode  bool
	message  string // parts, separated by "|"
}{
	{sentence: "a file by subPath", pod: func(p *corev1.Pod) {
		p.Spec.Containers[0].VolumeMounts[0].SubPath = "ca.crt"
	}, message: `container "app" uses Secret "a" through subPath "ca.crt"|restart it after`},
	{sentence: "a file by subPathExpr", pod: func(p *corev1.Pod) {
		p.Spec.Containers[0].VolumeMounts[0].SubPathExpr = "ca.crt"
	}, message: `uses Secret "a" through subPath|restart it after`},
	{sentence: "a variable", pod: func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "CA", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}, Key: "ca.crt"},
		}}}
	}, message: `container "app" uses Secret "a"|env|restart it after`},
	{sentence: "all of it as variables", pod: func(p *corev1.Pod) {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "a"},
		}}}
	}, message: `container "app" uses Secret "a"|env|restart it after`},
	{sentence: "an init container that makes something of it", pod: func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "jks", Image: "none", VolumeMounts: p.Spec.Containers[0].VolumeMounts}}
		p.Spec.Containers[0].VolumeMounts = nil
	}, message: `container "jks" uses Secret "a" in an init container|delete the pod after|isn't enough`},
	{
		sentence: "a program of which its certificate says that it reads once", pod: func(*corev1.Pod) {},
		reload: v1alpha1.ReloadRestart, message: `container "app" uses Secret "a" with reload: Restart|restart it after`,
	},
	{sentence: "a program of which its pod says that it reads once", pod: func(p *corev1.Pod) {
		p.Annotations = map[string]string{v1alpha1.ReloadAnnotation: "Restart"}
	}, message: `container "app" uses Secret "a" with reload: Restart|restart it after`},
	{
		sentence: "a volume on a node that isn't Ready", pod: func(*corev1.Pod) {}, badNode: true,
		message: `uses Secret "a" and its node|isn't Ready|Repair or remove the node, or delete the pod`,
	},
	{sentence: "a part of a projected volume by subPath", pod: func(p *corev1.Pod) {
		secret := &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}}
		p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{Secret: secret}},
		}}
		p.Spec.Containers[0].VolumeMounts[0].SubPath = "ca.crt"
	}, message: `container "app" uses Secret "a" through subPath "ca.crt"|restart it after`},
}

func TestAPodThatCannotFollowIsWaitedForAndNamed(t *testing.T) {
	for _, row := range stuckRows {
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			r := &rotating{world: w, authority: w.authority("my-ca")}
			r.certificates = append(r.certificates, w.issued("a", func(c *v1alpha1.MTLSCertificate) { c.Spec.Reload = row.reload }))
			pod := r.pod("stuck", r.node(!row.badNode), row.pod)
			r.ask("now")
			r.round()
			r.later(6 * time.Minute)
			r.round()
			r.wantStage(v1alpha1.StageDistributing, "1/1")
			r.wantIssuer("my-ca")
			r.wantBlocker("Pod", "stuck", row.message)
			r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			r.wantCondition(r.authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
			r.wantNoWrites(func() { r.round() })

			r.goes(pod)
			r.later(podsInterval)
			r.round()
			r.wantIssuer("my-ca G2")
			r.later(6 * time.Minute)
			r.round()
			r.wantRoots("my-ca G2")
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

func TestWhoIsNotWaitedFor(t *testing.T) {
	for sentence, change := range map[string]func(*rotating, *corev1.Pod){
		"a pod that mounts the whole volume": func(*rotating, *corev1.Pod) {},
		"a pod that uses another Secret by subPath": func(_ *rotating, p *corev1.Pod) {
			p.Spec.Volumes[0].Secret.SecretName = "b"
			p.Spec.Containers[0].VolumeMounts[0].SubPath = "ca.crt"
		},
		"a pod of another namespace": func(r *rotating, p *corev1.Pod) {
			p.Namespace = r.newNamespace("", nil)
			p.Spec.Containers[0].VolumeMounts[0].SubPath = "ca.crt"
		},
		"a pod that no node runs yet": func(_ *rotating, p *corev1.Pod) {
			p.Spec.NodeName = ""
			p.Spec.Containers[0].VolumeMounts[0].SubPath = "ca.crt"
			p.Spec.Containers[0].Name = "waits"
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newRotating(t, "a")
			pod := r.pod("pod", r.node(true), func(p *corev1.Pod) { change(r, p) })
			if pod.Spec.NodeName == "" {
				pod.Status.Phase, pod.Status.ContainerStatuses = corev1.PodPending, nil
				r.check(r.admin.Status().Update(r.ctx, pod))
			}
			r.ask("now")
			r.finish()
			r.wantIssuer("my-ca G2")
		})
	}
}

// Once for the roots, once for the certificate.
func TestAPodThatReadsOnceIsRestartedTwice(t *testing.T) {
	r := newRotating(t, "a")
	pod := r.pod("once", r.node(true), stuckRows[0].pod)
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.wantBlocker("Pod", "once", "restart it after")
	r.runs(pod, r.clock.Now().Add(-time.Minute)) // too early: it may have found what was there before
	r.round()
	r.wantBlocker("Pod", "once", "restart it after")
	r.later(time.Minute)
	r.runs(pod, r.clock.Now())
	r.round()
	r.wantIssuer("my-ca G2")
	r.later(6 * time.Minute)
	r.round()
	r.wantStage(v1alpha1.StageRetiring, "")
	r.wantBlocker("Pod", "once", "restart it after")
	r.wantRoots("my-ca, my-ca G2")
	r.later(2 * time.Minute)
	r.runs(pod, r.clock.Now())
	r.round()
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
}

func TestANodeThatWasNotReadyIsGivenTime(t *testing.T) {
	r := newRotating(t, "a")
	name := r.node(false)
	r.pod("away", name, func(*corev1.Pod) {})
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	r.round()
	r.wantBlocker("Pod", "away", "isn't Ready")
	node := &corev1.Node{}
	r.check(r.admin.Get(r.ctx, client.ObjectKey{Name: name}, node))
	node.Status.Conditions[0].Status, node.Status.Conditions[0].LastTransitionTime = "True", metav1.NewTime(r.clock.Now())
	r.check(r.admin.Status().Update(r.ctx, node))
	r.later(podsInterval)
	r.round()
	r.wantBlocker("Pod", "away", "is Ready only since|kubelet has updated its files by")
	wait := r.reconcileAuthority(r.authority).RequeueAfter
	if wait <= 0 || wait > rotationInterval {
		t.Errorf("the next look is in %v", wait)
	}
	r.later(5 * time.Minute)
	r.round()
	r.wantIssuer("my-ca G2")
}
