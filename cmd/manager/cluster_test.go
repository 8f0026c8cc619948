package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/controllers"
)

// cluster is an API server that the manager reaches by a kubeconfig.
type cluster struct {
	environment *envtest.Environment
	typed       *kubernetes.Clientset
	kubeconfig  string
}

// TestTheManagerOnARealAPIServer runs the binary as its pods do, from an empty cluster on.
func TestTheManagerOnARealAPIServer(t *testing.T) {
	c := newCluster(t)
	t.Run("without the kinds it ends and says what to apply", c.testMissingKinds)
	c.installCRDs(t)
	t.Run("it works as soon as an API server that was away is there", c.testLateAPIServer)
	t.Run("it is ready, and its metrics are for who may get them", c.testEndpoints)
	t.Run("at the finest level its logs hold no key", c.testLogs)
	t.Run("of two replicas one leads, and hands over when it stops", c.testHandover)
	t.Run("operators of other namespaces lead side by side", c.testShards)
}

func (c *cluster) testMissingKinds(t *testing.T) {
	p := start(t, c.flags("--leader-elect=false")...)
	if code := p.exitCode(t); code != 1 || !strings.Contains(p.log.String(), "config/crd") {
		t.Errorf("got exit code %d and log\n%s\nwant 1 and config/crd in it", code, p.log.String())
	}
}

// testLateAPIServer has the manager reach the API server by an address where nothing listens at first.
func (c *cluster) testLateAPIServer(t *testing.T) {
	text, err := os.ReadFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	address, target := freeAddress(t), strings.Trim(strings.TrimPrefix(c.environment.Config.Host, "https://"), "/")
	if !bytes.Contains(text, []byte(target)) {
		t.Fatalf("%s isn't in the kubeconfig", target)
	}
	late, probes := *c, freeAddress(t)
	late.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(late.kubeconfig, bytes.ReplaceAll(text, []byte(target), []byte(address)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, late.flags("--leader-elect=false", "--health-probe-bind-address", probes)...)
	eventually(t, p.logs("waiting for the API server"), p)
	forward(t, address, target)
	eventually(t, status("http://"+probes+"/readyz", "", http.StatusOK), p)
	p.stop(t)
}

// forward has connections to an address end up at another until the test ends.
func forward(t *testing.T, address, target string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // closed
			}
			far, err := new(net.Dialer).DialContext(t.Context(), "tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			pipe := func(to, from net.Conn) { _, _ = io.Copy(to, from); _ = to.Close() }
			go pipe(near, far)
			go pipe(far, near)
		}
	}()
}

func (c *cluster) testEndpoints(t *testing.T) {
	metrics, probes, profiles := freeAddress(t), freeAddress(t), freeAddress(t)
	p := start(t, c.flags("--leader-elect=false", "--metrics-bind-address", metrics, "--health-probe-bind-address", probes,
		"--pprof-bind-address", profiles)...)
	eventually(t, status("http://"+probes+"/readyz", "", http.StatusOK), p)
	eventually(t, status("http://"+probes+"/healthz", "", http.StatusOK), p)
	eventually(t, status("http://"+profiles+"/debug/pprof/heap", "", http.StatusOK), p)

	url := "https://" + metrics + "/metrics"
	eventually(t, status(url, "", http.StatusUnauthorized), p)
	eventually(t, status(url, "not-a-token", http.StatusUnauthorized), p)
	eventually(t, status(url, " which-the-api-server-takes-for-none", http.StatusUnauthorized), p)
	eventually(t, status(url, c.token(t, "nobody"), http.StatusForbidden), p)
	scraper := c.token(t, "scraper")
	eventually(t, func(ctx context.Context) error {
		_, text, err := get(ctx, url, scraper)
		for _, want := range []string{
			`mtls_collector_success{kind="MTLSCertificate"} 1`,
			`mtls_collector_success{kind="MTLSAuthority"} 1`,
			`mtls_issuances_total{reason="RenewalDue",result="success"} 0`,
			`controller_runtime_max_concurrent_reconciles{controller="mtlscertificate"} 3`,
		} {
			if !strings.Contains(text, want) {
				return errors.Join(err, fmt.Errorf("the metrics lack %s in:\n%s", want, text))
			}
		}
		return err
	}, p)
	p.stop(t)
}

func (c *cluster) testLogs(t *testing.T) {
	p := start(t, c.flags("--leader-elect=false", "--log-level=5")...)
	keys := c.issue(t, p)
	p.stop(t)
	log := p.log.String()
	if !strings.Contains(log, `"level":"DEBUG"`) || !strings.Contains(log, "my-client") {
		t.Errorf("want a log of details about my-client, got:\n%s", log)
	}
	for _, secret := range append(keys, "PRIVATE KEY") {
		if strings.Contains(log, secret) {
			t.Error("a private key, or a part of it, is in the log")
		}
	}
}

