package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mtls-operator/mtls-operator/controllers"
)

const (
	// leaseName of an operator for all namespaces.
	leaseName = "mtls-operator.mtls-operator.io"
	// stopTimeout is less than the 30 s a pod has by default, so that the lease is handed over before it is killed.
	stopTimeout = 20 * time.Second
	// readyTimeout is less than the 1 s a probe has by default, so that it gets an answer.
	readyTimeout = 500 * time.Millisecond
)

// operate runs the operator until ctx ends. The process must end when it returns: the lease may be somebody else's.
func operate(ctx context.Context, opts options, log logr.Logger) error {
	log.Info("the operator starts", "version", version, "leaderElection", opts.leaderElect,
		"namespaces", cmp.Or(strings.Join(opts.controllers.Namespaces, ","), "all"))
	restConfig, err := loadConfig(opts.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	if ready, err := awaitAPIServer(ctx, restConfig, log); err != nil || !ready {
		return err // none when a signal came first
	}
	mgr, err := newManager(restConfig, opts, log)
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, mgr, opts.controllers); err != nil {
		return explain(err)
	}
	return explain(mgr.Start(ctx))
}

// loadConfig says where the API server is and who we are. The API server has priority and fairness to hold back who
// asks too much; a limit of our own would only make a thousand renewals late.
func loadConfig(kubeconfig string) (*rest.Config, error) {
	load := config.GetConfig
	if kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	restConfig, err := load()
	if err != nil {
		return nil, err
	}
	restConfig.QPS = -1
	restConfig.UserAgent = "mtls-operator/" + version
	return restConfig, nil
}

func newManager(restConfig *rest.Config, opts options, log logr.Logger) (ctrl.Manager, error) {
	stop := stopTimeout
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: controllers.Scheme(),
		Cache:  controllers.CacheOptions(opts.controllers.Namespaces),
		Client: controllers.ClientOptions(),
		Logger: log,
		Metrics: metricsserver.Options{
			BindAddress:    opts.metricsAddress,
			SecureServing:  true,
			FilterProvider: permitted,
		},
		HealthProbeBindAddress:        opts.probeAddress,
		PprofBindAddress:              opts.profileAddress,
		LeaderElection:                opts.leaderElect,
		LeaderElectionID:              leaseOf(opts.controllers.Namespaces),
		LeaderElectionNamespace:       opts.leaderNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &stop,
	})
	if err != nil {
		return nil, err
	}
	return mgr, errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("caches", cachesFilled(mgr.GetCache().WaitForCacheSync)),
	)
}

// leaseOf names the Lease of those who work in these namespaces: operators of other namespaces don't wait for it.
func leaseOf(namespaces []string) string {
	if len(namespaces) == 0 {
		return leaseName
	}
	hash := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(namespaces)), ",")))
	return leaseName + "-" + hex.EncodeToString(hash[:4])
}

// cachesFilled is a check that passes once wait returns true: the caches hold what the cluster held when they began.
func cachesFilled(wait func(context.Context) bool) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), readyTimeout)
		defer cancel()
		if !wait(ctx) {
			return errors.New("the caches aren't filled yet")
		}
		return nil
	}
}

// explain adds to err what to do about it, where that is known.
func explain(err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%w: apply the CustomResourceDefinitions in config/crd first", err)
	}
	return err
}
