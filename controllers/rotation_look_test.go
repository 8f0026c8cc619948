package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// looks counts the lists of pods and nodes that a reconciler asks the API server for, and has those of pods fail.
type looks struct {
	client.Reader

	seen  []string
	fails error
	left  time.Duration // of the time that the last list of pods had
}

func lookedAt(r *rotating) *looks {
	seen := &looks{Reader: r.authorities.live}
	r.authorities.live = seen
	return seen
}

func (l *looks) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	of := (&client.ListOptions{}).ApplyOptions(options)
	switch list.(type) {
	case *corev1.PodList:
		l.seen = append(l.seen, "pods of "+of.Namespace)
		if until, bound := ctx.Deadline(); bound {
			l.left = time.Until(until)
		}
		if l.fails != nil {
			return l.fails
		}
	case *corev1.NodeList:
		l.seen = append(l.seen, "nodes")
	}
	return l.Reader.List(ctx, list, options...)
}

// want checks what was listed since the last time.
func (l *looks) want(t *testing.T, sentence string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, l.seen); diff != "" {
		t.Errorf("%s: lists (-want +got):\n%s", sentence, diff)
	}
	l.seen = nil
}

func TestPodsAreNotListedInEachPass(t *testing.T) {
	r := newBlocked(t)
	seen := lookedAt(r)
	all := []string{"nodes", "pods of " + r.namespace}
	for range 3 {
		r.reconcileAuthority(r.authority)
	}
	r.later(podsInterval - time.Second)
	r.reconcileAuthority(r.authority)
	seen.want(t, "within the interval")
	r.wantBlocker("Pod", "stuck", "restart it after")
	r.wantStage(v1alpha1.StageDistributing, "1/1")

	r.later(time.Second)
	r.reconcileAuthority(r.authority)
	seen.want(t, "after it", all...)
	r.wantBlocker("Pod", "stuck", "restart it after")

	r.authorities.options.MinPropagationDelay = time.Second
	edit(r.world, r.authority, func(a *v1alpha1.MTLSAuthority) {
		a.Spec.Rotation = &v1alpha1.RotationSettings{PropagationDelay: "10s"}
	})
	r.later(9 * time.Second)
	r.reconcileAuthority(r.authority)
	seen.want(t, "within the delay")
	r.later(time.Second)
	r.reconcileAuthority(r.authority)
	seen.want(t, "after a delay that is shorter than the interval", all...)

	r.restart()
	seen = lookedAt(r)
	r.reconcileAuthority(r.authority)
	seen.want(t, "a new process, that has to see for a while what is there")
}

// Of those who block only these are remembered: they are few, and a page of pods is much.
func TestOnlyPodsThatBlockAreRemembered(t *testing.T) {
	r := newBlocked(t)
	r.pod("follows", r.node(true), func(*corev1.Pod) {})
	r.later(podsInterval)
	r.reconcileAuthority(r.authority)
	var names []string
	for _, view := range r.rotations.of(keyOf(r.authority)).pods.blocking {
		names = append(names, view.Pod.Name)
		if len(view.Pod.ManagedFields) > 0 || !view.NodeKnown || view.NodeReadySince.IsZero() {
			t.Errorf("of %s is remembered: %+v", view.Pod.Name, view)
		}
	}
	if !slices.Equal(names, []string{"stuck"}) {
		t.Errorf("%q are remembered", names)
	}
}

