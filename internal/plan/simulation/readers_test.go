package simulation_test

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// kubeletLag is how long kubelet takes at most, and how old what it gives to a container that starts can be.
const kubeletLag = 90 * time.Second

// nodeGrace is how long a kubelet is gone before its node is called not Ready.
const nodeGrace = 40 * time.Second

// node is a machine with a kubelet.
type node struct {
	name string
	// lost is since when its kubelet is gone, zero when it's there; wasLost and back are about the last time it was gone.
	lost, wasLost, back time.Time
	// ready is the last transition of its condition, when it is Ready.
	ready time.Time
}

// readySince as the node's condition tells it; zero when it isn't Ready.
func (n *node) readySince(now time.Time) time.Time {
	if !n.lost.IsZero() && !now.Before(n.lost.Add(nodeGrace)) {
		return time.Time{}
	}
	return n.ready.Truncate(time.Second)
}

// lose the kubelet.
func (n *node) lose(now time.Time) {
	if n.lost.IsZero() {
		n.lost = now
	}
}

// recover the kubelet. An outage that was too short for anybody to notice isn't a transition.
func (n *node) recover(now time.Time) {
	if n.lost.IsZero() {
		return
	}
	if now.Sub(n.lost) >= nodeGrace {
		n.ready = now
	}
	if now.After(n.back.Add(kubeletLag)) { // else it may have what it had even before
		n.wasLost = n.lost
	}
	n.lost, n.back = time.Time{}, now
}

// use is how a program comes by what it reads.
type use string

const (
	reads    use = "reads again"
	subPath  use = "subPath"
	variable use = "env"
	restarts use = "reload: Restart"
	initial  use = "init container"
)

var onceUses = []use{subPath, variable, restarts, initial}

// pod is a pod with one program, which reads its certificate and roots independently of each other.
type pod struct {
	name        string
	leaf, roots plan.ConsumerRef
	leafUse     use
	rootsUse    use
	reload      time.Duration
	made        time.Time // of the pod
	started     time.Time // of its container
	node        *node
	deleting    time.Time
	// until is when the promise ends, zero for never.
	until time.Time
	// excused is set when it isn't promised anything any more, and says why.
	excused string
}

// reader is what one of a pod's files may hold: any version of the consumer that was there between two times.
type reader struct {
	pod      *pod
	ref      plan.ConsumerRef
	from, to time.Time
}

// reader of one of both consumers.
func (s *simulation) reader(p *pod, ref plan.ConsumerRef, how use) reader {
	r := reader{p, ref, p.started.Add(-kubeletLag), p.started}
	if how == initial {
		r.from, r.to = p.made.Add(-kubeletLag), p.made
	}
	if how != reads {
		return r
	}
	lag := kubeletLag + p.reload
	r.from, r.to = s.now.Add(-lag), s.now
	switch n := p.node; {
	case !n.lost.IsZero():
		r.from, r.to = n.lost.Add(-lag), n.lost
	case s.now.Before(n.back.Add(lag)):
		r.from = n.wasLost.Add(-lag) // what it had when its kubelet was lost
	}
	if first := p.started.Add(-kubeletLag); r.from.Before(first) {
		r.from = first
	}
	return r
}

// contents are all that a reader may hold.
func (s *simulation) contents(r reader) []content {
	history := s.history[r.ref]
	var all []content
	for i, v := range history {
		until := i+1 == len(history) || history[i+1].from.After(r.from)
		if until && !v.from.After(r.to) {
			all = append(all, v.content)
		}
	}
	return all
}

// start a pod, if what it mounts is there.
func (s *simulation) startPod(p *pod) bool {
	if s.consumers[p.leaf] == nil || s.consumers[p.roots] == nil {
		return false
	}
	p.name, p.made, p.started = fmt.Sprint("pod-", s.podsMade), s.now, s.now
	s.podsMade++
	s.pods = append(s.pods, p)
	return true
}

// restart is what a person does with a pod that is named: to start the container again isn't enough for an init container.
func (s *simulation) restart(p *pod) {
	p.started = s.now
	if p.leafUse == initial || p.rootsUse == initial {
		p.made = s.now
	}
}

// endsAt is when the first certificate ends that a program may have read once. It must be restarted before, as whoever runs
// such a program knows.
func (s *simulation) endsAt(p *pod) (time.Time, bool) {
	var first time.Time
	if p.leafUse == reads || !s.promised(p) {
		return first, false
	}
	for _, c := range s.contents(s.reader(p, p.leaf, p.leafUse)) {
		if first.IsZero() || c.leaf.NotAfter.Before(first) {
			first = c.leaf.NotAfter
		}
	}
	return first.Add(-s.leafLife / 10), true
}

