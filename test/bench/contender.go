package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// contender is a program that makes Secrets of MTLSCertificates.
type contender struct {
	name    string
	program string
	flags   []string
	env     []string
	folder  string // for profiles of it, empty for none
}

// contenders are what is measured.
func (o *options) contenders() ([]contender, error) {
	env, err := environment(o.root)
	return []contender{
		{name: "floor", program: filepath.Join(o.programs, "floor")},
		{name: "operator", program: filepath.Join(o.programs, "manager"), folder: o.profiles, env: env, flags: []string{
			"--leader-election-namespace", operatorNamespace, "--min-propagation-delay", rotationDelay,
		}},
	}, err
}

// environment is what users run the operator with, as far as it doesn't depend on the machine.
func environment(root string) (env []string, err error) {
	text, err := os.ReadFile(filepath.Join(root, "config", "manager", "deployment.yaml"))
	if err != nil {
		return nil, err
	}
	deployment := &appsv1.Deployment{}
	if err := yaml.UnmarshalStrict(text, deployment); err != nil {
		return nil, err
	}
	for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
		if variable.ValueFrom == nil {
			env = append(env, variable.Name+"="+variable.Value)
		}
	}
	return env, nil
}

// running is a contender at work.
type running struct {
	*process
	contender
	server            *server
	namespaces        []string // that it works in; none for all
	command           *exec.Cmd
	log               *os.File
	metrics, profiles string // addresses of the operator's
	ended             chan struct{}
	failure           error // why it ended, once it has
}

// start a process of a contender and wait until it says it is ready.
func (c contender) start(ctx context.Context, s *server, namespaces []string) (*running, error) {
	kubeconfig, err := s.kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{contender: c, server: s, namespaces: namespaces, ended: make(chan struct{})}
	args := append([]string{"--kubeconfig", kubeconfig}, c.flags...)
	probes := ""
	if len(namespaces) > 0 {
		args = append(args, "--namespaces", strings.Join(namespaces, ","))
	}
	if c.name == "operator" {
		if probes, err = freeAddress(ctx); err != nil {
			return nil, err
		}
		if r.metrics, err = freeAddress(ctx); err != nil {
			return nil, err
		}
		if c.folder != "" {
			if r.profiles, err = freeAddress(ctx); err != nil {
				return nil, err
			}
			args = append(args, "--pprof-bind-address", r.profiles)
		}
		args = append(args, "--health-probe-bind-address", probes, "--metrics-bind-address", r.metrics)
	}
	if r.log, err = os.CreateTemp(s.folder, c.name+"-*.log"); err != nil {
		return nil, err
	}
	r.command = exec.CommandContext(ctx, c.program, args...)
	r.command.Env = append(os.Environ(), c.env...)
	r.command.Stdout, r.command.Stderr = r.log, r.log
	if err := r.command.Start(); err != nil {
		return nil, err
	}
	r.process = &process{r.command.Process.Pid}
	go func() {
		r.failure = r.command.Wait()
		close(r.ended)
	}()
	err = r.awaitReady(ctx, probes)
	return r, err
}

// awaitReady waits for the operator's probe, or for what the floor writes.
func (r *running) awaitReady(ctx context.Context, probes string) error {
	return poll(ctx, time.Minute, r.name+" being ready", func() (bool, error) {
		select {
		case <-r.ended:
			text, _ := os.ReadFile(r.log.Name())
			return false, fmt.Errorf("%s ended: %w: %s", r.name, r.failure, text)
		default:
		}
		if probes == "" {
			info, err := r.log.Stat()
			return err == nil && info.Size() > 0, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probes+"/readyz", http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // nothing listens there yet
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, nil
	})
}

// stop as a user would.
func (r *running) stop() {
	_ = r.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		_ = r.command.Process.Kill()
		<-r.ended
	}
	_ = r.log.Close()
}

// passes counts those that the operator's controller of MTLSCertificates has made, and those it still has to make: NaN when it
// can't tell yet.
func (r *running) passes(ctx context.Context) (made, left float64, err error) {
	token, err := r.server.token(ctx, scraper)
	if err != nil {
		return 0, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.metrics+"/metrics", http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // self-signed, on loopback
	}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return 0, math.NaN(), nil // nothing listens there yet
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("metrics of the operator: %s", response.Status)
	}
	families, err := parseMetrics(response.Body)
	if err != nil {
		return 0, 0, err
	}
	for _, metric := range families["controller_runtime_reconcile_total"].GetMetric() {
		if labelsOf(metric)["controller"] == "mtlscertificate" {
			made += metric.GetCounter().GetValue()
		}
	}
	for _, gauge := range []string{"workqueue_depth", "controller_runtime_active_workers"} {
		for _, metric := range families[gauge].GetMetric() {
			left += metric.GetGauge().GetValue()
		}
	}
	return made, left, nil
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

// poll until something is so.
func poll(ctx context.Context, limit time.Duration, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s: not after %s", what, limit))
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
