package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/controllers"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestEveryStepAndEveryBlockerHasALine(t *testing.T) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	blocked := plan.RotationPlan{
		Stage: "Distributing", Message: "waits for Pod shop/web",
		Blockers: []plan.Blocker{{Kind: "Pod", Namespace: "shop", Name: "web", Message: "restart it"}},
	}
	mint := plan.Step{Kind: plan.StepMint, Number: 2, Cause: "RenewalDue"}
	var out strings.Builder
	err := write(&out, []plan.Moment{
		{At: noon, Plan: plan.RotationPlan{Stage: "Stable", Due: noon.Add(time.Hour)}},
		{At: noon.Add(time.Hour), Plan: plan.RotationPlan{Stage: "Stable", Step: mint}},
		{At: noon.Add(2 * time.Hour), Plan: blocked},
		{At: noon.Add(3 * time.Hour), Plan: blocked}, // nothing new
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `AT                    STAGE         STEP     WHAT
2026-11-25T12:00:00Z  Stable        -        the next generation is made at 2026-11-25T13:00:00Z
2026-11-25T13:00:00Z  Stable        Mint 2   a CA is made and delivered to everybody: RenewalDue
2026-11-25T14:00:00Z  Distributing  -        waits for Pod shop/web
                                    blocked  Pod shop/web: restart it
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What it reads a real API server has.
func TestAnAuthorityOfARealAPIServer(t *testing.T) {
	environment := &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "..", "config", "crd")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute, // busy machines
		ControlPlaneStopTimeout:  time.Minute,
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = environment.Stop() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	admin, err := client.New(config, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "pki"}},
		&v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "my-ca"}},
	} {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	options := controllers.Options{ClusterDomain: "cluster.local"}
	year := 365 * 24 * time.Hour
	if err := run(t.Context(), &out, options, types.NamespacedName{Namespace: "pki", Name: "my-ca"}, year); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Mint 1 ", "the next generation is made at ", "Mint 2 ", "Activate 2 ", "Retire 1 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in\n%s", want, out.String())
		}
	}
}
