// Package config_test holds the manifests in config/ to what they say, as an API server and kubectl understand them.
//
// It promises that config/default and config/samples can be applied as they are, that every pod passes the restricted
// Pod Security Standard, that people and the operator may do what config/rbac says and no more, and that only who may
// issue can write a Secret that holds a CA key.
package config_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// root is the repository as seen from this folder.
const root = "../.."

// manifestFolder is where the manifests of that name are.
func manifestFolder(name string) string { return filepath.Join(root, "config", name) }

// operator is how the API server calls the ServiceAccount that the manager runs as.
const operator = "system:serviceaccount:mtls-system:mtls-operator"

// cluster is the API server that config/default was applied to.
var cluster struct {
	config     *rest.Config
	kubeconfig string
	mapper     meta.RESTMapper // asked once which kinds there are, for every client
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	env := &envtest.Environment{ControlPlaneStartTimeout: time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no API server: does KUBEBUILDER_ASSETS name what `make controlplane` filled?", err)
		return 1
	}
	defer func() { _ = env.Stop() }()
	folder, err := os.MkdirTemp("", "config-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()

	cluster.config = config
	cluster.kubeconfig = filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(cluster.kubeconfig, env.KubeConfig, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, args := range [][]string{
		{"apply", "-k", manifestFolder("default")},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"},
	} {
		if output, err := kubectl(context.Background(), args...); err != nil {
			fmt.Fprintf(os.Stderr, "kubectl %q: %v\n%s", args, err, output)
			return 1
		}
	}
	administrator, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cluster.mapper = administrator.RESTMapper()
	return m.Run()
}

// kubectl returns what it printed, errors too.
func kubectl(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+cluster.kubeconfig)
	output, err := command.CombinedOutput()
	return string(output), err
}

// mustKubectl returns what kubectl printed.
func mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, output)
	}
	return output
}

var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}()

// as returns a client of that user; of the cluster's administrator for "".
func as(t *testing.T, user string) client.Client {
	t.Helper()
	config := rest.CopyConfig(cluster.config)
	config.Impersonate.UserName = user
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: cluster.mapper})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newNamespace makes a namespace with these labels and returns its name.
func newNamespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	if err := as(t, "").Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// eventually waits for what the API server's own caches will show.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) {
			last = check()
			return last == nil, nil
		})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}
