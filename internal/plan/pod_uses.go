package plan

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// ConsumerKind says what kind of object roots are in.
type ConsumerKind string

// Kinds of consumers.
const (
	ConsumerSecret      ConsumerKind = "Secret"
	ConsumerConfigMap   ConsumerKind = "ConfigMap"
	ConsumerTrustBundle ConsumerKind = "ClusterTrustBundle"
)

// ConsumerRef names what roots are in: a Secret, a ConfigMap, or all ClusterTrustBundles of a signer. For these Name is the
// name of the signer, and Namespace is empty.
type ConsumerRef struct {
	Kind            ConsumerKind
	Namespace, Name string
}

// Use is how a container uses a consumer.
type Use struct {
	Consumer  ConsumerRef
	Container string
	// ReadOnce says how it uses it when what it has doesn't change while it runs, such as: through subPath "ca.crt". Empty for
	// files that kubelet writes again and the program reads again.
	ReadOnce string
	// OnlyPod: what it has lives as long as the pod. To start the container again isn't enough.
	OnlyPod bool
	// ByName is the ClusterTrustBundle it projects by name. What this one holds never changes: other roots are in another one.
	ByName string
}

// PodUses are all uses that the containers of a pod make of consumers, in the order of its spec. interesting tells which
// consumers there are, and how the programs that use them follow a change; the pod's own annotation counts as well.
func PodUses(pod *corev1.Pod, interesting func(ConsumerRef) (reload v1alpha1.Reload, ok bool)) []Use {
	s := usesScan{namespace: pod.Namespace, interesting: interesting}
	s.restart = pod.Annotations[v1alpha1.ReloadAnnotation] == string(v1alpha1.ReloadRestart)
	s.volumes = make(map[string][]source, len(pod.Spec.Volumes))
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if sources := s.sourcesOf(volume); len(sources) > 0 {
			s.volumes[volume.Name] = sources
		}
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		s.container(container, !isSidecar(container))
	}
	for i := range pod.Spec.Containers {
		s.container(&pod.Spec.Containers[i], false)
	}
	for i := range pod.Spec.EphemeralContainers {
		container := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		s.container(&container, false)
	}
	return s.uses
}

// isSidecar tells whether an init container runs beside the others for as long as the pod does.
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// source is a consumer that content of a pod comes from.
type source struct {
	ref     ConsumerRef
	restart bool   // programs read it once
	byName  string // of a ClusterTrustBundle
}

// usesScan collects the uses of one pod.
type usesScan struct {
	namespace   string
	interesting func(ConsumerRef) (v1alpha1.Reload, bool)
	restart     bool                // the pod's programs read everything once
	volumes     map[string][]source // by the volume's name
	uses        []Use
}

// lookUp returns the consumer as a source, or none if nobody is interested in it.
func (s *usesScan) lookUp(kind ConsumerKind, name string) []source {
	ref := ConsumerRef{Kind: kind, Namespace: s.namespace, Name: name}
	if kind == ConsumerTrustBundle {
		ref.Namespace = ""
	}
	reload, ok := s.interesting(ref)
	if !ok {
		return nil
	}
	return []source{{ref: ref, restart: s.restart || reload == v1alpha1.ReloadRestart}}
}

func (s *usesScan) sourcesOf(volume *corev1.Volume) []source {
	switch {
	case volume.Secret != nil:
		return s.lookUp(ConsumerSecret, volume.Secret.SecretName)
	case volume.ConfigMap != nil:
		return s.lookUp(ConsumerConfigMap, volume.ConfigMap.Name)
	case volume.Projected != nil:
		var all []source
		for i := range volume.Projected.Sources {
			all = append(all, s.projected(&volume.Projected.Sources[i])...)
		}
		return all
	default:
		return nil
	}
}