// restartInTime the programs whose certificates are about to end. Where there is no kubelet nobody can.
func (s *simulation) restartInTime() {
	for _, p := range s.pods {
		end, reads := s.endsAt(p)
		if !reads || s.now.Before(end) {
			continue
		}
		if p.node.lost.IsZero() && p.deleting.IsZero() {
			s.restart(p)
			end, _ = s.endsAt(p)
		}
		if !s.now.Before(end) {
			p.excused = "its certificate ended"
		}
	}
}

// promised tells whether all must be well with the pod now.
func (s *simulation) promised(p *pod) bool {
	over := !p.deleting.IsZero() && s.now.After(p.deleting.Add(gracePeriod)) &&
		(p.node.lost.IsZero() || s.now.After(p.deleting.Add(gracePeriod+s.delay)))
	return p.excused == "" && !over && (p.until.IsZero() || s.now.Before(p.until))
}

// gracePeriod of pods that are deleted.
const gracePeriod = 30 * time.Second

// podViews are the pods as the API server tells of them.
func (s *simulation) podViews() []plan.PodView {
	all := []plan.PodView{}
	for _, p := range s.pods {
		if gone := !p.deleting.IsZero() && p.node.lost.IsZero() && s.now.After(p.deleting.Add(gracePeriod)); gone {
			continue
		}
		all = append(all, plan.PodView{Pod: p.object(), NodeReadySince: p.node.readySince(s.now), NodeKnown: true})
	}
	return all
}

func (p *pod) object() *corev1.Pod {
	started := metav1.NewTime(p.started.Truncate(time.Second))
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: p.name, CreationTimestamp: metav1.NewTime(p.made.Truncate(time.Second)),
		},
		Spec: corev1.PodSpec{NodeName: p.node.name, Containers: []corev1.Container{{Name: "main"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
			}},
		},
	}
	if !p.deleting.IsZero() {
		object.DeletionTimestamp = &metav1.Time{Time: p.deleting.Add(gracePeriod).Truncate(time.Second)}
	}
	uses := []use{p.leafUse, p.rootsUse}
	if slices.Contains(uses, initial) {
		object.Spec.InitContainers = []corev1.Container{{Name: "init"}}
		made := metav1.NewTime(p.made.Truncate(time.Second))
		object.Status.InitContainerStatuses = []corev1.ContainerStatus{{
			Name:  "init",
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: made, FinishedAt: made}},
		}}
	}
	if slices.Contains(uses, restarts) {
		object.Annotations = map[string]string{v1alpha1.ReloadAnnotation: string(v1alpha1.ReloadRestart)}
	}
	mount(object, "leaf", p.leaf, p.leafUse)
	mount(object, "roots", p.roots, p.rootsUse)
	return object
}

// mount a consumer into the pod as it is used.
func mount(object *corev1.Pod, name string, ref plan.ConsumerRef, how use) {
	main := &object.Spec.Containers[0]
	if how == variable {
		main.Env = append(main.Env, variableOf(name, ref))
		return
	}
	object.Spec.Volumes = append(object.Spec.Volumes, volumeOf(name, ref))
	mounted := corev1.VolumeMount{Name: name, MountPath: "/" + name}
	if how == subPath {
		mounted.SubPath = v1alpha1.BundleKey
	}
	if how == initial {
		object.Spec.InitContainers[0].VolumeMounts = append(object.Spec.InitContainers[0].VolumeMounts, mounted)
		return
	}
	main.VolumeMounts = append(main.VolumeMounts, mounted)
}

func variableOf(name string, ref plan.ConsumerRef) corev1.EnvVar {
	from := &corev1.EnvVarSource{}
	reference := corev1.LocalObjectReference{Name: ref.Name}
	if ref.Kind == plan.ConsumerSecret {
		from.SecretKeyRef = &corev1.SecretKeySelector{LocalObjectReference: reference, Key: v1alpha1.CertificateKey}
	} else {
		from.ConfigMapKeyRef = &corev1.ConfigMapKeySelector{LocalObjectReference: reference, Key: v1alpha1.BundleKey}
	}
	return corev1.EnvVar{Name: name, ValueFrom: from}
}

func volumeOf(name string, ref plan.ConsumerRef) corev1.Volume {
	volume := corev1.Volume{Name: name}
	switch ref.Kind {
	case plan.ConsumerSecret:
		volume.Secret = &corev1.SecretVolumeSource{SecretName: ref.Name}
	case plan.ConsumerConfigMap:
		volume.Projected = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name}}},
		}}
	default:
		volume.Projected = &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
				SignerName: new(ref.Name), LabelSelector: &metav1.LabelSelector{},
			}},
		}}
	}
	return volume
}

// cutOff tells whether a pod can have what is older than kubelet's lag, since its node was lost.
func (s *simulation) cutOff(p *pod) bool {
	return !p.node.lost.IsZero() || s.now.Before(p.node.back.Add(kubeletLag+p.reload))
}
