//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// sharing is a cluster in which teams have operators of their own and nobody serves the rest.
type sharing struct {
	shop         *scene // has an operator that serves its own namespace
	cart         *scene // is served from cartOperator
	cartOperator *scene
	unserved     *scene
}

// namespaces has two operators serve a namespace each, with rights in no other, while that of the whole cluster rests.
func namespaces() types.Feature {
	feature, shop := newFeature("operators of namespaces", "shop")
	k := &sharing{
		shop: shop, cart: &scene{namespace: "cart"}, cartOperator: &scene{namespace: "cart-operator"},
		unserved: &scene{namespace: "unserved"},
	}
	return feature.
		WithSetup("teams", shop.step(k.begin)).
		Assess("are installed by who administers the namespaces", shop.step(k.install)).
		Assess("have rights in these namespaces only", shop.step(k.rightsAreNarrow)).
		Assess("issue in the namespaces they serve", shop.step(k.issueApart)).
		Assess("say what they cannot do", shop.step(k.limitsAreTold)).
		Assess("hold an authority in use and let it go", shop.step(k.authorityGoes)).
		Assess("don't need each other", shop.step(k.oneDies)).
		Assess("leave the rest alone", shop.step(k.restIsUntouched)).
		Assess("were never forbidden anything", shop.step(k.nothingWasForbidden)).
		Assess("hand over to an operator of all namespaces", shop.step(k.handOver)).
		WithTeardown("teams", k.end).
		Feature()
}

// team is a user who administers the namespaces and has no rights in the whole cluster.
const team = "team"

func (k *sharing) begin(t *testing.T) {
	for _, s := range []*scene{k.cart, k.cartOperator, k.unserved} {
		createNamespace(t, s.namespace)
	}
	for _, s := range []*scene{k.shop, k.cart, k.cartOperator} {
		s.kubectl(t, "create", "rolebinding", team, "--clusterrole=admin", "--user", team)
	}
	k.scaleMain(t, "0")
	kubectl(t, "", "apply", "-k", manifests("namespaced/cluster"))
	k.cart.awaitAllowed(t, team, "patch", "mtlscertificates", "--subresource=status")
}

// scaleMain scales the operator of the whole cluster, and waits.
func (k *sharing) scaleMain(t *testing.T, replicas string) {
	t.Helper()
	main := &scene{namespace: operatorNamespace}
	main.kubectl(t, "scale", "deployment", "mtls-operator", "--replicas", replicas)
	main.awaitRollout(t, "mtls-operator")
	if replicas == "0" {
		main.kubectl(t, "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=mtls-operator",
			"--timeout", soon.String())
	}
}

// end brings the cluster back to how it was, whatever happened.
func (k *sharing) end(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
	for _, folder := range []string{"shop", "cart", "cart-operator"} {
		kubectl(t, "", "delete", "-k", "testdata/namespaces/"+folder, "--ignore-not-found")
	}
	kubectl(t, "", "delete", "-f", manifests("namespaced/cluster/admins.yaml"), "--ignore-not-found")
	k.scaleMain(t, "2")
	kubectl(t, "", "delete", "namespace", "cart", "cart-operator", "unserved", "--ignore-not-found", "--wait=false")
	return ctx
}

// allowed asks the API server whether a user may do something in the namespace.
func (s *scene) allowed(ctx context.Context, user string, what ...string) (bool, error) {
	answer, err := tryKubectl(ctx, "", append([]string{
		"--namespace", s.namespace, "auth", "can-i", "--as", user,
	}, what...)...)
	if answer == "" {
		return false, err
	}
	return answer == "yes\n", nil // of a no the exit code is 1
}

func (s *scene) awaitAllowed(t *testing.T, user string, what ...string) {
	t.Helper()
	await(t, user+" having rights", soon, func(ctx context.Context) error {
		if yes, err := s.allowed(ctx, user, what...); err != nil || yes {
			return err
		}
		return fmt.Errorf("%s may not %q", user, what)
	})
}

// install applies everything as the team, whose rights are those of the admin of a namespace.
func (k *sharing) install(t *testing.T) {
	for _, folder := range []string{"shop", "cart", "cart-operator"} {
		kubectl(t, "", "--as", team, "apply", "-k", "testdata/namespaces/"+folder)
	}
	k.shop.awaitRollout(t, "mtls-operator")
	k.cartOperator.awaitRollout(t, "mtls-operator")
}