// What was seen before says that nothing is in the way, and a pod that came since is.
func TestAGateOpensOnlyOnPodsOfNow(t *testing.T) {
	r := newRotating(t, "a")
	name := r.node(true)
	r.pod("away", name, func(*corev1.Pod) {})
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	node := &corev1.Node{}
	r.check(r.admin.Get(r.ctx, client.ObjectKey{Name: name}, node))
	node.Status.Conditions[0].LastTransitionTime = metav1.NewTime(r.clock.Now().Add(10*time.Second - 5*time.Minute))
	r.check(r.admin.Status().Update(r.ctx, node))
	seen := lookedAt(r)
	r.round()
	seen.want(t, "at first", "nodes", "pods of "+r.namespace)
	r.wantBlocker("Pod", "away", "is Ready only since")

	late := r.pod("late", r.node(true), stuckRows[0].pod)
	r.runs(late, r.clock.Now().Add(-5*time.Minute))
	r.later(9 * time.Second)
	r.round()
	seen.want(t, "while what was seen is in the way")
	r.later(2 * time.Second)
	r.reconcileAuthority(r.authority)
	seen.want(t, "when it isn't any more", "nodes", "pods of "+r.namespace)
	r.wantBlocker("Pod", "late", "restart it after")
	r.reconcileAuthority(r.authority)
	seen.want(t, "when others are")
	r.wantIssuer("my-ca")

	r.goes(late)
	r.later(podsInterval)
	r.round()
	r.wantIssuer("my-ca G2")
}

// One by one thousands of namespaces take longer than a pass may.
func TestPodsOfManyNamespacesAreListedAtOnce(t *testing.T) {
	r := newRotating(t)
	seen := lookedAt(r)
	of := func(namespaces int) []plan.Consumer {
		var all []plan.Consumer
		for i := range 2 * namespaces { // two in each
			all = append(all, plan.Consumer{ConsumerRef: plan.ConsumerRef{
				Kind: plan.ConsumerSecret, Namespace: fmt.Sprintf("n-%d", i/2), Name: fmt.Sprint(i),
			}})
		}
		return all
	}
	lists := func(consumers []plan.Consumer) []string {
		_, err := r.authorities.pods(r.ctx, consumers)
		r.check(err)
		all := slices.DeleteFunc(seen.seen, func(list string) bool { return list == "nodes" })
		seen.seen = nil
		return all
	}
	if got := lists(of(maxNamespaces)); len(got) != maxNamespaces || slices.Contains(got, "pods of ") {
		t.Errorf("of some: %q", got)
	}
	if got := lists(of(maxNamespaces + 1)); !slices.Equal(got, []string{"pods of "}) {
		t.Errorf("of many: %q", got)
	}
	r.authorities.options.Namespaces = []string{r.namespace}
	if got := lists(of(maxNamespaces + 1)); len(got) != maxNamespaces+1 || slices.Contains(got, "pods of ") {
		t.Errorf("of many, with rights in these only: %q", got)
	}
}

func TestPodsThatCannotBeListedAreTold(t *testing.T) {
	for sentence, row := range map[string]struct {
		fails error
		says  string
	}{
		"as the API server refuses it": {errors.New("pods is forbidden"), "pods can't be listed|pods is forbidden"},
		"as there are too many": {
			fmt.Errorf("Get: %w", context.DeadlineExceeded), "pods can't be listed|takes longer than 20s",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newBlocked(t)
			seen := lookedAt(r)
			seen.fails = row.fails
			r.later(podsInterval)
			result := r.reconcileAuthority(r.authority)
			seen.want(t, "at first", "nodes", "pods of "+r.namespace)
			if seen.left <= 0 || seen.left >= passTimeout-5*time.Second {
				t.Errorf("a list has %s of the time of a pass", seen.left)
			}
			r.wantUnlisted(row.says)
			r.wantIssuer("my-ca")
			r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			if result.RequeueAfter <= 0 || result.RequeueAfter > podsInterval {
				t.Errorf("the next look is in %s", result.RequeueAfter)
			}
			r.reconcileAuthority(r.authority)
			seen.want(t, "right after")
			r.wantUnlisted(row.says)
			r.wantNoWrites(func() { r.reconcileAuthority(r.authority) })

			seen.fails = nil
			r.later(podsInterval)
			r.reconcileAuthority(r.authority)
			r.wantBlocker("Pod", "stuck", "restart it after")
		})
	}
}

