//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forward has kubectl forward a port of the host to the cluster while the test runs, and returns its address. It is for
// one connection: kubectl ends when a connection is reset.
func (s *scene) forward(t *testing.T, target, port string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "kubectl", "--context", inCluster, "--namespace", s.namespace,
		"port-forward", target, ":"+port)
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	must(t, err)
	var local int
	if _, err := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &local); err != nil {
		t.Fatalf("kubectl port-forward says %q: %v", line, err)
	}
	return fmt.Sprintf("localhost:%d", local)
}

// files is a folder of the host with those of a TLS Secret.
type files string

const none files = ""

func (s *scene) files(t *testing.T, secret string) files {
	t.Helper()
	folder := t.TempDir()
	for name, data := range s.secret(t, secret).Data {
		must(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	return files(folder)
}

func (f files) path(name string) string { return filepath.Join(string(f), name) }

// flags of a program that is told of roots and a pair.
func flags(roots, pair files, rootsFlag, certificateFlag, keyFlag string) []string {
	var args []string
	if roots != none {
		args = append(args, rootsFlag, roots.path("ca.crt"))
	}
	if pair != none {
		args = append(args, certificateFlag, pair.path("tls.crt"), keyFlag, pair.path("tls.key"))
	}
	return args
}

// curl returns curl's exit code and what it printed.
func curl(t *testing.T, url string, roots, pair files) (code int, output string) {
	t.Helper()
	args := append([]string{"--silent", "--show-error", "--noproxy", "*", "--max-time", "20", url},
		flags(roots, pair, "--cacert", "--cert", "--key")...)
	return run(t, exec.CommandContext(t.Context(), "curl", args...))
}

// openssl returns what openssl s_client printed of a handshake and an HTTP request.
func openssl(t *testing.T, address string, roots, pair files) string {
	t.Helper()
	args := append([]string{"s_client", "-connect", address, "-servername", "localhost", "-brief", "-ign_eof"},
		flags(roots, pair, "-CAfile", "-cert", "-key")...)
	command := exec.CommandContext(t.Context(), "openssl", args...)
	command.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	_, output := run(t, command)
	return output
}

func run(t *testing.T, command *exec.Cmd) (code int, output string) {
	t.Helper()
	combined, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(combined)
	}
	must(t, err)
	return 0, string(combined)
}

// nodeClient is the client of the walk-through. Arguments: url, ca, cert and key.
const nodeClient = `
const https = require('https'), fs = require('fs');
const [url, ...names] = process.argv.slice(1);
const [ca, cert, key] = names.map((name) => fs.readFileSync(name));
https.get(url, { ca, cert, key }, (response) => response.pipe(process.stdout)).on('error', (e) => { console.log(e.code); });
`

// walkThrough has the Node.js programs, as everybody writes them once, use the files of the Secrets.
func (s *scene) walkThrough(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node isn't on this machine")
	}
	server, client, stranger := s.files(t, "hello-server"), s.files(t, "my-client"), s.files(t, "stranger")
	command := exec.CommandContext(t.Context(), "node", filepath.Join(root, "test", "compat", "testdata", "server.js"),
		server.path("ca.crt"), server.path("tls.crt"), server.path("tls.key"))
	input, err := command.StdinPipe()
	must(t, err)
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	defer func() {
		_ = input.Close() // it ends then
		_ = command.Wait()
	}()
	port, err := bufio.NewReader(output).ReadString('\n')
	must(t, err)
	url := "https://localhost:" + strings.TrimSpace(port) + "/"

	if code, answer := curl(t, url, client, client); code != 0 || answer != "Hello World my-client\n" {
		t.Errorf("curl to node: exit code %d and %q", code, answer)
	}
	ask := func(url string, roots, pair files) string {
		_, answer := run(t, exec.CommandContext(t.Context(), "node", "-e", nodeClient, url,
			roots.path("ca.crt"), pair.path("tls.crt"), pair.path("tls.key")))
		return strings.TrimSpace(answer)
	}
	cluster := "https://" + s.forward(t, "service/hello", "8443") + "/"
	for _, c := range []struct {
		sentence, url string
		roots, pair   files
		want          []string
	}{
		{"node to node", url, client, client, []string{"Hello World my-client"}},
		{"node to the cluster", cluster, client, client, []string{"Hello World"}},
		{"node with the certificate of another authority", url, client, stranger, []string{
			"ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "ECONNRESET", // the server's word, or the server's end, whichever comes first
		}},
		{"node without the CA", url, stranger, client, []string{"SELF_SIGNED_CERT_IN_CHAIN"}},
	} {
		if answer := ask(c.url, c.roots, c.pair); !slices.Contains(c.want, answer) {
			t.Errorf("%s gets %q, want %q", c.sentence, answer, c.want)
		}
	}
}
