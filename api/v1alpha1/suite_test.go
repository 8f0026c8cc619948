// Package v1alpha1_test holds the schemas in config/crd to what the types promise, on a real API server: what is refused
// and in which words, what is accepted, and that whatever is accepted can be read by the typed client.
package v1alpha1_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const namespace = "default"

// kind is one of ours, with its schema and the least spec that is valid.
type kind struct {
	name   string
	plural string
	base   string // YAML
	schema apiextensionsv1.JSONSchemaProps
}

var (
	authority   = &kind{name: "MTLSAuthority", plural: "mtlsauthorities", base: `{selfSigned: {}}`}
	certificate = &kind{
		name: "MTLSCertificate", plural: "mtlscertificates",
		base: `{authorityRef: {name: ca}, usages: [Client], commonName: my-client}`,
	}
	kinds = []*kind{authority, certificate}
)

// cluster is the API server that all tests share.
var cluster struct {
	client.Client
	config *rest.Config
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		panic(err)
	}
	return s
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder := filepath.Join("..", "..", "config", "crd")
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{folder}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute, // busy machines
	}
	config, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no API server, does KUBEBUILDER_ASSETS name the folder that `make controlplane` filled?", err)
		return 1
	}
	defer func() { _ = env.Stop() }()
	if err := setUp(config, folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func setUp(config *rest.Config, folder string) error {
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	cluster.config = config
	var err error
	if cluster.Client, err = client.New(config, client.Options{Scheme: scheme()}); err != nil {
		return err
	}
	for _, k := range kinds {
		data, err := os.ReadFile(filepath.Join(folder, "mtls-operator.io_"+k.plural+".yaml"))
		if err != nil {
			return err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			return err
		}
		k.schema = *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	return nil
}

// object has the kind's least spec with the fields of overlay, which is YAML, set over it.
func (k *kind) object(t testing.TB, name, overlay string) *unstructured.Unstructured {
	t.Helper()
	spec, over := map[string]any{}, map[string]any{}
	for text, into := range map[string]*map[string]any{k.base: &spec, overlay: &over} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	maps.Copy(spec, over)
	return k.wrap(name, spec)
}

func (k *kind) wrap(name string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(k.name))
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// stored makes the object and takes it away when the test ends.
func stored(t testing.TB, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	if err := cluster.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Delete(context.Background(), object.DeepCopy()); err != nil {
			t.Error(err)
		}
	})
	return object
}

// node is a place in a schema; its path is as ".spec.dnsNames[*]", with "[k]" for the values of a map.
type node struct {
	path   string
	schema apiextensionsv1.JSONSchemaProps
}

// nodes are all places in the schema that are the kind's own: not those in metadata.
func (k *kind) nodes() []node { return walk("", k.schema) }

func walk(path string, schema apiextensionsv1.JSONSchemaProps) []node {
	all := []node{{path, schema}}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		if path != "" || name == "spec" || name == "status" {
			all = append(all, walk(path+"."+name, schema.Properties[name])...)
		}
	}
	if schema.Items != nil {
		all = append(all, walk(path+"[*]", *schema.Items.Schema)...)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		all = append(all, walk(path+"[k]", *schema.AdditionalProperties.Schema)...)
	}
	return all
}

// causes are what the API server said was wrong; an error of another sort fails the test.
func causes(t testing.TB, err error) []metav1.StatusCause {
	t.Helper()
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
		t.Fatalf("want an object that is refused as invalid: %v", err)
	}
	return status.Status().Details.Causes
}

// hasCause tells whether the field was refused with a message that contains text.
func hasCause(all []metav1.StatusCause, field, text string) bool {
	return slices.ContainsFunc(all, func(c metav1.StatusCause) bool {
		return c.Field == field && strings.Contains(c.Message, text)
	})
}
