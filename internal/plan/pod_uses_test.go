package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

const bundleSigner = "mtls-operator.io/pki.my-ca"

var (
	theSecret    = plan.ConsumerRef{Kind: plan.ConsumerSecret, Namespace: "shop", Name: "cart-tls"}
	theConfigMap = plan.ConsumerRef{Kind: plan.ConsumerConfigMap, Namespace: "shop", Name: "roots"}
	theBundle    = plan.ConsumerRef{Kind: plan.ConsumerTrustBundle, Name: bundleSigner}
)

// oursWatch is interested in the three consumers of the tests, with reload Watch.
func oursWatch(ref plan.ConsumerRef) (v1alpha1.Reload, bool) {
	return v1alpha1.ReloadWatch, slices.Contains([]plan.ConsumerRef{theSecret, theConfigMap, theBundle}, ref)
}

func oursRestart(ref plan.ConsumerRef) (v1alpha1.Reload, bool) {
	_, ok := oursWatch(ref)
	return v1alpha1.ReloadRestart, ok
}

// podOf is a pod whose one container has all of its volumes, unless it was given others.
func podOf(volumes ...corev1.VolumeSource) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = "shop", "cart-1"
	app := corev1.Container{Name: "app"}
	for i, volume := range volumes {
		name := string(rune('a' + i))
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: volume})
		app.VolumeMounts = append(app.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name})
	}
	pod.Spec.Containers = []corev1.Container{app}
	return pod
}

func secretVolume(name string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}
}

func configMapVolume(name string) corev1.VolumeSource {
	source := &corev1.ConfigMapVolumeSource{}
	source.Name = name
	return corev1.VolumeSource{ConfigMap: source}
}

func projectedVolume(sources ...corev1.VolumeProjection) corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
}

func secretProjection(name string) corev1.VolumeProjection {
	projection := &corev1.SecretProjection{}
	projection.Name = name
	return corev1.VolumeProjection{Secret: projection}
}

func configMapProjection(name string) corev1.VolumeProjection {
	projection := &corev1.ConfigMapProjection{}
	projection.Name = name
	return corev1.VolumeProjection{ConfigMap: projection}
}

func bundleProjection(signer string, selector *metav1.LabelSelector) corev1.VolumeProjection {
	return corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
		SignerName: &signer, LabelSelector: selector, Path: "ca.crt",
	}}
}

func namedProjection(name string) corev1.VolumeProjection {
	return corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: &name, Path: "ca.crt"}}
}

func everything() *metav1.LabelSelector { return &metav1.LabelSelector{} }

func secretEnv(variable, name string) corev1.EnvVar {
	ref := &corev1.SecretKeySelector{Key: "ca.crt"}
	ref.Name = name
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: ref}}
}

func configMapEnv(variable, name string) corev1.EnvVar {
	ref := &corev1.ConfigMapKeySelector{Key: "ca.crt"}
	ref.Name = name
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: ref}}
}

func secretEnvFrom(name string) corev1.EnvFromSource {
	ref := &corev1.SecretEnvSource{}
	ref.Name = name
	return corev1.EnvFromSource{SecretRef: ref}
}

func configMapEnvFrom(name string) corev1.EnvFromSource {
	ref := &corev1.ConfigMapEnvSource{}
	ref.Name = name
	return corev1.EnvFromSource{ConfigMapRef: ref}
}

// withEnv is a pod whose container has these variables.
func withEnv(env []corev1.EnvVar, from ...corev1.EnvFromSource) *corev1.Pod {
	pod := podOf()
	pod.Spec.Containers[0].Env, pod.Spec.Containers[0].EnvFrom = env, from
	return pod
}

// subPath makes all mounts of the first container ones of a part of their volumes.
func subPath(pod *corev1.Pod, path, expr string) *corev1.Pod {
	for i := range pod.Spec.Containers[0].VolumeMounts {
		mount := &pod.Spec.Containers[0].VolumeMounts[i]
		mount.SubPath, mount.SubPathExpr = path, expr
	}
	return pod
}

