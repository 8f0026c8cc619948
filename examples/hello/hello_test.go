// Package hello_test runs the two programs of the sample as a cluster does: as processes, on volumes that change under
// them.
package hello_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// A change of CA in the order that is safe: roots first, then the certificates, the old root last. The client hammers
// the server all the while, each program learns of each step by itself, and no handshake may fail.
func TestAChangeOfCAUnderLoad(t *testing.T) {
	bin := build(t)
	old, next := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "my-ca G2")
	server := member{pair: old.Issue(t, tlstest.Server())}
	client := member{pair: old.Issue(t, tlstest.Client("my-client"))}
	server.dir = tlstest.Volume(t, tlstest.Files(t, server.pair, old))
	client.dir = tlstest.Volume(t, tlstest.Files(t, client.pair, old))

	server.start(t, bin, "server", "--addr=127.0.0.1:0", "--allow=my-client", "--reload-interval=5ms", "--dir", server.dir)
	_, url, _ := strings.Cut(server.stderr.Wait(t, "msg=serving"), "url=")
	client.start(t, bin, "client", "--url", url, "--loop", "--interval=1ms", "--report=5ms", "--reload-interval=5ms",
		"--dir", client.dir)
	client.stdout.Wait(t, "progress", "serverSerials=1 clientSerials=1")

	server.change(t, server.pair, old, next)
	client.change(t, client.pair, old, next)
	server.change(t, next.Issue(t, tlstest.Server()), old, next)
	client.stdout.Wait(t, "serverSerials=2 clientSerials=1")
	client.change(t, next.Issue(t, tlstest.Client("my-client")), old, next)
	client.stdout.Wait(t, "serverSerials=2 clientSerials=2")
	server.change(t, server.pair, next)
	client.change(t, client.pair, next)
	server.change(t, next.Issue(t, tlstest.Server()), next)
	client.stdout.Wait(t, "serverSerials=3 clientSerials=2")

	if code := client.stop(t); code != 0 {
		t.Errorf("the client ended with exit code %d", code)
	}
	if code := server.stop(t); code != 0 {
		t.Errorf("the server ended with exit code %d", code)
	}
	printed := strings.TrimSpace(client.stdout.String())
	summary := printed[strings.LastIndex(printed, "\n")+1:]
	if !strings.HasPrefix(summary, "requests=") ||
		!strings.HasSuffix(summary, " failed=0 serverSerials=3 clientSerials=2") {
		t.Errorf("the client ended with %q, and printed:\n%s", summary, printed)
	}
	for _, trouble := range []string{"TLS handshake error", "level=ERROR"} {
		if log := server.stderr.String(); strings.Contains(log, trouble) {
			t.Errorf("the server logged errors:\n%s", log)
		}
	}
}

// The wrong order: the server's certificate changes before the client knows the new root. If the load didn't notice
// that, its zero failures above would mean nothing.
func TestTheLoadNoticesAnUnsafeChange(t *testing.T) {
	bin := build(t)
	old, next := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "my-ca G2")
	server := member{pair: old.Issue(t, tlstest.Server())}
	client := member{pair: old.Issue(t, tlstest.Client("my-client"))}
	server.dir = tlstest.Volume(t, tlstest.Files(t, server.pair, old))
	client.dir = tlstest.Volume(t, tlstest.Files(t, client.pair, old))
	server.start(t, bin, "server", "--addr=127.0.0.1:0", "--reload-interval=5ms", "--dir", server.dir)
	_, url, _ := strings.Cut(server.stderr.Wait(t, "msg=serving"), "url=")
	client.start(t, bin, "client", "--url", url, "--loop", "--interval=1ms", "--report=5ms", "--dir", client.dir)
	client.stdout.Wait(t, "progress", "failed=0 serverSerials=1 clientSerials=1")

	server.change(t, next.Issue(t, tlstest.Server()), old, next)
	server.stderr.Wait(t, "TLS handshake error", "bad certificate")
	if code := client.stop(t); code != 1 {
		t.Errorf("the client ended with exit code %d, want 1", code)
	}
	client.stdout.Wait(t, "failures=", `signed by \"CN=my-ca G2\" and our ca.crt holds no such CA`)
	client.stderr.Wait(t, "requests failed")
}

// member is one of the two programs with its volume.
type member struct {
	dir            string
	pair           tlstest.Pair
	process        *exec.Cmd
	stdout, stderr tlstest.Lines
}

func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./server", "./client").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return dir
}

// start runs a program until stop, or at the latest until the test ends.
func (m *member) start(t *testing.T, bin, program string, args ...string) {
	t.Helper()
	m.process = exec.CommandContext(t.Context(), filepath.Join(bin, program), args...)
	m.process.Stdout, m.process.Stderr = &m.stdout, &m.stderr
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.process.Wait() })
}

// change swaps the volume and waits until the program has it in force.
func (m *member) change(t *testing.T, pair tlstest.Pair, roots ...*tlstest.Authority) {
	t.Helper()
	m.pair = pair
	tlstest.Swap(t, m.dir, tlstest.Files(t, pair, roots...))
	serials := make([]string, len(roots))
	for i, root := range roots {
		serials[i] = reload.Serial(root.Certificate)
	}
	list := "[" + strings.Join(serials, " ") + "]"
	m.stderr.Wait(t, "in force", "serial="+reload.Serial(pair.Certificate), list)
}

// stop ends the program as kubelet does and returns its exit code.
func (m *member) stop(t *testing.T) int {
	t.Helper()
	if err := m.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.process.Wait() }()
	err := tlstest.Await(t, "the end of the process", ended)
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return m.process.ProcessState.ExitCode()
}
