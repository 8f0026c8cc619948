//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// tally is what a client that makes one request after another, each over a new connection, has counted.
type tally struct{ requests, failed, serverSerials, clientSerials int }

// startLoop starts such a client, with a certificate of the namespace, on a node.
func (s *scene) startLoop(t *testing.T, name, node, certificate, url string) {
	t.Helper()
	spec := podSpec(helloClientImage, secretVolume(certificate), "--url="+url, "--loop", "--interval=20ms", "--report=1s")
	spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	s.startClient(t, name, spec)
	s.kubectl(t, "wait", "--for=condition=Ready", "pod/"+name, "--timeout", soon.String())
	s.awaitTally(t, name, "its first requests", func(c tally) bool { return c.requests > 0 })
}

// progress of a loop so far.
func (s *scene) progress(ctx context.Context, pod string) (tally, error) {
	log, err := tryKubectl(ctx, "", "--namespace", s.namespace, "logs", pod, "--tail", "5")
	if err != nil {
		return tally{}, err
	}
	return lastTally(log)
}

func lastTally(log string) (tally, error) {
	at := strings.LastIndex(log, "requests=")
	if at < 0 {
		return tally{}, fmt.Errorf("no tally in %q", log)
	}
	var c tally
	_, err := fmt.Sscanf(log[at:], "requests=%d failed=%d serverSerials=%d clientSerials=%d",
		&c.requests, &c.failed, &c.serverSerials, &c.clientSerials)
	return c, err
}

// awaitTally waits until a loop has counted enough.
func (s *scene) awaitTally(t *testing.T, pod, what string, enough func(tally) bool) tally {
	t.Helper()
	var counted tally
	await(t, pod+" counting "+what, soon, func(ctx context.Context) (err error) {
		if counted, err = s.progress(ctx, pod); err == nil && !enough(counted) {
			err = fmt.Errorf("it has counted %+v", counted)
		}
		return err
	})
	return counted
}

// endLoop ends a loop and returns what it counted. It fails if a request failed.
func (s *scene) endLoop(t *testing.T, pod string) tally {
	t.Helper()
	s.signal(t, pod, "SIGTERM")
	code, log := s.awaitEnd(t, pod)
	counted, err := lastTally(log)
	must(t, err)
	if code != 0 || counted.failed > 0 || counted.requests == 0 {
		t.Errorf("%s: exit code %d, %d of %d requests failed: %s", pod, code, counted.failed, counted.requests, log)
	}
	return counted
}
