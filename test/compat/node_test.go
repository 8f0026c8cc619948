package compat

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func TestNodeServesAndCurlAsksWithEveryKeyType(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node isn't on this machine")
	}
	for _, keyType := range pki.KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			authority := newAuthority(t, keyType)
			server := issue(t, authority, keyType, pki.UsageServer)
			client := issue(t, authority, keyType, pki.UsageClient)
			url := "https://localhost:" + startNode(t, server) + "/"

			answer, code := curl(t, url, "--cacert", client.path("ca.crt"), "--cert", client.path("tls.crt"),
				"--key", client.path("tls.key"))
			if answer != "Hello World my-client\n" || code != 0 {
				t.Errorf("curl with all three files says %q and exits with %d", answer, code)
			}
			if _, code := curl(t, url); code != 60 {
				t.Errorf("curl without the CA exits with %d, want 60", code)
			}
			if answer, code := curl(t, url, "--cacert", client.path("ca.crt")); code == 0 {
				t.Errorf("curl without a client certificate gets %q", answer)
			}
			stranger := issue(t, newAuthority(t, keyType), keyType, pki.UsageClient)
			if answer, code := curl(t, url, "--cacert", client.path("ca.crt"), "--cert", stranger.path("tls.crt"),
				"--key", stranger.path("tls.key")); code == 0 {
				t.Errorf("curl with a certificate of another CA gets %q", answer)
			}
		})
	}
}

// startNode starts the server of the walk-through and returns its port.
func startNode(t *testing.T, server files) string {
	t.Helper()
	command := exec.Command("node", "testdata/server.js", server.path("ca.crt"), server.path("tls.crt"), server.path("tls.key"))
	input, err := command.StdinPipe()
	check(t, err)
	output, err := command.StdoutPipe()
	check(t, err)
	check(t, command.Start())
	t.Cleanup(func() {
		_ = input.Close() // it ends then
		_ = command.Wait()
	})
	port, err := bufio.NewReader(output).ReadString('\n')
	check(t, err)
	return strings.TrimSpace(port)
}

// curl returns the answer and the exit code.
func curl(t *testing.T, url string, arguments ...string) (answer string, code int) {
	t.Helper()
	output, err := exec.Command("curl", append(arguments, "--silent", "--noproxy", "*", "--max-time", "20", "--resolve",
		strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/")+":127.0.0.1", url)...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(output), exit.ExitCode()
	}
	check(t, err)
	return string(output), 0
}