// waysOfUse are a pod for each way and what is read once of which consumer.
var waysOfUse = map[string]struct {
	pod      *corev1.Pod
	consumer plan.ConsumerRef
	readOnce string
	byName   string
}{
	"a Secret as a volume":    {podOf(secretVolume("cart-tls")), theSecret, "", ""},
	"a ConfigMap as a volume": {podOf(configMapVolume("roots")), theConfigMap, "", ""},
	"a projected Secret":      {podOf(projectedVolume(secretProjection("cart-tls"))), theSecret, "", ""},
	"a projected ConfigMap":   {podOf(projectedVolume(configMapProjection("roots"))), theConfigMap, "", ""},
	"projected trust bundles": {podOf(projectedVolume(bundleProjection(bundleSigner, everything()))), theBundle, "", ""},
	"a projected trust bundle by its name": {
		podOf(projectedVolume(namedProjection("mtls-operator.io:pki.my-ca:0a1b"))), theBundle, "by name",
		"mtls-operator.io:pki.my-ca:0a1b",
	},
	"a Secret through subPath": {
		subPath(podOf(secretVolume("cart-tls")), "ca.crt", ""), theSecret, `through subPath "ca.crt"`, "",
	},
	"a Secret through subPathExpr": {
		subPath(podOf(secretVolume("cart-tls")), "", "$(POD)"), theSecret, `through subPathExpr "$(POD)"`, "",
	},
	"a ConfigMap through subPath": {
		subPath(podOf(configMapVolume("roots")), "ca.crt", ""), theConfigMap, `through subPath "ca.crt"`, "",
	},
	"projected trust bundles through subPath": {
		subPath(podOf(projectedVolume(bundleProjection(bundleSigner, everything()))), "ca.crt", ""), theBundle,
		`through subPath "ca.crt"`, "",
	},
	"a projected Secret through subPath": {
		subPath(podOf(projectedVolume(secretProjection("cart-tls"))), "ca.crt", ""), theSecret, `through subPath "ca.crt"`, "",
	},
	"a Secret in a variable": {
		withEnv([]corev1.EnvVar{secretEnv("CA_CERT", "cart-tls")}), theSecret, "in environment variable CA_CERT", "",
	},
	"a ConfigMap in a variable": {
		withEnv([]corev1.EnvVar{configMapEnv("CA_CERT", "roots")}), theConfigMap, "in environment variable CA_CERT", "",
	},
	"a Secret in all variables":    {withEnv(nil, secretEnvFrom("cart-tls")), theSecret, "in environment variables", ""},
	"a ConfigMap in all variables": {withEnv(nil, configMapEnvFrom("roots")), theConfigMap, "in environment variables", ""},
}

func wantUses(t testing.TB, got []plan.Use, want ...plan.Use) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
}

func TestEveryWayOfUseIsSeenInEveryKindOfContainer(t *testing.T) {
	for sentence, c := range waysOfUse {
		t.Run(sentence, func(t *testing.T) {
			want := plan.Use{
				Consumer: c.consumer, Container: "app", ReadOnce: c.readOnce, OnlyPod: c.byName != "", ByName: c.byName,
			}
			wantUses(t, plan.PodUses(c.pod, oursWatch), want)
			wantUses(t, plan.PodUses(asSidecar(c.pod), oursWatch), want)
			wantUses(t, plan.PodUses(asEphemeral(c.pod), oursWatch), want)

			want.OnlyPod = true
			if c.byName == "" {
				want.ReadOnce = "in an init container"
			}
			wantUses(t, plan.PodUses(asInit(c.pod), oursWatch), want)
		})
	}
}

// asInit is the pod with its container among the init containers.
func asInit(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Spec.InitContainers, pod.Spec.Containers = pod.Spec.Containers, nil
	return pod
}

