package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// testVersion is what the linker is told for the tests.
	testVersion = "v0.0.0-test"
	// patience is for what takes a second on an idle machine.
	patience = time.Minute
	// soon is much less than the 15 s of a Lease that isn't handed over, and far more than a stop takes.
	soon = 10 * time.Second
)

// binary compiles the manager with the Makefile's flags, so that both share the compiler's cache, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "manager")
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X main.version="+testVersion,
		"-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return path, nil
})

// buildDir outlives the tests that share the binary in it.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "manager")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	ctrl.SetLogger(logr.Discard()) // envtest's own lines
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// process is a running manager.
type process struct {
	command *exec.Cmd
	out     bytes.Buffer
	log     lockedBuffer
	ended   chan struct{}
}

// start runs the binary until the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("build the manager: %v", err)
	}
	p := &process{command: exec.CommandContext(t.Context(), path, args...), ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = &p.out, &p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // exitCode tells
	}()
	t.Cleanup(func() { <-p.ended })
	return p
}

// exitCode waits for the end.
func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.command.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the manager still runs after %s; its log:\n%s", patience, p.log.String())
		return -1
	}
}

// stop sends SIGTERM, after which the process has to end soon and well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	before := time.Now()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%v; its log:\n%s", err, p.log.String())
	}
	code := p.exitCode(t)
	if took := time.Since(before); code != 0 || took > soon {
		t.Errorf("SIGTERM gives exit code %d after %s, want 0 within %s; the log:\n%s", code, took, soon, p.log.String())
	}
}

// logs is a check that the log has a text.
func (p *process) logs(text string) func(context.Context) error {
	return func(context.Context) error {
		if !strings.Contains(p.log.String(), text) {
			return fmt.Errorf("%q isn't in the log", text)
		}
		return nil
	}
}

// eventually polls until check passes, and fails with its last error and the logs of the processes when it never does.
func eventually(t *testing.T, check func(ctx context.Context) error, processes ...*process) {
	t.Helper()
	var last error
	poll := func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, poll); err != nil {
		for i, p := range processes {
			t.Logf("log of manager %d:\n%s", i, p.log.String())
		}
		t.Fatalf("%v: %v", err, last)
	}
}

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// freeAddress is an address on loopback on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// get returns the status and body of a GET. The metrics' certificate is one that the manager makes itself.
func get(ctx context.Context, url, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestTheBinaryTellsItsVersion(t *testing.T) {
	p := start(t, "--version")
	if code := p.exitCode(t); code != 0 || p.out.String() != testVersion+"\n" || p.log.String() != "" {
		t.Errorf("got exit code %d, %q and errors %q, want 0, %s and none", code, p.out.String(), p.log.String(), testVersion)
	}
}

func TestTheBinaryTellsItsFlags(t *testing.T) {
	p := start(t, "--help")
	if code := p.exitCode(t); code != 0 || !strings.Contains(p.out.String(), "--namespaces LIST") || p.log.String() != "" {
		t.Errorf("got exit code %d, %q and errors %q, want 0, the flags and none", code, p.out.String(), p.log.String())
	}
}

func TestTheBinaryRefusesWrongFlagsInOneLine(t *testing.T) {
	p := start(t, "--concurrency=none", "--log-format=xml", "--leader-elect=false")
	const want = `manager: --concurrency "none": ` + writeConcurrency + `; --log-format "xml": write json or text` + "\n"
	if code := p.exitCode(t); code != 2 || p.log.String() != want || p.out.String() != "" {
		t.Errorf("got exit code %d, errors %q and output %q, want 2, %q and none", code, p.log.String(), p.out.String(), want)
	}
}

func TestAnAPIServerThatIsNotThereIsWaitedFor(t *testing.T) {
	address := freeAddress(t)
	p := start(t, "--kubeconfig", kubeconfigFor(t, "http://"+address), "--leader-elect=false",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	eventually(t, p.logs("waiting for the API server"), p)
	eventually(t, p.logs(address), p)
	p.stop(t)
}

func TestAnAPIServerThatIsNotReadyIsWaitedFor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		http.Error(response, "[-]etcd failed", http.StatusInternalServerError)
	}))
	defer server.Close()
	p := start(t, "--kubeconfig", kubeconfigFor(t, server.URL), "--leader-elect=false",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	eventually(t, p.logs("waiting for the API server"), p)
	p.stop(t)
}

// kubeconfigFor writes a kubeconfig without credentials.
func kubeconfigFor(t *testing.T, server string) string {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, "+
		"contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: '%s'}}]}", server)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// status is a check that a GET of url has a status.
func status(url, token string, want int) func(context.Context) error {
	return func(ctx context.Context) error {
		got, body, err := get(ctx, url, token)
		if err == nil && got != want {
			err = errors.New(body)
		}
		if err != nil {
			return fmt.Errorf("%s gives %d, want %d: %w", url, got, want, err)
		}
		return nil
	}
}
