package config_test

import (
	"maps"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func nameOf(t *testing.T, object runtime.Object) string {
	t.Helper()
	accessor, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	return accessor.GetName()
}

// allPodTemplates returns those of the operator and of the samples.
func allPodTemplates(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	templates := podTemplates(slices.Concat(manifests(t, "default"), manifests(t, "samples")))
	want := []string{"hello", "hello-client", "mtls-operator"}
	if got := slices.Sorted(maps.Keys(templates)); !slices.Equal(got, want) {
		t.Fatalf("pod templates of %q, want %q", got, want)
	}
	return templates
}

func TestEveryPodPassesTheRestrictedStandard(t *testing.T) {
	namespace := newNamespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	create := func(template corev1.PodTemplateSpec) error {
		pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.Namespace, pod.GenerateName = namespace, "test-"
		return as(t, "").Create(t.Context(), pod, client.DryRunAll)
	}
	for name, template := range allPodTemplates(t) {
		t.Run(name, func(t *testing.T) {
			if err := create(template); err != nil {
				t.Error(err)
			}
			template.Spec.SecurityContext.RunAsNonRoot = nil
			if err := create(template); !apierrors.IsForbidden(err) {
				t.Errorf("the namespace doesn't hold pods to the standard: %v", err)
			}
		})
	}
}

func TestEveryContainerIsBoundedBeyondTheStandard(t *testing.T) {
	for name, template := range allPodTemplates(t) {
		if user := template.Spec.SecurityContext.RunAsUser; user == nil || *user == 0 {
			t.Errorf("%s: the user must be a number other than 0: its image has no names", name)
		}
		for _, container := range template.Spec.Containers {
			if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
				t.Errorf("%s: the root file system can be written", name)
			}
			if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() ||
				container.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: requests or the limit on memory are missing: %v", name, container.Resources)
			}
			if container.ImagePullPolicy != corev1.PullIfNotPresent {
				t.Errorf("%s: images that were built here would be pulled: %q", name, container.ImagePullPolicy)
			}
		}
	}
}

// isFlag says whether the argument is a flag that the help text of a program lists.
func isFlag(argument, help string) bool {
	name, _, _ := strings.Cut(argument, "=")
	name, isLong := strings.CutPrefix(name, "--")
	return isLong && regexp.MustCompile(`(?m)^\s+--?`+regexp.QuoteMeta(name)+`\b`).MatchString(help)
}

// The images are named after the programs that `make image` puts into them.
func TestEveryArgumentIsAFlagOfItsProgram(t *testing.T) {
	packages := map[string]string{
		"mtls-operator/manager:dev":      "./cmd/manager",
		"mtls-operator/hello-server:dev": "./examples/hello/server",
		"mtls-operator/hello-client:dev": "./examples/hello/client",
	}
	for name, template := range allPodTemplates(t) {
		container := template.Spec.Containers[0]
		help := exec.CommandContext(t.Context(), "go", "run", packages[container.Image], "--help")
		help.Dir = root
		output, err := help.CombinedOutput()
		if err != nil {
			t.Errorf("%s: image %q has no program that shows its flags: %v\n%s", name, container.Image, err, output)
			continue
		}
		for _, argument := range container.Args {
			if !isFlag(argument, string(output)) {
				t.Errorf("%s: %q is not a flag of %s:\n%s", name, argument, packages[container.Image], output)
			}
		}
	}
}

// selects says how many of the pod templates a selector selects.
func selects(selector map[string]string, templates map[string]corev1.PodTemplateSpec) (found []corev1.PodTemplateSpec) {
	for _, template := range templates {
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(template.Labels)) {
			found = append(found, template)
		}
	}
	return found
}

func hasPort(template corev1.PodTemplateSpec, name string) bool {
	return slices.ContainsFunc(template.Spec.Containers[0].Ports, func(port corev1.ContainerPort) bool {
		return port.Name == name
	})
}

