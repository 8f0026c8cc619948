//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/types"
)

// samples is what README tells a user to try, as it is written there.
func samples() types.Feature {
	feature, s := newFeature("the samples", "samples")
	return feature.
		Assess("come up", s.step(s.samplesComeUp)).
		Assess("let the client in and refuse others", s.step(s.othersAreRefused)).
		Assess("are the same from outside of the cluster", s.step(s.sameFromOutside)).
		Assess("serve the walk-through by hand", s.step(s.walkThrough)).
		Feature()
}

func (s *scene) samplesComeUp(t *testing.T) {
	s.kubectl(t, "apply", "-f", manifests("samples"))
	s.waitReady(t, "mca/my-ca", "mcert/hello-server", "mcert/my-client")
	s.awaitRollout(t, "hello")
	if pods := s.pods(t, "hello"); len(pods) != 2 {
		t.Errorf("%d pods serve, want 2", len(pods))
	}
	s.kubectl(t, "wait", "--for=condition=Complete", "job/hello-client", "--timeout", soon.String())
	if answer := s.kubectl(t, "logs", "job/hello-client"); answer != "Hello World\n" {
		t.Errorf("https://hello:8443/ answers %q", answer)
	}
}

const strangers = `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSAuthority
metadata: {name: other-ca}
---
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: stranger}
spec: {authorityRef: {name: other-ca}, usages: [Client], commonName: my-client}
---
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: unlisted}
spec: {authorityRef: {name: my-ca}, usages: [Client], commonName: unlisted}
`

func (s *scene) othersAreRefused(t *testing.T) {
	s.apply(t, strangers)
	s.waitReady(t, "mcert/stranger", "mcert/unlisted")
	s.makeExpired(t, "expired", "my-ca-ca-1", "my-client")

	clients := []struct {
		sentence, name, pair, roots string
		code                        int32
		says                        string
	}{
		{"the client of the samples", "listed", "my-client", "my-client", 0, "Hello World"},
		{"a certificate of another authority", "stranger", "stranger", "my-client", 1, "unknown certificate authority"},
		{"an expired certificate", "expired", "expired", "my-client", 1, "expired certificate"},
		{"a name that isn't on the list", "unlisted", "unlisted", "unlisted", 1, "403 Forbidden"},
		{"a client without the CA", "rootless", "my-client", "stranger", 1, "certificate signed by unknown authority"},
	}
	for _, c := range clients {
		s.startClient(t, c.name, podSpec(helloClientImage, projected(c.pair, c.roots), "--url=https://hello:8443/"))
	}
	for _, c := range clients {
		code, output := s.awaitEnd(t, c.name)
		if code != c.code || !strings.Contains(output, c.says) {
			t.Errorf("%s: exit code %d and %q, want %d and %q", c.sentence, code, output, c.code, c.says)
		}
	}
}

func (s *scene) sameFromOutside(t *testing.T) {
	client, stranger := s.files(t, "my-client"), s.files(t, "stranger")
	unlisted, expired := s.files(t, "unlisted"), s.files(t, "expired")
	refused := []int{35, 55, 56} // which one depends on whether curl hears it while it connects, sends or receives

	for _, c := range []struct {
		sentence    string
		roots, pair files // none: the program isn't told of any
		codes       []int
		curl        string
		openssl     string
	}{
		{"all three files", client, client, []int{0}, "Hello World", "Verification: OK"},
		{"no CA", none, client, []int{60}, "", "Verification error: unable to verify the first certificate"},
		{"no certificate", client, none, refused, "", "certificate required"},
		{"a certificate of another authority", client, stranger, refused, "", "unknown ca"},
		{"an expired certificate", client, expired, refused, "", "certificate expired"},
		{"a name that isn't on the list", client, unlisted, []int{0}, "is not allowed in", "403 Forbidden"},
	} {
		t.Run("curl with "+c.sentence, func(t *testing.T) {
			code, output := curl(t, "https://"+s.forward(t, "service/hello", "8443")+"/", c.roots, c.pair)
			if !slices.Contains(c.codes, code) || !strings.Contains(output, c.curl) {
				t.Errorf("exit code %d and %q, want one of %d and %q", code, output, c.codes, c.curl)
			}
		})
		t.Run("openssl with "+c.sentence, func(t *testing.T) {
			output := openssl(t, s.forward(t, "service/hello", "8443"), c.roots, c.pair)
			if !strings.Contains(output, c.openssl) {
				t.Errorf("it says %q, want %q", output, c.openssl)
			}
		})
	}
}
