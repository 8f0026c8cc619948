//go:build e2e

package e2e

import (
	"context"
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
	administrator := config.Client().RESTConfig()
	administrator.QPS = -1
	cluster, err = client.New(administrator, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	suite = env.NewWithConfig(config)
	suite.Setup(installUnlessUpgraded)
	os.Exit(suite.Run(m))
}

// installUnlessUpgraded installs the operator for a run of chosen features. In a whole run upgrade does.
func installUnlessUpgraded(ctx context.Context, config *envconf.Config) (context.Context, error) {
	if chosen := config.FeatureRegex(); chosen == nil || chosen.MatchString(upgrade().Name()) {
		return ctx, nil
	}
	return ctx, install(ctx, manifests("default"), "mtls-operator/manager:dev")
}

// The order matters: all that follows upgrade happens with an operator that was upgraded, and uninstall ends it. Some
// features have namespaces of their own and play at once; those that would disturb others are alone.
func TestOperator(t *testing.T) {
	suite.Test(t, upgrade())
	suite.TestInParallel(t, samples(), renewal(), repair(), restore(), output())
	suite.Test(t, operatorForm(), leaderKilled(), outages())
	suite.TestInParallel(t, rotation(), importedRotation(), parentRotation(), naiveRotation())
	suite.Test(t, namespaces(), uninstall())
}
