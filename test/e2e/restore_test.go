//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// backup are README's commands, for one namespace.
const backup = `
clean='del(.items[] | .status, (.metadata | .uid, .resourceVersion, .creationTimestamp, .generation, .ownerReferences))'
kubectl get secrets --namespace "$1" --selector mtls-operator.io/generation --output json | jq "$clean" > secrets.json
kubectl get mca,mcert --namespace "$1" --output json | jq "$clean" > objects.json
`

// saved is a namespace as it was saved.
type saved struct {
	*scene
	folder string
	issued map[string]string
}

// restore has a namespace saved, deleted and applied again, which gives every object another uid.
func restore() types.Feature {
	feature, s := newFeature("a backup", "restore")
	kept := &saved{scene: s}
	return feature.
		WithSetup("certificates", s.step(func(t *testing.T) {
			s.makeServers(t, 3)
			s.apply(t, retained)
			s.waitReady(t, "mcert/retained")
			kept.save(t)
		})).
		Assess("restored as README says re-issues nothing", s.step(kept.secretsFirst)).
		Assess("is owned by what was restored", s.step(kept.owned)).
		Assess("restored in the other order loses no CA", s.step(kept.objectsFirst)).
		WithTeardown("files", s.step(func(t *testing.T) { must(t, os.RemoveAll(kept.folder)) })).
		Feature()
}

func (k *saved) save(t *testing.T) {
	var err error
	k.folder, err = os.MkdirTemp("", "e2e-backup")
	must(t, err)
	k.issued = k.scene.issued(t)
	kubectl := fmt.Sprintf("set -euo pipefail\nkubectl() { command kubectl --context %q \"$@\"; }\n", inCluster)
	command := exec.CommandContext(t.Context(), "bash", "-c", kubectl+backup, "backup", k.namespace)
	command.Dir = k.folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// lose deletes the namespace with all that is in it.
func (k *saved) lose(t *testing.T) {
	kubectl(t, "", "delete", "namespace", k.namespace, "--timeout", soon.String())
	createNamespace(t, k.namespace)
}

func (k *saved) apply(t *testing.T, file string, flags ...string) {
	t.Helper()
	kubectl(t, "", append([]string{"apply", "--server-side", "-f", filepath.Join(k.folder, file)}, flags...)...)
}

func (k *saved) secretsFirst(t *testing.T) {
	k.lose(t)
	k.apply(t, "secrets.json")
	k.apply(t, "objects.json")
	k.waitReady(t, "mca/ca", "mcert/server-0", "mcert/server-1", "mcert/server-2", "mcert/retained")
	if now := k.scene.issued(t); !maps.Equal(now, k.issued) {
		t.Errorf("what was issued before isn't what is there now:\n%q\n%q", k.issued, now)
	}
}

// owned: the garbage collector takes the Secret of a certificate that goes, and no other.
func (k *saved) owned(t *testing.T) {
	k.kubectl(t, "delete", "mcert", "server-0", "retained")
	k.kubectl(t, "wait", "--for=delete", "secret/server-0", "--timeout", soon.String())
	want := maps.Clone(k.issued)
	delete(want, "server-0")
	if now := k.scene.issued(t); !maps.Equal(now, want) {
		t.Errorf("what should be left isn't what is there now:\n%q\n%q", want, now)
	}
}

func (k *saved) objectsFirst(t *testing.T) {
	k.lose(t)
	k.apply(t, "objects.json")
	told := k.awaitCondition(t, &v1alpha1.MTLSAuthority{}, "ca", v1alpha1.ConditionReady, metav1.ConditionFalse,
		v1alpha1.ReasonCALost)
	t.Logf("before its Secret is there: %s", told.Message)
	k.apply(t, "secrets.json", "--force-conflicts") // what was issued meanwhile gives way
	k.waitReady(t, "mca/ca", "mcert/server-0", "mcert/server-1", "mcert/server-2", "mcert/retained")
	await(t, "everything being what was saved", soon, func(context.Context) error {
		if now := k.scene.issued(t); !maps.Equal(now, k.issued) {
			return fmt.Errorf("there is %q, want %q", now, k.issued)
		}
		return nil
	})
}