func (c *cluster) testHandover(t *testing.T) {
	const lease = "mtls-operator.mtls-operator.io"
	first, _ := c.replica(t)
	one := c.leader(t, lease, "", first)
	second, probes := c.replica(t)
	eventually(t, status("http://"+probes+"/readyz", "", http.StatusOK), second)
	eventually(t, second.logs("Attempting to acquire leader lease"), second)
	if holder := c.holder(t, lease); holder != one {
		t.Errorf("the second replica took the Lease from the first: %q, then %q", one, holder)
	}

	first.stop(t)
	before := time.Now()
	c.leader(t, lease, one, second)
	if took := time.Since(before); took > soon {
		t.Errorf("the second replica leads after %s: the Lease wasn't handed over", took)
	}

	second.stop(t)
	if holder := c.holder(t, lease); holder != "" {
		t.Errorf("%q still holds the Lease after its end", holder)
	}
}

func (c *cluster) testShards(t *testing.T) {
	first, _ := c.replica(t, "--namespaces=default")
	second, _ := c.replica(t, "--namespaces=kube-system,kube-public")
	c.leader(t, leaseOf([]string{"default"}), "", first)
	c.leader(t, leaseOf([]string{"kube-system", "kube-public"}), "", second)
	first.stop(t)
	second.stop(t)
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	environment := &envtest.Environment{ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("%v: run `make controlplane` and set KUBEBUILDER_ASSETS to what `make -s controlplane-path` prints", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{environment, typed, filepath.Join(t.TempDir(), "kubeconfig")}
	if err := os.WriteFile(c.kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	c.allowScraper(t)
	return c
}

func (c *cluster) installCRDs(t *testing.T) {
	t.Helper()
	options := envtest.CRDInstallOptions{Paths: []string{"../../config/crd"}, ErrorIfPathMissing: true}
	if _, err := envtest.InstallCRDs(c.environment.Config, options); err != nil {
		t.Fatal(err)
	}
}

// allowScraper lets ServiceAccount scraper get /metrics, by the ClusterRole rule that people are told to use.
func (c *cluster) allowScraper(t *testing.T) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "scraper"}
	role := &rbacv1.ClusterRole{
		ObjectMeta: meta,
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scraper"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "scraper"}},
	}
	if _, err := c.typed.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.typed.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// token makes ServiceAccount name and returns a token of it.
func (c *cluster) token(t *testing.T, name string) string {
	t.Helper()
	accounts := c.typed.CoreV1().ServiceAccounts("default")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := accounts.Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// issue makes a CA and a certificate and waits for both Secrets. It returns what must be nowhere else: each line of the
// keys' PEM, as it is and as the API has it.
func (c *cluster) issue(t *testing.T, p *process) []string {
	t.Helper()
	objects, err := client.New(c.environment.Config, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }
	for _, object := range []client.Object{
		&v1alpha1.MTLSAuthority{ObjectMeta: meta("my-ca")},
		&v1alpha1.MTLSCertificate{
			ObjectMeta: meta("my-client"),
			Spec: v1alpha1.MTLSCertificateSpec{
				AuthorityRef: v1alpha1.AuthorityRef{Name: "my-ca"},
				Usages:       []v1alpha1.Usage{v1alpha1.UsageClient},
				CommonName:   "my-client",
			},
		},
	} {
		if err := objects.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	var parts []string
	for _, name := range []string{"my-ca-ca-1", "my-client"} {
		var secret corev1.Secret
		eventually(t, func(ctx context.Context) error {
			return objects.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &secret)
		}, p)
		key := secret.Data[v1alpha1.PrivateKeyKey]
		lines := strings.Split(strings.TrimSpace(string(key)), "\n")
		if len(lines) < 3 {
			t.Fatalf("Secret %q has no key in PEM", name)
		}
		encoded := base64.StdEncoding.EncodeToString(key)
		parts = append(parts, lines[1:len(lines)-1]...)
		parts = append(parts, encoded[len(encoded)/2:])
	}
	return parts
}

// flags to reach the cluster, with servers off unless more turns them on.
func (c *cluster) flags(more ...string) []string {
	return append([]string{
		"--kubeconfig", c.kubeconfig, "--concurrency=3",
		"--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, more...)
}

// replica starts a manager that takes part in leader election, and returns the address of its probes too.
func (c *cluster) replica(t *testing.T, more ...string) (*process, string) {
	t.Helper()
	probes := freeAddress(t)
	flags := c.flags("--leader-election-namespace=kube-system", "--health-probe-bind-address", probes)
	return start(t, append(flags, more...)...), probes
}

// leader waits until somebody other than previous holds the Lease, and returns their identity.
func (c *cluster) leader(t *testing.T, lease, previous string, p *process) string {
	t.Helper()
	holder := ""
	eventually(t, func(ctx context.Context) error {
		found, err := c.typed.CoordinationV1().Leases("kube-system").Get(ctx, lease, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if holder = *found.Spec.HolderIdentity; holder == "" || holder == previous {
			return fmt.Errorf("%q holds Lease %s", holder, lease)
		}
		return nil
	}, p)
	return holder
}

// holder of the Lease now; empty when it was handed back.
func (c *cluster) holder(t *testing.T, lease string) string {
	t.Helper()
	found, err := c.typed.CoordinationV1().Leases("kube-system").Get(t.Context(), lease, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *found.Spec.HolderIdentity
}
