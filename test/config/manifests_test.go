package config_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifests returns the objects of a kustomization, or of a folder of plain files. A field that its type doesn't have,
// or has twice, fails the test.
func manifests(t *testing.T, folder string) []runtime.Object {
	t.Helper()
	var objects []runtime.Object
	for _, document := range documents(t, manifestFolder(folder)) {
		if strings.Contains(document, "apiVersion: monitoring.coreos.com/v1\n") {
			continue // its type is the Prometheus operator's; test/alerts has the rules
		}
		decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", folder, err, document)
		}
		objects = append(objects, object)
	}
	return objects
}

// documents returns the YAML documents of what is in the folder.
func documents(t *testing.T, folder string) []string {
	t.Helper()
	var all bytes.Buffer
	if _, err := os.Stat(filepath.Join(folder, "kustomization.yaml")); err == nil {
		all.WriteString(mustKubectl(t, "kustomize", folder))
	} else {
		all.WriteString(plainFiles(t, folder))
	}
	var found []string
	reader := yaml.NewYAMLReader(bufio.NewReader(&all))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(document))
	}
}

func plainFiles(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in %s: %v", folder, err)
	}
	var all []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(content))
	}
	return strings.Join(all, "\n---\n")
}

// only returns the objects of one type.
func only[T runtime.Object](objects []runtime.Object) []T {
	var found []T
	for _, object := range objects {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// podTemplates returns the templates of Deployments and Jobs by name.
func podTemplates(objects []runtime.Object) map[string]corev1.PodTemplateSpec {
	templates := map[string]corev1.PodTemplateSpec{}
	for _, deployment := range only[*appsv1.Deployment](objects) {
		templates[deployment.Name] = deployment.Spec.Template
	}
	for _, job := range only[*batchv1.Job](objects) {
		templates[job.Name] = job.Spec.Template
	}
	return templates
}

func TestEveryManifestHasOnlyFieldsOfItsType(t *testing.T) {
	for folder, least := range map[string]int{
		"default": 15, "prometheus": 2, "samples": 5,
		"namespaced/cluster": 8, "namespaced/operator": 7, "namespaced/served": 2,
	} {
		if found := manifests(t, folder); len(found) < least {
			t.Errorf("config/%s: %d objects, there should be %d or more", folder, len(found), least)
		}
	}
}

// A kustomization.yaml in a folder makes `kubectl apply -f` of the folder fail.
func TestSamplesApplyAsAPlainFolder(t *testing.T) {
	namespace := newNamespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	output := mustKubectl(t, "apply", "-f", manifestFolder("samples"), "--namespace", namespace)
	if strings.Contains(output, "Warning") {
		t.Errorf("the API server warns:\n%s", output)
	}
	for _, object := range manifests(t, "samples") {
		kind := strings.ToLower(object.GetObjectKind().GroupVersionKind().Kind)
		name := nameOf(t, object)
		if want := "/" + name + " created"; !strings.Contains(output, kind) || !strings.Contains(output, want) {
			t.Errorf("%s %s wasn't created:\n%s", kind, name, output)
		}
	}
}
