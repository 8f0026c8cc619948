//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// root is the repository as seen from this folder.
const root = "../.."

// manifests is where the manifests of that name are.
func manifests(name string) string { return filepath.Join(root, "config", name) }

var (
	suite   env.Environment
	cluster client.Client
	// inCluster is the context of the kubeconfig, set by run.sh.
	inCluster = os.Getenv("E2E_CONTEXT")
	// previous is a folder with the manifests of the commit before.
	previous = os.Getenv("E2E_PREVIOUS")
)

func TestMain(m *testing.M) {
	config, err := envconf.NewFromFlags()
	if err != nil || inCluster == "" || previous == "" {
		fmt.Fprintln(os.Stderr, "e2e: run `make e2e`, which makes a cluster and says which in E2E_CONTEXT:", err)
		os.Exit(2)
	}
	config.WithKubeContext(inCluster).WithParallelTestEnabled()
	utilruntime.Must(v1alpha1.AddToScheme(scheme.Scheme))
	cluster, err = client.New(config.Client().RESTConfig(), client.Options{Scheme: scheme.Scheme})
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	suite = env.NewWithConfig(config)
	os.Exit(suite.Run(m))
}

// The order matters: all that follows upgrade happens with an operator that was upgraded, and uninstall ends it. The
// features between have namespaces of their own; those that would disturb others are alone.
func TestOperator(t *testing.T) {
	//UP
	suite.TestInParallel(t, samples())
	//UN
}