func asSidecar(pod *corev1.Pod) *corev1.Pod {
	pod = asInit(pod)
	untilForever := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers[0].RestartPolicy = &untilForever
	return pod
}

func asEphemeral(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon(pod.Spec.Containers[0]), TargetContainerName: "app",
	}}
	pod.Spec.Containers = nil
	return pod
}

func TestAnInitContainerThatIsRestartedOnFailureIsNoSidecar(t *testing.T) {
	pod := asInit(podOf(secretVolume("cart-tls")))
	onFailure := corev1.ContainerRestartPolicyOnFailure
	pod.Spec.InitContainers[0].RestartPolicy = &onFailure
	wantUses(t, plan.PodUses(pod, oursWatch),
		plan.Use{Consumer: theSecret, Container: "app", ReadOnce: "in an init container", OnlyPod: true})
}

func TestProgramsThatReadOnceAreToldByReload(t *testing.T) {
	for sentence, c := range waysOfUse {
		t.Run(sentence, func(t *testing.T) {
			want := plan.Use{
				Consumer: c.consumer, Container: "app", ReadOnce: c.readOnce, OnlyPod: c.byName != "", ByName: c.byName,
			}
			if c.readOnce == "" {
				want.ReadOnce = "with reload: Restart"
			}
			wantUses(t, plan.PodUses(c.pod, oursRestart), want)

			annotated := c.pod.DeepCopy()
			annotated.Annotations = map[string]string{v1alpha1.ReloadAnnotation: "Restart"}
			wantUses(t, plan.PodUses(annotated, oursWatch), want)
		})
	}
}

func TestReloadWatchOnAPodDoesNotUndoWhatItsCertificateSays(t *testing.T) {
	pod := podOf(secretVolume("cart-tls"))
	pod.Annotations = map[string]string{v1alpha1.ReloadAnnotation: "Watch"}
	wantUses(t, plan.PodUses(pod, oursRestart),
		plan.Use{Consumer: theSecret, Container: "app", ReadOnce: "with reload: Restart"})
	wantUses(t, plan.PodUses(pod, oursWatch), plan.Use{Consumer: theSecret, Container: "app"})
}

func TestWhatIsNoUse(t *testing.T) {
	unmounted := podOf(secretVolume("cart-tls"))
	unmounted.Spec.Containers[0].VolumeMounts = nil
	elsewhere := podOf(secretVolume("cart-tls"), configMapVolume("roots"))
	elsewhere.Namespace = "billing"
	pulls := podOf()
	pulls.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "cart-tls"}}
	field := corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}
	for sentence, pod := range map[string]*corev1.Pod{
		"a pod without anything":           podOf(),
		"a volume that nobody mounts":      unmounted,
		"objects of another namespace":     elsewhere,
		"a Secret to pull images with":     pulls,
		"an empty volume":                  podOf(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		"another Secret":                   podOf(secretVolume("roots"), projectedVolume(secretProjection("roots"))),
		"another ConfigMap":                podOf(configMapVolume("cart-tls"), projectedVolume(configMapProjection("x"))),
		"another signer":                   podOf(projectedVolume(bundleProjection("example.com/x", everything()))),
		"our signer without a selector":    podOf(projectedVolume(bundleProjection(bundleSigner, nil))),
		"another signer's bundle by name":  podOf(projectedVolume(namedProjection("example.com:x:0a1b"))),
		"half of a bundle's name":          podOf(projectedVolume(namedProjection("mtls-operator.io:pki.my-ca"))),
		"more than a bundle's name":        podOf(projectedVolume(namedProjection("mtls-operator.io:pki.my-ca:0:1"))),
		"a bundle without signer, by name": podOf(projectedVolume(namedProjection("mtls-operator.io"))),
		"a token": podOf(projectedVolume(corev1.VolumeProjection{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"},
		})),
		"other variables": withEnv([]corev1.EnvVar{
			secretEnv("A", "other"), configMapEnv("B", "other"), {Name: "C", Value: "cart-tls"}, {Name: "D", ValueFrom: &field},
		}, secretEnvFrom("other"), configMapEnvFrom("other"), corev1.EnvFromSource{Prefix: "X_"}),
	} {
		t.Run(sentence, func(t *testing.T) { wantUses(t, plan.PodUses(pod, oursWatch)) })
	}
}

