//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	many = 300 // certificates that are being issued when the leader is killed
	some = 100 // of them are Ready by then
	// perSecond of them are made, so that the killing, which takes a second by way of docker, comes amid them.
	perSecond = 50
	// workers of the operator on certificates (--concurrency): what can be in flight when it is killed.
	workers = 16
)

// leaderKilled is the end that no program can prepare for.
func leaderKilled() types.Feature {
	feature, s := newFeature("a killed leader", "leader-killed")
	return s.withScraper(feature).
		WithSetup("authority", s.step(func(t *testing.T) { s.makeServers(t, 0) })).
		Assess("is followed by one that issues the rest, and nothing twice", s.step(s.killedAmidWork)).
		Assess("is followed by one that writes nothing when there is nothing to do", s.step(s.killedAtRest)).
		Feature()
}

func (s *scene) killedAmidWork(t *testing.T) {
	awaitOperator(t)
	seen := s.watch(t)
	var making sync.WaitGroup
	defer making.Wait()
	s.makeMany(t, &making)

	seen.awaitReady(t, some)
	killed, old := killLeader(t)
	if ready := seen.ready(t.Context()); ready >= many {
		t.Fatalf("all %d certificates were Ready when the leader was killed: nothing was shown", ready)
	}
	t.Logf("the leader, %s, was killed when %d of %d certificates were Ready and %d issued", *old.Spec.HolderIdentity,
		seen.ready(t.Context()), many, seen.issued())
	lease := awaitLeader(t, killed, old)
	seen.awaitReady(t, many)
	t.Logf("the next certificate was issued %s after the kill, all were Ready %s after it",
		seen.firstSince(lease.Spec.AcquireTime.Time).Sub(killed).Round(100*time.Millisecond), elapsed(killed))
	making.Wait()
	await(t, "every Secret seen", shortly, func(context.Context) error { return seen.wantSecrets(many) })

	twice := seen.issued() - many
	t.Logf("%d certificates were issued a second time, %d are allowed", twice, workers)
	if twice > workers {
		t.Errorf("%d certificates were issued a second time, more than the %d that can have been in flight", twice, workers)
	}
	awaitOperator(t)
}

func (s *scene) killedAtRest(t *testing.T) {
	before := s.versions(t)
	killed, old := killLeader(t)
	lease := awaitLeader(t, killed, old)
	s.awaitFullPass(t, podOf(lease))
	t.Logf("the new leader had looked at everything %s after the kill", elapsed(killed))
	awaitOperator(t)
	for name, version := range s.versions(t) {
		if before[name] != version {
			t.Errorf("%s was written: resourceVersion %q became %q", name, before[name], version)
		}
	}
}

// makeMany makes certificates in the background. The authority is that of makeServers.
func (s *scene) makeMany(t *testing.T, making *sync.WaitGroup) {
	t.Helper()
	config := rest.CopyConfig(suite.EnvConf().Client().RESTConfig())
	config.QPS, config.Burst = perSecond, 1
	paced, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	must(t, err)
	const makers = 10
	for maker := range makers {
		making.Go(func() {
			for i := maker; i < many; i += makers {
				if err := paced.Create(t.Context(), s.newCertificate(fmt.Sprintf("leaf-%d", i), "ca")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// newCertificate is one for servers and clients, named after itself.
func (s *scene) newCertificate(name, authority string) *v1alpha1.MTLSCertificate {
	return &v1alpha1.MTLSCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.MTLSCertificateSpec{
			AuthorityRef: v1alpha1.AuthorityRef{Name: authority},
			Usages:       []v1alpha1.Usage{v1alpha1.UsageServer, v1alpha1.UsageClient},
			DNSNames:     []string{name},
		},
	}
}

// leader is the Lease of the operator, held by somebody.
func leader(ctx context.Context) (*coordinationv1.Lease, error) {
	lease := &coordinationv1.Lease{}
	err := cluster.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: "mtls-operator.mtls-operator.io"}, lease)
	if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.AcquireTime == nil) {
		err = errors.New("nobody holds the Lease")
	}
	return lease, err
}

// podOf is the pod of the process that holds the Lease.
func podOf(lease *coordinationv1.Lease) string {
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod
}

// killLeader gives the leader no chance to hand its Lease over, and returns when that was and the Lease.
func killLeader(t *testing.T) (time.Time, *coordinationv1.Lease) {
	t.Helper()
	old, err := leader(t.Context())
	must(t, err)
	system := &scene{namespace: operatorNamespace}
	system.signal(t, podOf(old), "SIGKILL")
	return time.Now(), old
}

// awaitLeader waits for a process other than the old one to lead, and returns its Lease.
func awaitLeader(t *testing.T, killed time.Time, old *coordinationv1.Lease) *coordinationv1.Lease {
	t.Helper()
	var lease *coordinationv1.Lease
	await(t, "a new leader", soon, func(ctx context.Context) (err error) {
		lease, err = leader(ctx)
		if err == nil && *lease.Spec.HolderIdentity == *old.Spec.HolderIdentity {
			err = fmt.Errorf("%s still has the Lease", *lease.Spec.HolderIdentity)
		}
		return err
	})
	who := "the other replica"
	if podOf(lease) == podOf(old) {
		who = "the same pod, restarted,"
	}
	t.Logf("%s took the Lease %s after the kill", who, lease.Spec.AcquireTime.Sub(killed).Round(100*time.Millisecond))
	return lease
}

// awaitFullPass waits until a pod that has just begun to lead has looked at every certificate and has nothing to do.
func (s *scene) awaitFullPass(t *testing.T, pod string) {
	t.Helper()
	endpoint, token := metricsOf(t, pod), s.token(t, "scraper")
	await(t, "a full pass of the new leader", soon, func(ctx context.Context) error {
		_, text, err := endpoint.get(ctx, token)
		if err != nil {
			return err
		}
		passes := sum(text, "controller_runtime_reconcile_total", "mtlscertificate")
		open := sum(text, "workqueue_depth", "mtlscertificate") +
			sum(text, "controller_runtime_active_workers", "mtlscertificate")
		if passes < many || open > 0 {
			return fmt.Errorf("%v passes were made and %v are to come", passes, open)
		}
		return nil
	})
}

// sum adds up the series of a metric that belong to a controller, in the text format of Prometheus.
func sum(text, metric, controller string) float64 {
	total := 0.0
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if strings.HasPrefix(series, metric+"{") && strings.Contains(series, `controller="`+controller+`"`) {
			number, _ := strconv.ParseFloat(value, 64)
			total += number
		}
	}
	return total
}

// versions are the resourceVersions of all that the operator could write in the namespace.
func (s *scene) versions(t *testing.T) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for line := range strings.Lines(s.kubectl(t, "get", "secrets,mcert,mca", "--output",
		`jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)) {
		at := strings.LastIndex(line, " ")
		versions[line[:at]] = strings.TrimSpace(line[at+1:])
	}
	if len(versions) < 2*many {
		t.Fatalf("%d objects are in the namespace, want more than %d", len(versions), 2*many)
	}
	return versions
}