func (k *sharing) rightsAreNarrow(t *testing.T) {
	account := func(s *scene) string { return "system:serviceaccount:" + s.namespace + ":mtls-operator" }
	everywhere := []string{"list", "secrets", "--all-namespaces"}
	there := []string{"list", "secrets"}
	for _, c := range []struct {
		user  string
		where *scene
		what  []string
		want  bool
	}{
		{account(k.shop), k.shop, there, true},
		{account(k.shop), k.cart, there, false},
		{account(k.shop), k.shop, everywhere, false},
		{account(k.cartOperator), k.cart, there, true},
		{account(k.cartOperator), k.cartOperator, there, true},
		{account(k.cartOperator), k.shop, there, false},
		{account(k.cartOperator), k.cart, everywhere, false},
		{account(k.cartOperator), k.cart, []string{"list", "namespaces", "--all-namespaces"}, false},
		{team, k.shop, everywhere, false},
	} {
		if got, err := c.where.allowed(t.Context(), c.user, c.what...); err != nil || got != c.want {
			t.Errorf("%s in %s, %q: allowed is %v, want %v: %v", c.user, c.where.namespace, c.what, got, c.want, err)
		}
	}
}

const ownAuthority = `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSAuthority
metadata: {name: ca}
spec: {allowedNamespaces: {from: All}}
---
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: web}
spec: {authorityRef: {name: ca}, usages: [Server], serviceName: web}
`

// issueApart has each operator issue and renew. The event of a renewal tells the pod that made it.
func (k *sharing) issueApart(t *testing.T) {
	k.unserved.apply(t, ownAuthority)
	for _, s := range []*scene{k.shop, k.cart} {
		s.apply(t, ownAuthority)
	}
	leases := map[string]bool{}
	for served, operator := range map[*scene]*scene{k.shop: k.shop, k.cart: k.cartOperator} {
		served.waitReady(t, "mca/ca", "mcert/web")
		served.renew(t, "web")
		lease := operator.kubectl(t, "get", "leases", "--output", "jsonpath={.items[*].metadata.name}")
		holder := operator.kubectl(t, "get", "lease", lease, "--output", "jsonpath={.spec.holderIdentity}")
		leases[lease] = true
		pod, _, _ := strings.Cut(holder, "_")
		operator.kubectl(t, "get", "pod", pod) // it is one of this namespace
		await(t, "the event of "+served.namespace, soon, func(ctx context.Context) error {
			who, err := served.renewer(ctx, "web")
			if err == nil && !strings.HasSuffix(who, pod) {
				t.Errorf("%s renewed in %s, the leader there is %s", who, served.namespace, pod)
			}
			return err
		})
	}
	if len(leases) != 2 {
		t.Errorf("the operators have the Leases %v, want two", leases)
	}
}

// renewer is who reported the renewal of a certificate.
func (s *scene) renewer(ctx context.Context, certificate string) (string, error) {
	events := &eventsv1.EventList{}
	if err := cluster.List(ctx, events, client.InNamespace(s.namespace)); err != nil {
		return "", err
	}
	for _, event := range events.Items {
		if event.Reason == v1alpha1.ReasonRenewalRequested && event.Regarding.Name == certificate {
			return event.ReportingInstance, nil
		}
	}
	return "", errors.New("there is none")
}

const beyondReach = `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: of-shop}
spec: {authorityRef: {name: ca, namespace: shop}, usages: [Server], serviceName: web}
---
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSAuthority
metadata: {name: selecting}
spec: {allowedNamespaces: {from: Selector, selector: {matchLabels: {team: shop}}}}
`

// limitsAreTold: an authority in another operator's namespace is out of reach although it allows all namespaces, and the
// labels of namespaces can't be seen.
func (k *sharing) limitsAreTold(t *testing.T) {
	k.cart.apply(t, beyondReach)
	for _, c := range []struct {
		object  client.Object
		name    string
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{
			&v1alpha1.MTLSCertificate{}, "of-shop", metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotPermitted,
			"in the namespaces that this operator serves",
		},
		{
			&v1alpha1.MTLSAuthority{}, "selecting", metav1.ConditionTrue, v1alpha1.ReasonSigning,
			"cannot see the labels of namespaces",
		},
	} {
		found := k.cart.awaitCondition(t, c.object, c.name, v1alpha1.ConditionReady, c.status, c.reason)
		if !strings.Contains(found.Message, c.message) {
			t.Errorf("%s says %q, want %q in it", c.name, found.Message, c.message)
		}
	}
}