func TestOptionalSourcesAreUsed(t *testing.T) {
	yes := true
	volume, variable, from := secretVolume("cart-tls"), secretEnv("CA", "cart-tls"), configMapEnvFrom("roots")
	volume.Secret.Optional, variable.ValueFrom.SecretKeyRef.Optional, from.ConfigMapRef.Optional = &yes, &yes, &yes
	pod := podOf(volume)
	pod.Spec.Containers[0].Env = []corev1.EnvVar{variable}
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{from}
	wantUses(t, plan.PodUses(pod, oursWatch),
		plan.Use{Consumer: theSecret, Container: "app"},
		plan.Use{Consumer: theSecret, Container: "app", ReadOnce: "in environment variable CA"},
		plan.Use{Consumer: theConfigMap, Container: "app", ReadOnce: "in environment variables"})
}

func TestEverySourceOfAVolumeIsUsedByEveryContainerThatMountsIt(t *testing.T) {
	pod := podOf(projectedVolume(configMapProjection("other"), secretProjection("cart-tls"), configMapProjection("roots"),
		bundleProjection(bundleSigner, everything())))
	part := corev1.VolumeMount{Name: "a", MountPath: "/etc/ca.crt", SubPath: "ca.crt"}
	pod.Spec.Containers = append(pod.Spec.Containers,
		corev1.Container{Name: "none"}, corev1.Container{Name: "part", VolumeMounts: []corev1.VolumeMount{part}})
	const how = `through subPath "ca.crt"`
	wantUses(t, plan.PodUses(pod, oursWatch),
		plan.Use{Consumer: theSecret, Container: "app"},
		plan.Use{Consumer: theConfigMap, Container: "app"},
		plan.Use{Consumer: theBundle, Container: "app"},
		plan.Use{Consumer: theSecret, Container: "part", ReadOnce: how},
		plan.Use{Consumer: theConfigMap, Container: "part", ReadOnce: how},
		plan.Use{Consumer: theBundle, Container: "part", ReadOnce: how})
}

func TestTheSameUseIsToldOnce(t *testing.T) {
	pod := podOf(secretVolume("cart-tls"), secretVolume("cart-tls"))
	restartIt := pod.Spec.Containers[0].VolumeMounts[0]
	restartIt.MountPath, restartIt.SubPath = "/again", "ca.crt"
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, restartIt)
	wantUses(t, plan.PodUses(pod, oursWatch),
		plan.Use{Consumer: theSecret, Container: "app"},
		plan.Use{Consumer: theSecret, Container: "app", ReadOnce: `through subPath "ca.crt"`})
}

func TestLongNamesAreShortenedInWhatIsReadOnce(t *testing.T) {
	long := "x" + strings.Repeat("ä", 500) // no letter ends where it must
	pod := subPath(podOf(secretVolume("cart-tls")), long, "")
	pod.Spec.Containers[0].Env = []corev1.EnvVar{secretEnv(long, "cart-tls")}
	for _, use := range plan.PodUses(pod, oursWatch) {
		if len(use.ReadOnce) > 100 || !strings.Contains(use.ReadOnce, "ä…") {
			t.Errorf("%q is %d bytes long and must be shortened between letters", use.ReadOnce, len(use.ReadOnce))
		}
	}
}

func TestAPodIsNotChangedByLookingAtIt(t *testing.T) {
	for _, c := range waysOfUse {
		before := c.pod.DeepCopy()
		plan.PodUses(asSidecar(c.pod), oursRestart)
		plan.PodUses(c.pod, oursRestart)
		if diff := cmp.Diff(before, c.pod); diff != "" {
			t.Error(diff)
		}
	}
}
