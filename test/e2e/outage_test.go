//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	e2etypes "sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// outage is a time without a part of Kubernetes.
type outage struct {
	lasts      time.Duration
	node       string
	begin, end string // shell commands in the node; end may be repeated
	// gone is whether the part really is.
	gone func(ctx context.Context) error
}

// outages are of all that the operator and kubelet need to bring a new certificate to a pod. Pods that have one need
// none of it.
func outages() e2etypes.Feature {
	feature, s := newFeature("outages", "outages")
	noKubelet := outage{
		lasts: time.Minute, node: worker(), begin: "systemctl stop kubelet", end: "systemctl start kubelet", gone: kubeletIsGone,
	}
	// Frozen and not taken away: while the API server waits for etcd, kubelet waits for the API server before it starts a
	// static pod again, and the outage lasts until the API server is restarted as well.
	noEtcd := outage{
		lasts: 30 * time.Second, node: controlPlane(), gone: apiIsGone,
		begin: "kill -STOP $(pidof etcd)", end: "kill -CONT $(pidof etcd)",
	}
	return feature.
		WithSetup("an operator that nobody killed", s.step(restartOperator)).
		WithSetup("servers and clients on both nodes", s.step(s.startBetweenNodes)).
		Assess("of a kubelet harm nothing", s.step(func(t *testing.T) { s.goOnWithout(t, noKubelet) })).
		Assess("of the API server harm nothing", s.step(func(t *testing.T) { s.goOnWithout(t, noAPIServer()) })).
		Assess("of etcd harm nothing", s.step(func(t *testing.T) { s.goOnWithout(t, noEtcd) })).
		Assess("fail no request from first to last", s.step(func(t *testing.T) {
			for _, loop := range loops() {
				t.Logf("%s: %+v", loop, s.endLoop(t, loop))
			}
		})).
		Assess("restart nothing", s.step(s.wantNoRestart)).
		Feature()
}

// noAPIServer takes the manifest of the static pod away from kubelet, which then ends the pod.
func noAPIServer() outage {
	const there, away = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
	return outage{
		lasts: time.Minute, node: controlPlane(), gone: apiIsGone,
		begin: "mv " + there + " " + away, end: "test ! -e " + away + " || mv " + away + " " + there,
	}
}

// restartOperator makes its pods anew. Kubelet waits longer and longer before it restarts a container that ended lately,
// and the leader ends in every outage of the API: what was killed before would be counted to the outage.
func restartOperator(t *testing.T) {
	system := &scene{namespace: operatorNamespace}
	system.kubectl(t, "rollout", "restart", "deployment/mtls-operator")
	system.awaitRollout(t, "mtls-operator")
	awaitOperator(t)
}

func kubeletIsGone(ctx context.Context) error {
	state, _ := tryOnNode(ctx, worker(), "systemctl", "is-active", "kubelet") // every state but active is an error
	if strings.TrimSpace(state) != "inactive" {
		return fmt.Errorf("kubelet is %q", state)
	}
	return nil
}

// apiIsGone reads one object: without etcd the API server still answers some lists from its memory.
func apiIsGone(ctx context.Context) error {
	if readAPI(ctx) == nil {
		return errors.New("the API answers")
	}
	return nil
}

func readAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return cluster.Get(ctx, client.ObjectKey{Name: operatorNamespace}, &corev1.Namespace{})
}

// patience with one request while the API may be out.
const patience = 3 * time.Second

// loops are the clients, one on each node.
func loops() []string { return []string{"loop-on-" + controlPlane(), "loop-on-" + worker()} }

// startBetweenNodes starts the servers of the samples and clients of theirs on both nodes.
func (s *scene) startBetweenNodes(t *testing.T) {
	for _, sample := range []string{"my-ca", "hello-server", "my-client"} {
		s.kubectl(t, "apply", "-f", filepath.Join(manifests("samples"), sample+".yaml"))
	}
	sample, err := os.ReadFile(filepath.Join(manifests("samples"), "hello-deployment.yaml"))
	must(t, err)
	for _, object := range decode(t, string(sample)) {
		if deployment, ok := object.(*appsv1.Deployment); ok {
			onBothNodes(deployment)
		}
		object := object.(client.Object)
		object.SetNamespace(s.namespace)
		must(t, cluster.Create(t.Context(), object))
	}
	s.waitReady(t, "mca/my-ca", "mcert/hello-server", "mcert/my-client")
	s.awaitRollout(t, "hello")
	if pods := s.pods(t, "hello"); len(pods) != 2 || pods[0].Spec.NodeName == pods[1].Spec.NodeName {
		t.Fatalf("the servers aren't on both nodes: %+v", pods)
	}
	for i, node := range []string{controlPlane(), worker()} {
		s.startLoop(t, loops()[i], node, "my-client", "https://hello:8443/")
	}
}

