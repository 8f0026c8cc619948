//go:build e2e

package e2e

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/types"
)

// renewals of both sides that a test waits for, one after the other.
const renewals = 4

const slowClient = `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: slow-client}
spec: {authorityRef: {name: my-ca}, usages: [Client], commonName: my-client}
`

// renewal shows that nobody notices one. The node of the clients and servers looks at its Secrets every 10 s, that of one
// more client as often as kubelet does when it isn't told anything.
func renewal() types.Feature {
	feature, s := newFeature("renewal", "renewal")
	return feature.
		WithSetup("servers and clients", s.step(s.startTraffic)).
		Assess("reaches both sides without a failed request", s.step(s.renewBothSides)).
		Assess("restarts nothing", s.step(s.wantNoRestart)).
		Feature()
}

func (s *scene) startTraffic(t *testing.T) {
	for _, sample := range []string{"my-ca", "hello-server", "my-client", "hello-deployment"} {
		s.kubectl(t, "apply", "-f", filepath.Join(manifests("samples"), sample+".yaml"))
	}
	s.apply(t, slowClient)
	s.waitReady(t, "mcert/hello-server", "mcert/my-client", "mcert/slow-client")
	s.awaitRollout(t, "hello")
	s.startLoop(t, "loop", worker(), "my-client", "https://hello:8443/")
	s.startLoop(t, "slow-loop", controlPlane(), "slow-client", "https://hello:8443/")
}

func (s *scene) renewBothSides(t *testing.T) {
	for _, loop := range []string{"loop", "slow-loop"} {
		s.awaitTally(t, loop, "requests", func(c tally) bool { return c.requests > 10 })
	}
	s.renew(t, "slow-client")
	slow := time.Now()
	for served := 2; served <= 1+renewals; served++ {
		s.renew(t, "hello-server")
		s.renew(t, "my-client")
		start := time.Now()
		s.awaitTally(t, "loop", strconv.Itoa(served)+" certificates on each side", func(c tally) bool {
			return c.serverSerials >= served && c.clientSerials >= served
		})
		t.Logf("renewal %d was in use on both sides after %s", served-1, elapsed(start))
	}
	s.awaitTally(t, "slow-loop", "2 certificates of its own", func(c tally) bool { return c.clientSerials == 2 })
	t.Logf("with kubelet's default interval a renewal was in use within %s", elapsed(slow))

	for _, loop := range []string{"loop", "slow-loop"} {
		counted := s.endLoop(t, loop)
		t.Logf("%s: %+v", loop, counted)
	}
}
