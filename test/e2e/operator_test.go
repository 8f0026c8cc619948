//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
	"sigs.k8s.io/e2e-framework/pkg/types"
)

// operatorForm is how the operator runs in a cluster, told by the cluster and its nodes and not by the manifests.
func operatorForm() types.Feature {
	feature, s := newFeature("the operator", "operator-form")
	return s.withScraper(feature).
		Assess("runs twice, under the restricted Pod Security Standard", s.step(runsTwice)).
		Assess("is confined by the kernels of its nodes", s.step(isConfined)).
		Assess("may do what its manifests say and no more", s.step(hasOwnRightsOnly)).
		Assess("lets one of its pods go at a time", s.step(letsOnePodGo)).
		Assess("tells its metrics to those who may get them", s.step(s.metricsAreGuarded)).
		Assess("was never forbidden anything", s.step(wantNothingForbidden)).
		Feature()
}

func runsTwice(t *testing.T) {
	awaitOperator(t)
	namespace := &corev1.Namespace{}
	must(t, cluster.Get(t.Context(), client.ObjectKey{Name: operatorNamespace}, namespace))
	if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
		t.Errorf("namespace %s enforces Pod Security Standard %q", operatorNamespace, level)
	}
}

// awaitOperator waits until both replicas are Ready, and returns them. It asks the pods: the Deployment tells what
// kube-controller-manager last saw, which is old when that was killed as well.
func awaitOperator(t *testing.T) []corev1.Pod {
	t.Helper()
	list := &corev1.PodList{}
	await(t, "two Ready replicas of the operator", soon, func(ctx context.Context) error {
		if err := cluster.List(ctx, list, client.InNamespace(operatorNamespace), operatorPods); err != nil {
			return err
		}
		ready := 0
		for _, pod := range list.Items {
			if pod.DeletionTimestamp.IsZero() && isReady(&pod) {
				ready++
			}
		}
		if ready != 2 || len(list.Items) != 2 {
			return fmt.Errorf("%d of %d are", ready, len(list.Items))
		}
		return nil
	})
	return list.Items
}

var operatorPods = client.MatchingLabels{"app.kubernetes.io/name": "mtls-operator"}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// isConfined asks the kernels about the processes: a field of the spec may be misspelt, dropped or overridden.
func isConfined(t *testing.T) {
	const no = "0000000000000000"
	for _, pod := range awaitOperator(t) {
		pid := processOf(t, &pod)
		status := onNode(t, pod.Spec.NodeName, "cat", "/proc/"+pid+"/status")
		for field, want := range map[string]string{
			"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532",
			"CapInh": no, "CapPrm": no, "CapEff": no, "CapBnd": no, "CapAmb": no,
			"NoNewPrivs": "1",
			"Seccomp":    "2", // a filter
		} {
			if got := procField(status, field); got != want {
				t.Errorf("pod %s: %s of its process is %q, want %q", pod.Name, field, got, want)
			}
		}
		mounts := onNode(t, pod.Spec.NodeName, "cat", "/proc/"+pid+"/mountinfo")
		if options := mountOptions(mounts, "/"); !slices.Contains(options, "ro") {
			t.Errorf("pod %s: its root is mounted with %q", pod.Name, options)
		}
	}
}

// processOf is the process of a pod's container as its node knows it.
func processOf(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	id := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	tasks := onNode(t, pod.Spec.NodeName, "ctr", "--namespace", "k8s.io", "tasks", "ls")
	for line := range strings.Lines(tasks) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id {
			return fields[1]
		}
	}
	t.Fatalf("node %s has no container %s:\n%s", pod.Spec.NodeName, id, tasks)
	return ""
}