func TestServicesAndPoliciesSelectThePodsTheyAreFor(t *testing.T) {
	templates := allPodTemplates(t)
	check := func(name string, selector map[string]string, port string) {
		t.Helper()
		found := selects(selector, templates)
		if len(found) != 1 {
			t.Fatalf("%s selects %d of the pod templates, want 1", name, len(found))
		}
		if port != "" && !hasPort(found[0], port) {
			t.Errorf("%s: the pods have no port named %q", name, port)
		}
	}
	objects := slices.Concat(manifests(t, "default"), manifests(t, "samples"), manifests(t, "prometheus"))
	services := only[*corev1.Service](objects)
	budgets := only[*policyv1.PodDisruptionBudget](objects)
	policies := only[*networkingv1.NetworkPolicy](objects)
	if len(services) != 2 || len(budgets) != 1 || len(policies) != 1 {
		t.Fatalf("%d Services, %d PodDisruptionBudgets, %d NetworkPolicies", len(services), len(budgets), len(policies))
	}
	for _, service := range services {
		check("Service "+service.Name, service.Spec.Selector, service.Spec.Ports[0].TargetPort.StrVal)
	}
	check("PodDisruptionBudget", budgets[0].Spec.Selector.MatchLabels, "")
	check("NetworkPolicy", policies[0].Spec.PodSelector.MatchLabels, policies[0].Spec.Ingress[0].Ports[0].Port.StrVal)
}

func TestTheServiceMonitorFindsTheMetrics(t *testing.T) {
	monitor := documents(t, manifestFolder("prometheus"))
	i := slices.IndexFunc(monitor, func(document string) bool {
		return strings.Contains(document, "kind: ServiceMonitor")
	})
	if i < 0 {
		t.Fatal("config/prometheus has no ServiceMonitor")
	}
	service := only[*corev1.Service](manifests(t, "default"))[0]
	for _, want := range []string{
		"port: " + service.Spec.Ports[0].Name + "\n",
		"app.kubernetes.io/name: " + service.Labels["app.kubernetes.io/name"] + "\n",
		"app.kubernetes.io/component: " + service.Labels["app.kubernetes.io/component"] + "\n",
		"namespace: " + service.Namespace + "\n",
	} {
		if !strings.Contains(monitor[i], want) {
			t.Errorf("the ServiceMonitor doesn't say %q:\n%s", want, monitor[i])
		}
	}
}

func TestTheSamplesFitTogether(t *testing.T) {
	objects := manifests(t, "samples")
	templates, service := podTemplates(objects), only[*corev1.Service](objects)[0]
	authority := only[*v1alpha1.MTLSAuthority](objects)[0]
	certificates := map[string]*v1alpha1.MTLSCertificate{}
	for _, certificate := range only[*v1alpha1.MTLSCertificate](objects) {
		certificates[certificate.Name] = certificate
		if name := certificate.Spec.AuthorityRef.Name; name != authority.Name {
			t.Errorf("%s refers to %q, the authority is %q", certificate.Name, name, authority.Name)
		}
	}
	server, user := certificates["hello-server"], certificates["my-client"]
	if server == nil || user == nil {
		t.Fatalf("the certificates are %v", slices.Collect(maps.Keys(certificates)))
	}
	if server.Spec.ServiceName != service.Name {
		t.Errorf("the server's serviceName is %q, the Service is %q", server.Spec.ServiceName, service.Name)
	}
	checkMount(t, templates["hello"], server.Name, "--allow="+user.Spec.CommonName)
	checkMount(t, templates["hello-client"], user.Name, "--url=https://"+service.Name+":8443/")
	if port := service.Spec.Ports[0].Port; port != 8443 {
		t.Errorf("the Service listens on %d, the client asks 8443", port)
	}
}

// checkMount holds a pod to having the Secret, whole and readable by its user alone, where it looks for it.
func checkMount(t *testing.T, template corev1.PodTemplateSpec, secret, argument string) {
	t.Helper()
	container, volume := template.Spec.Containers[0], template.Spec.Volumes[0]
	if volume.Secret.SecretName != secret || *volume.Secret.DefaultMode != 0o440 {
		t.Errorf("%s: the volume is %v, want Secret %q with mode 0440", container.Name, volume.Secret, secret)
	}
	want := []corev1.VolumeMount{{Name: volume.Name, MountPath: "/etc/mtls", ReadOnly: true}}
	if !reflect.DeepEqual(container.VolumeMounts, want) {
		t.Errorf("%s: mounts %v, want %v", container.Name, container.VolumeMounts, want)
	}
	if !slices.Contains(container.Args, argument) || !slices.Contains(container.Args, "--dir=/etc/mtls") {
		t.Errorf("%s: arguments are %q, %q should be one", container.Name, container.Args, argument)
	}
	if *template.Spec.SecurityContext.FSGroup != *template.Spec.SecurityContext.RunAsUser {
		t.Errorf("%s: user %v can't read a file of group %v", container.Name,
			*template.Spec.SecurityContext.RunAsUser, *template.Spec.SecurityContext.FSGroup)
	}
}