func (s *usesScan) projected(p *corev1.VolumeProjection) []source {
	switch {
	case p.Secret != nil:
		return s.lookUp(ConsumerSecret, p.Secret.Name)
	case p.ConfigMap != nil:
		return s.lookUp(ConsumerConfigMap, p.ConfigMap.Name)
	case p.ClusterTrustBundle != nil:
		return s.trustBundle(p.ClusterTrustBundle)
	default:
		return nil
	}
}

// trustBundle finds the signer of a projected ClusterTrustBundle. Without a selector kubelet selects nothing; what a
// selector selects isn't known here, so it may be ours.
func (s *usesScan) trustBundle(p *corev1.ClusterTrustBundleProjection) []source {
	switch {
	case p.SignerName != nil && p.LabelSelector != nil:
		return s.lookUp(ConsumerTrustBundle, *p.SignerName)
	case p.Name != nil:
		signer, ok := signerOf(*p.Name)
		if !ok {
			return nil
		}
		sources := s.lookUp(ConsumerTrustBundle, signer)
		for i := range sources {
			sources[i].byName = *p.Name
		}
		return sources
	default:
		return nil
	}
}

// signerOf a ClusterTrustBundle follows from its name, which is the signer's name with a colon for the slash, a colon, and
// something. False for one without a signer.
func signerOf(bundle string) (string, bool) {
	parts := strings.Split(bundle, ":")
	if len(parts) != 3 {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}

// container adds its uses. What an init container, a sidecar isn't one, made of what it read is as old as it is.
func (s *usesScan) container(c *corev1.Container, initial bool) {
	for i := range c.VolumeMounts {
		mount := &c.VolumeMounts[i]
		for _, src := range s.volumes[mount.Name] {
			s.add(c.Name, src, subPathOf(mount), initial)
		}
	}
	for i := range c.Env {
		for _, src := range s.envSource(c.Env[i].ValueFrom) {
			s.add(c.Name, src, "in environment variable "+clip(c.Env[i].Name, longestName), initial)
		}
	}
	for i := range c.EnvFrom {
		for _, src := range s.envFromSource(&c.EnvFrom[i]) {
			s.add(c.Name, src, "in environment variables", initial)
		}
	}
}

// subPathOf a mount, as words; empty without one. kubelet doesn't write again what is mounted through it.
func subPathOf(mount *corev1.VolumeMount) string {
	switch {
	case mount.SubPath != "":
		return "through subPath " + quote(mount.SubPath)
	case mount.SubPathExpr != "":
		return "through subPathExpr " + quote(mount.SubPathExpr)
	default:
		return ""
	}
}

func (s *usesScan) envSource(from *corev1.EnvVarSource) []source {
	switch {
	case from == nil:
		return nil
	case from.SecretKeyRef != nil:
		return s.lookUp(ConsumerSecret, from.SecretKeyRef.Name)
	case from.ConfigMapKeyRef != nil:
		return s.lookUp(ConsumerConfigMap, from.ConfigMapKeyRef.Name)
	default:
		return nil
	}
}

func (s *usesScan) envFromSource(from *corev1.EnvFromSource) []source {
	switch {
	case from.SecretRef != nil:
		return s.lookUp(ConsumerSecret, from.SecretRef.Name)
	case from.ConfigMapRef != nil:
		return s.lookUp(ConsumerConfigMap, from.ConfigMapRef.Name)
	default:
		return nil
	}
}

// add a use unless it is known. how is empty for plain files.
func (s *usesScan) add(container string, src source, how string, initial bool) {
	use := Use{Consumer: src.ref, Container: container, ReadOnce: how, OnlyPod: initial, ByName: src.byName}
	switch {
	case src.byName != "":
		use.ReadOnce, use.OnlyPod = "by name", true
	case initial:
		use.ReadOnce = "in an init container"
	case how == "" && src.restart:
		use.ReadOnce = "with reload: " + string(v1alpha1.ReloadRestart)
	}
	if !slices.Contains(s.uses, use) {
		s.uses = append(s.uses, use)
	}
}