// procField is a field of /proc/<pid>/status with single spaces in it (proc_pid_status(5)).
func procField(status, field string) string {
	for line := range strings.Lines(status) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// mountOptions are those of a mount point, in the words of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)).
func mountOptions(mounts, point string) []string {
	var options []string
	for line := range strings.Lines(mounts) {
		if fields := strings.Fields(line); len(fields) > 5 && fields[4] == point {
			options = strings.Split(fields[5], ",") // a later mount hides the ones before it
		}
	}
	return options
}

// hasOwnRightsOnly compares all that is granted to the operator in the cluster, by whomever, with the manifests.
func hasOwnRightsOnly(t *testing.T) {
	var found []runtime.Object
	for _, list := range []client.ObjectList{
		&rbacv1.ClusterRoleList{}, &rbacv1.RoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleBindingList{},
	} {
		must(t, cluster.List(t.Context(), list))
		items, err := apimeta.ExtractList(list)
		must(t, err)
		found = append(found, items...)
	}
	got, want := granted(found), granted(decode(t, kubectl(t, "", "kustomize", manifests("default"))))
	if len(want) == 0 || !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("the cluster grants the operator\n%v\nwant what the manifests do:\n%v", got, want)
	}
	answer, _ := tryKubectl(t.Context(), "", "auth", "can-i", "*", "*", "--as", operatorUser) // no is also exit code 1
	if strings.TrimSpace(answer) != "no" {
		t.Errorf("may the operator do everything? %q", answer)
	}
}

const operatorUser = "system:serviceaccount:" + operatorNamespace + ":mtls-operator"

// decode reads YAML documents and leaves out those of kinds that aren't Kubernetes' own.
func decode(t *testing.T, text string) []runtime.Object {
	t.Helper()
	var objects []runtime.Object
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		must(t, err)
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(bytes.TrimSpace(document), nil, nil)
		if runtime.IsNotRegisteredError(err) {
			continue
		}
		must(t, err)
		objects = append(objects, object)
	}
}

// granted are the rules that the operator gets by bindings, under the name of the binding with its role.
func granted(objects []runtime.Object) map[string][]rbacv1.PolicyRule {
	roles, grants := map[string][]rbacv1.PolicyRule{}, map[string][]rbacv1.PolicyRule{}
	for _, object := range objects {
		switch role := object.(type) {
		case *rbacv1.ClusterRole:
			roles["ClusterRole /"+role.Name] = role.Rules
		case *rbacv1.Role:
			roles["Role "+role.Namespace+"/"+role.Name] = role.Rules
		}
	}
	grant := func(namespace, name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		home := namespace
		if ref.Kind == "ClusterRole" {
			home = ""
		}
		role := ref.Kind + " " + home + "/" + ref.Name
		if slices.ContainsFunc(subjects, isOperator) {
			grants[namespace+"/"+name+": "+role] = roles[role]
		}
	}
	for _, object := range objects {
		switch binding := object.(type) {
		case *rbacv1.ClusterRoleBinding:
			grant("", binding.Name, binding.RoleRef, binding.Subjects)
		case *rbacv1.RoleBinding:
			grant(binding.Namespace, binding.Name, binding.RoleRef, binding.Subjects)
		}
	}
	return grants
}

// isOperator tells whether a subject is the operator. Groups that every ServiceAccount is in are the cluster's affair.
func isOperator(subject rbacv1.Subject) bool {
	switch subject.Kind {
	case rbacv1.ServiceAccountKind:
		return subject.Namespace == operatorNamespace && subject.Name == "mtls-operator"
	case rbacv1.UserKind:
		return subject.Name == operatorUser
	default:
		return subject.Name == "system:serviceaccounts:"+operatorNamespace
	}
}

func letsOnePodGo(t *testing.T) {
	await(t, "a PodDisruptionBudget of one pod", shortly, func(ctx context.Context) error {
		budget := &policyv1.PodDisruptionBudget{}
		err := cluster.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: "mtls-operator"}, budget)
		if status := budget.Status; err == nil && (status.ExpectedPods != 2 || status.DisruptionsAllowed != 1) {
			err = fmt.Errorf("of %d pods it lets %d go", status.ExpectedPods, status.DisruptionsAllowed)
		}
		return err
	})
}

