//go:build e2e

package e2e

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// bystander is a namespace whose certificates were made before anything else and that nobody touches: whatever happens
// to the operator and the cluster is no reason to issue them anew.
var bystander = &scene{namespace: "bystander"}

// bystanderIssued are the certificates of its Secrets, the CA's too, by the Secret's name.
var bystanderIssued map[string]string

func beginBystanding(t *testing.T) {
	createNamespace(t, bystander.namespace)
	bystander.makeServers(t, 20)
	bystanderIssued = bystander.issued(t)
}

func wantBystandersUntouched(t *testing.T) {
	if now := bystander.issued(t); !maps.Equal(now, bystanderIssued) {
		t.Errorf("what was issued at first isn't what is there now:\n%q\n%q", bystanderIssued, now)
	}
}

// issued are the certificates in the Secrets of the operator, by the Secret's name.
func (s *scene) issued(t *testing.T) map[string]string {
	t.Helper()
	secrets := &corev1.SecretList{}
	must(t, cluster.List(t.Context(), secrets, client.InNamespace(s.namespace), client.HasLabels{"mtls-operator.io/generation"}))
	issued := make(map[string]string, len(secrets.Items))
	for _, secret := range secrets.Items {
		issued[secret.Name] = string(secret.Data["tls.crt"])
	}
	return issued
}