// wantUnlisted checks that the status says in words that pods can't be listed; parts are separated by "|".
func (r *rotating) wantUnlisted(parts string) {
	r.t.Helper()
	r.check(r.admin.Get(r.ctx, keyOf(r.authority), r.authority))
	rotation := r.authority.Status.Rotation
	if len(rotation.Blockers) != 1 || rotation.Blockers[0].Kind != "Pod" || rotation.Blockers[0].Name != "*" {
		r.t.Fatalf("the rotation is %+v, want one blocker for all pods", rotation)
	}
	for part := range strings.SplitSeq(parts, "|") {
		if !strings.Contains(rotation.Message, part) || !strings.Contains(rotation.Blockers[0].Message, part) {
			r.t.Errorf("the message is %q, the blocker's %q, want %q in both", rotation.Message, rotation.Blockers[0].Message, part)
		}
	}
}

// Else a cluster with too many pods would keep a CA that others have the key of, or that ends.
func TestARotationGoesOnWithoutPodsThatCannotBeListed(t *testing.T) {
	told := "Warning " + v1alpha1.ReasonRanOver + ": generation 2 didn't wait for Pod */*: pods can't be listed"
	for sentence, order := range map[string]struct{ annotation, value string }{
		"when nobody is waited for": {v1alpha1.IgnoreBlockersAnnotation, "2"},
		"when others have the key":  {v1alpha1.CompromisedAnnotation, "1"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newBlocked(t)
			seen := lookedAt(r)
			seen.fails = errBroken
			r.later(podsInterval)
			r.reconcileAuthority(r.authority)
			r.wantUnlisted("pods can't be listed|" + errBroken.Error())
			seen.seen = nil
			r.told.take()
			r.annotate(order.annotation, order.value)
			r.reconcileAuthority(r.authority)
			seen.want(t, "it is tried once more", "nodes", "pods of "+r.namespace)
			r.wantTold("Normal "+v1alpha1.ReasonGenerationSigns, told)
			r.round()
			r.wantIssuer("my-ca G2")
			r.later(6 * time.Minute)
			r.round()
			r.wantRoots("my-ca G2")
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

func TestTheDeadlineHoldsThoughPodsCannotBeListed(t *testing.T) {
	w := newWorld(t)
	w.later(-8760 * time.Hour * 2 / 3)
	r := &rotating{world: w, authority: w.authority("my-ca")}
	r.certificates = append(r.certificates, w.issued("a"))
	lookedAt(r).fails = errBroken
	r.jump(start())
	r.later(6 * time.Minute)
	r.round()
	r.wantUnlisted("pods can't be listed")
	r.jump(r.leaf("my-ca-ca-1").NotAfter.Add(-8760*time.Hour/10 + time.Hour))
	r.wantIssuer("my-ca G2")
}

// A pass that is cut off says nothing about pods.
func TestAPassThatEndsWhilePodsAreListedIsMadeAgain(t *testing.T) {
	r := newBlocked(t)
	r.later(podsInterval)
	seen := lookedAt(r)
	ctx, cancel := context.WithCancel(r.ctx)
	seen.fails = context.Canceled
	r.authorities.live = cancels{seen, cancel}
	before := r.authority.ResourceVersion
	result, err := r.authorities.Reconcile(ctx, ctrl.Request{NamespacedName: keyOf(r.authority)})
	if err != nil || result.RequeueAfter != 0 { // the process ends
		t.Errorf("the result is %v, %v", result, err)
	}
	r.check(r.admin.Get(r.ctx, keyOf(r.authority), r.authority))
	if r.authority.ResourceVersion != before {
		t.Error("it was written")
	}
	if memory := r.rotations.of(keyOf(r.authority)); memory.pods.unknown != "" {
		t.Errorf("%q is remembered", memory.pods.unknown)
	}
}

// cancels a pass at its first list of pods.
type cancels struct {
	*looks

	cancel context.CancelFunc
}

func (c cancels) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, pods := list.(*corev1.PodList); pods {
		c.cancel()
	}
	return c.looks.List(ctx, list, options...)
}