func (s *scene) metricsAreGuarded(t *testing.T) {
	s.kubectl(t, "create", "serviceaccount", "nobody")
	scraper, nobody := s.token(t, "scraper"), s.token(t, "nobody")
	for _, pod := range awaitOperator(t) {
		endpoint := metricsOf(t, pod.Name)
		for _, c := range []struct {
			sentence, token string
			code            int
			says            string
		}{
			{"without a token", "", 401, "Unauthorized"},
			{"of a ServiceAccount without a role", nobody, 403, `nobody" may not get /metrics`},
			{"of a ServiceAccount with mtls-operator-metrics-reader", scraper, 200, "mtls_issuances_total"},
		} {
			code, answer, err := endpoint.get(t.Context(), c.token)
			must(t, err)
			if code != c.code || !strings.Contains(answer, c.says) {
				t.Errorf("pod %s, request %s: %d and %q, want %d and %q", pod.Name, c.sentence, code, answer, c.code, c.says)
			}
		}
	}
}

// wantNothingForbidden checks that the operator was never refused what it tried: that its RBAC isn't too narrow. It
// asks the logs of this container and the one before, in all pods there are, so it says most at the end of everything.
func wantNothingForbidden(t *testing.T) {
	t.Helper()
	for _, pod := range awaitOperator(t) {
		log := kubectl(t, "", "--namespace", operatorNamespace, "logs", pod.Name)
		if pod.Status.ContainerStatuses[0].RestartCount > 0 {
			log += kubectl(t, "", "--namespace", operatorNamespace, "logs", pod.Name, "--previous")
		}
		if !strings.Contains(log, "the operator starts") {
			t.Errorf("the log of pod %s doesn't begin at its start: it was rotated away, or isn't the operator's", pod.Name)
		}
		for line := range strings.Lines(log) {
			// Nobody may make anything, such as an Event, in a namespace that is being deleted: that isn't the RBAC.
			deleted := strings.Contains(line, "because it is being terminated")
			if strings.Contains(strings.ToLower(line), "forbidden") && !deleted {
				t.Errorf("pod %s: %s", pod.Name, line)
			}
		}
	}
}

// withScraper gives the scene a ServiceAccount scraper that may get the metrics.
func (s *scene) withScraper(feature *features.FeatureBuilder) *features.FeatureBuilder {
	binding := "scraper-" + s.namespace
	return feature.
		WithSetup("scraper", s.step(func(t *testing.T) {
			s.kubectl(t, "create", "serviceaccount", "scraper")
			kubectl(t, "", "create", "clusterrolebinding", binding, "--clusterrole", "mtls-operator-metrics-reader",
				"--serviceaccount", s.namespace+":scraper")
		})).
		WithTeardown("scraper", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			kubectl(t, "", "delete", "clusterrolebinding", binding, "--ignore-not-found")
			return ctx
		})
}

// token of a ServiceAccount of the namespace.
func (s *scene) token(t *testing.T, account string) string {
	t.Helper()
	return strings.TrimSpace(s.kubectl(t, "create", "token", account))
}

// endpoint is where a pod of the operator serves its metrics.
type endpoint struct {
	url    string
	client *http.Client // with one connection, which is as much as kubectl port-forward stands
}

func metricsOf(t *testing.T, pod string) endpoint {
	t.Helper()
	system := &scene{namespace: operatorNamespace}
	transport := &http.Transport{
		MaxConnsPerHost: 1,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // every start makes a certificate that nobody knows
	}
	return endpoint{"https://" + system.forward(t, "pod/"+pod, "8443") + "/metrics", &http.Client{Transport: transport}}
}

// get returns the status code and the body of an answer.
func (e endpoint) get(ctx context.Context, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := e.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