// authorityGoes deletes an authority before its certificate. The operator looks whether the namespace goes too, which it
// can with a Role.
func (k *sharing) authorityGoes(t *testing.T) {
	authority := &v1alpha1.MTLSAuthority{}
	k.cart.apply(t, strings.ReplaceAll(strings.ReplaceAll(ownAuthority, "name: ca", "name: old"), "name: web", "name: last"))
	k.cart.waitReady(t, "mca/old", "mcert/last")
	k.cart.kubectl(t, "delete", "mca", "old", "--wait=false")
	k.cart.awaitCondition(t, authority, "old", v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	k.cart.kubectl(t, "delete", "mcert", "last")
	await(t, "the authority being gone", soon, func(ctx context.Context) error {
		if err := cluster.Get(ctx, k.cart.name("old"), authority); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %+v: %w", authority.Status.Conditions, err)
		}
		return nil
	})
}

// oneDies kills the operator of shop without warning.
func (k *sharing) oneDies(t *testing.T) {
	k.shop.kubectl(t, "scale", "deployment/mtls-operator", "--replicas=0")
	k.shop.kubectl(t, "delete", "pods", "--selector=app.kubernetes.io/name=mtls-operator", "--force", "--grace-period=0")
	k.cart.renew(t, "web")
	k.cartOperator.wantNoRestart(t)
	k.shop.kubectl(t, "scale", "deployment/mtls-operator", "--replicas=2")
	k.shop.awaitRollout(t, "mtls-operator")
	k.shop.renew(t, "web")
}

// restIsUntouched checks what lay there all the time that others were served.
func (k *sharing) restIsUntouched(t *testing.T) {
	authority := &v1alpha1.MTLSAuthority{}
	must(t, cluster.Get(t.Context(), k.unserved.name("ca"), authority))
	certificate := k.unserved.certificate(t, "web")
	if len(authority.Finalizers) > 0 || authority.Status.ObservedGeneration != -1 || len(authority.Status.Conditions) > 0 ||
		certificate.Status.ObservedGeneration != -1 || len(certificate.Status.Conditions) > 0 {
		t.Errorf("somebody looked at what nobody serves: %+v, %+v", authority, certificate.Status)
	}
	if found := k.unserved.secretVersions(t); len(found) > 0 {
		t.Errorf("Secrets were made that nobody was to make: %v", found)
	}
}

func (k *sharing) nothingWasForbidden(t *testing.T) {
	for _, s := range []*scene{k.shop, k.cartOperator} {
		log := s.kubectl(t, "logs", "--selector=app.kubernetes.io/name=mtls-operator", "--tail=-1", "--prefix")
		if strings.Count(log, "the operator starts") != 2 {
			t.Errorf("the logs of %s aren't those of two operators from their start", s.namespace)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(strings.ToLower(line), "forbidden") {
				t.Error(line)
			}
		}
	}
}

// secretVersions are the resource versions of the operators' Secrets.
func (s *scene) secretVersions(t *testing.T) map[string]string {
	t.Helper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("SecretList"))
	list.APIVersion = "v1"
	must(t, cluster.List(t.Context(), list, client.InNamespace(s.namespace), client.HasLabels{v1alpha1.GenerationLabel}))
	versions := make(map[string]string, len(list.Items))
	for _, secret := range list.Items {
		versions[s.namespace+"/"+secret.Name] = string(secret.UID) + " " + secret.ResourceVersion
	}
	return versions
}

// handOver takes the operators away and lets that of the whole cluster work again. It has seen everything once it is done
// with what nobody served; what the others made is good as it is.
func (k *sharing) handOver(t *testing.T) {
	mine := func() map[string]string {
		all := k.shop.secretVersions(t)
		maps.Copy(all, k.cart.secretVersions(t))
		return all
	}
	before := mine()
	for _, s := range []*scene{k.shop, k.cartOperator} {
		s.kubectl(t, "delete", "deployment", "mtls-operator", "--cascade=foreground")
	}
	k.scaleMain(t, "2")
	k.unserved.waitReady(t, "mca/ca", "mcert/web")
	k.cart.waitReady(t, "mcert/of-shop") // which is within its reach
	after := mine()
	for name, version := range before {
		if after[name] != version {
			t.Errorf("Secret %s was written: %q became %q", name, version, after[name])
		}
	}
}