// goOnWithout lets the outage last while certificates are made and renewals asked for, and looks at what it left.
func (s *scene) goOnWithout(t *testing.T, o outage) {
	stop := s.keepChanging(t)
	defer stop()
	t.Cleanup(func() { // also after a failure in between: the cluster is others' as well
		if _, err := tryOnNode(context.WithoutCancel(t.Context()), o.node, "sh", "-c", o.end); err != nil {
			t.Error(err)
		}
	})
	onNode(t, o.node, "sh", "-c", o.begin)
	await(t, "the outage", soon, o.gone)
	began := time.Now()
	pass(t, o.lasts)
	if err := o.gone(t.Context()); err != nil {
		t.Errorf("the outage ended by itself: %v", err)
	}
	onNode(t, o.node, "sh", "-c", o.end)
	ended := time.Now()

	awaitHeartbeats(t, ended)
	awaitOperator(t)
	t.Logf("after %s of outage it took %s until everything was Ready again", ended.Sub(began).Round(time.Second), elapsed(ended))
	stop()
	consistent := time.Now()
	count := s.awaitConsistent(t)
	t.Logf("all %d certificates were Ready and right %s later", count, elapsed(consistent))
	for _, loop := range loops() {
		s.wantRequestsBetween(t, loop, began, ended)
	}
}

// pass lets time go by, which is all that a wait for nothing to happen can do.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// keepChanging makes a certificate and asks for the renewal of one every second until it is stopped. Errors of the API
// are what an outage consists of: the next second makes the next attempt.
func (s *scene) keepChanging(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	made, asked, failed := []string{"hello-server", "my-client"}, 0, 0
	var changing sync.WaitGroup
	changing.Go(func() {
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case now := <-ticks.C:
				name := fmt.Sprintf("leaf-%d", now.UnixMilli())
				if err := s.makeLeaf(ctx, name); err != nil {
					failed++
				} else {
					made = append(made, name)
				}
				if err := s.askForRenewal(ctx, made[asked%len(made)]); err != nil {
					failed++
				} else {
					asked++
				}
			}
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		changing.Wait()
		t.Logf("meanwhile %d certificates were made and %d renewals asked for; %d requests failed", len(made)-2, asked, failed)
	})
}

func (s *scene) makeLeaf(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return cluster.Create(ctx, s.newCertificate(name, "my-ca"))
}

func (s *scene) askForRenewal(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RenewRequestedAtAnnotation,
		time.Now().Format(time.RFC3339Nano))
	certificate := &v1alpha1.MTLSCertificate{}
	certificate.Namespace, certificate.Name = s.namespace, name
	return cluster.Patch(ctx, certificate, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// awaitHeartbeats waits until all that makes a cluster work was heard of since a time, and both nodes are Ready. What is
// Ready in the API may have been so before the outage only, and the controllers of Kubernetes end with it too.
func awaitHeartbeats(t *testing.T, since time.Time) {
	t.Helper()
	for _, holder := range []types.NamespacedName{
		{Namespace: "kube-node-lease", Name: controlPlane()},
		{Namespace: "kube-node-lease", Name: worker()},
		{Namespace: operatorNamespace, Name: "mtls-operator.mtls-operator.io"},
		{Namespace: "kube-system", Name: "kube-controller-manager"},
		{Namespace: "kube-system", Name: "kube-scheduler"},
	} {
		await(t, "a heartbeat of "+holder.Name, soon, func(ctx context.Context) error {
			lease := &coordinationv1.Lease{}
			if err := cluster.Get(ctx, holder, lease); err != nil {
				return err
			}
			if !lease.Spec.RenewTime.After(since) {
				return fmt.Errorf("the last one was at %s", lease.Spec.RenewTime)
			}
			return nil
		})
		t.Logf("%s was back after %s", holder.Name, elapsed(since))
	}
	kubectl(t, "", "wait", "--for=condition=Ready", "node/"+controlPlane(), "node/"+worker(), "--timeout", soon.String())
}

// wantRequestsBetween checks that a client made requests in that time, and that none failed since it began. It reads
// the log anew: what followed it would have broken off.
func (s *scene) wantRequestsBetween(t *testing.T, loop string, began, ended time.Time) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(s.kubectl(t, "logs", "--timestamps", loop)), "\n")
	first, last := tallyAt(t, lines, began), tallyAt(t, lines, ended)
	now := tallyAt(t, lines, time.Now())
	t.Logf("%s: %d requests in the outage, %+v until now", loop, last.requests-first.requests, now)
	if last.requests <= first.requests || now.failed > 0 {
		t.Errorf("%s: in the outage %+v became %+v, and is %+v now", loop, first, last, now)
	}
	if now.failed > 0 {
		s.endLoop(t, loop) // it tells why
	}
}

// tallyAt is the last tally in a log with timestamps that is older than a time. Other lines tell of renewals.
func tallyAt(t *testing.T, lines []string, at time.Time) tally {
	t.Helper()
	for _, line := range slices.Backward(lines) {
		stamp, text, _ := strings.Cut(line, " ")
		told, err := time.Parse(time.RFC3339Nano, stamp)
		must(t, err)
		if counted, err := lastTally(text); err == nil && told.Before(at) {
			return counted
		}
	}
	t.Fatalf("the log doesn't reach back to %s: %q", at, lines[:1])
	return tally{}
}
