package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

const (
	// askInterval is the time between two looks for the API server.
	askInterval = time.Second
	// sayEvery is after how many looks in vain the log says so again.
	sayEvery = 60
)

// awaitAPIServer waits until the API server is ready to answer, and tells whether it is: not so when ctx ends first. A
// manager that ended instead would be started again by kubelet, but each time later, and be away for minutes after the API
// server is back. What else is wrong, such as credentials, is for the manager to find out.
func awaitAPIServer(ctx context.Context, config *rest.Config, log logr.Logger) (bool, error) {
	asking := rest.CopyConfig(config)
	asking.Timeout = 5 * time.Second
	client, err := discovery.NewDiscoveryClientForConfig(asking)
	if err != nil {
		return false, err
	}
	looks := 0
	err = wait.PollUntilContextCancel(ctx, askInterval, true, func(ctx context.Context) (bool, error) {
		err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		if answered(err) {
			return true, nil
		}
		looks++
		if looks%sayEvery == 1 {
			log.Error(err, "waiting for the API server", "host", config.Host)
		}
		return false, nil
	})
	return err == nil, nil
}

// answered tells whether an error, if there is one, is an API server's word and not its absence.
func answered(err error) bool {
	var status apierrors.APIStatus
	return err == nil || errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError
}
