package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func asClusterTrustBundle(a *v1alpha1.MTLSAuthority) {
	a.Spec.TrustBundle = &v1alpha1.TrustBundle{ClusterTrustBundle: &v1alpha1.TrustBundleObject{}}
}

// bundles are all ClusterTrustBundles of the signer of authority my-ca.
func (w *world) bundles() []certificatesv1.ClusterTrustBundle {
	w.t.Helper()
	list := &certificatesv1.ClusterTrustBundleList{}
	signer := client.MatchingFields{"spec.signerName": "mtls-operator.io/" + w.namespace + ".my-ca"}
	w.check(w.admin.List(w.ctx, list, signer))
	return list.Items
}

// wantBundle checks that the ClusterTrustBundle of the signer has these roots since a time.
func (w *world) wantBundle(bundle pki.Bundle, since time.Time) {
	w.t.Helper()
	all := w.bundles()
	if len(all) != 1 {
		w.t.Fatalf("there are %d ClusterTrustBundles", len(all))
	}
	found := all[0]
	if want := "mtls-operator.io:" + w.namespace + ".my-ca:" + bundle.Hash()[:16]; found.Name != want {
		w.t.Errorf("the ClusterTrustBundle is %q, want %q", found.Name, want)
	}
	if found.Spec.TrustBundle != string(bundle.PEM()) {
		w.t.Errorf("the ClusterTrustBundle has %q", found.Spec.TrustBundle)
	}
	want := map[string]string{
		"mtls-operator.io/issued-by":    w.namespace + "/my-ca",
		"mtls-operator.io/bundle-hash":  bundle.Hash(),
		"mtls-operator.io/bundle-since": since.Format(time.RFC3339),
	}
	if diff := cmp.Diff(want, found.Annotations); diff != "" {
		w.t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if found.Labels["mtls-operator.io/trust-bundle"] != "my-ca" {
		w.t.Errorf("labels are %v", found.Labels)
	}
}

// wantMethods checks what the operator asked of the API server since the last reset.
func (w *world) wantMethods(sentence string, want ...string) {
	w.t.Helper()
	var got []string
	for _, request := range w.requests.all() {
		got = append(got, strings.Fields(request)[0])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s: requests (-want +got):\n%s", sentence, diff)
	}
}

func TestRootsArePublishedToTheWholeCluster(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", asClusterTrustBundle)
	w.requests.reset()
	w.reconcileTrust(authority)
	w.wantMethods("the first time", "POST")
	begin := w.clock.Now()
	w.wantBundle(w.bundleOf(authority), begin)
	w.wantTrustAtRest(authority)
	w.afterwards(time.Hour)
	w.restart()
	w.wantTrustAtRest(authority)
	w.wantTrustProblem(authority, "")
	if remarks := w.trust.trustRemarks(authority); remarks != "" {
		t.Errorf("remarks are %q", remarks)
	}
	w.wantBundle(w.bundleOf(authority), begin)
}

// In between there are two, and never none.
func TestOtherRootsAreInAnotherClusterTrustBundle(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", asClusterTrustBundle)
	w.reconcileTrust(authority)
	more := w.withAnotherRoot(authority)
	now := w.afterwards(time.Hour)
	w.requests.reset()
	w.delivers(authority, more)
	w.wantMethods("other roots", "POST", "DELETE")
	w.wantBundle(more, now)

	w.requests.breakRequest(1, false)
	_, lineage := w.roots(authority)
	if _, err := w.trust.deliver(w.ctx, authority, w.bundleOf(authority), lineage); err == nil {
		t.Error("the failure isn't told to the queue")
	}
	w.wantBundle(more, now) // the old one stays until the new one is there
	w.reconcileTrust(authority)
	w.wantBundle(w.bundleOf(authority), now)
}

func TestWhatOthersChangeInAClusterTrustBundleIsPutRight(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", asClusterTrustBundle)
	w.reconcileTrust(authority)
	bundle, begin := w.bundleOf(authority), w.clock.Now()
	for _, row := range []struct {
		sentence string
		change   func(*certificatesv1.ClusterTrustBundle)
		edited   bool
	}{
		{"other roots", func(c *certificatesv1.ClusterTrustBundle) {
			c.Spec.TrustBundle = string(newCA(t, "other", w.clock.Now()).Issuer().Bundle().PEM())
		}, true},
		{"no label", func(c *certificatesv1.ClusterTrustBundle) { c.Labels = nil }, false},
		{"another hash", func(c *certificatesv1.ClusterTrustBundle) { c.Annotations[v1alpha1.BundleHashAnnotation] = "x" }, true},
	} {
		edit(w, &w.bundles()[0], row.change)
		if now := w.afterwards(time.Hour); row.edited {
			begin = now
		}
		w.requests.reset()
		w.reconcileTrust(authority)
		w.wantMethods(row.sentence, "PATCH")
		w.wantBundle(bundle, begin)
		w.wantTrustAtRest(authority)
	}
}

func TestClusterTrustBundlesOfOthersAreLeftAlone(t *testing.T) {
	w := onlyTrust(t)
	authority := w.authority("my-ca", asClusterTrustBundle)
	bundle := w.bundleOf(authority)
	foreign := newBundle(bundleName(keyOf(authority), bundle.Hash()))
	foreign.Spec.SignerName = signerName(keyOf(authority))
	foreign.Spec.TrustBundle = string(newCA(t, "other", w.clock.Now()).Issuer().Bundle().PEM())
	beside := foreign.DeepCopy()
	beside.Name = strings.TrimSuffix(beside.Name, bundle.Hash()[:16]) + "mine"
	w.check(w.client.Create(w.ctx, foreign))
	w.check(w.client.Create(w.ctx, beside))
	w.reconcileTrust(authority)
	w.wantTrustProblem(authority, v1alpha1.ReasonTrustBundleRejected, foreign.Name, "delete it")
	w.wantEvents("Warning " + v1alpha1.ReasonTrustBundleRejected)
	w.wantTrustAtRest(authority)

	w.check(w.client.Delete(w.ctx, foreign))
	w.reconcileTrust(authority)
	w.wantTrustProblem(authority, "")
	w.check(w.admin.Get(w.ctx, keyOf(beside), beside))
	w.check(w.client.Delete(w.ctx, beside))
	w.wantBundle(bundle, w.clock.Now())
}

func TestAClusterTrustBundleIsTakenBack(t *testing.T) {
	for sentence, change := range map[string]func(*world, *v1alpha1.MTLSAuthority){
		"it isn't wanted any more": func(w *world, a *v1alpha1.MTLSAuthority) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Spec.TrustBundle = nil })
			w.reconcileTrust(a)
		},
		"the authority was deleted": func(w *world, a *v1alpha1.MTLSAuthority) {
			w.deleteAuthority(a)
			w.reconcileAuthority(a)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := onlyTrust(t)
			authority := w.authority("my-ca", asClusterTrustBundle)
			w.reconcileTrust(authority)
			w.wantBundle(w.bundleOf(authority), w.clock.Now())
			change(w, authority)
			if all := w.bundles(); len(all) > 0 {
				t.Errorf("%q is still there", all[0].Name)
			}
			w.wantTrustAtRest(authority)
		})
	}
}

func TestAClusterWithoutClusterTrustBundlesIsLookedAtAgain(t *testing.T) {
	w := onlyTrust(t)
	upgraded := w.trust.published.bundles.mapper
	w.trust.published.bundles.mapper = meta.NewDefaultRESTMapper(nil) // which knows of no kinds
	watched := 0
	w.trust.published.bundles.appeared = func() error { watched++; return nil }
	authority := w.authority("my-ca", asClusterTrustBundle)
	result := w.reconcileTrust(authority)
	if result.RequeueAfter != bundleAPIDelay {
		t.Errorf("it is looked at again after %s", result.RequeueAfter)
	}
	if remarks := w.trust.trustRemarks(authority); !strings.Contains(remarks, "this cluster has no ClusterTrustBundles") {
		t.Errorf("remarks are %q", remarks)
	}
	w.wantTrustProblem(authority, "")
	w.wantEvents()

	w.trust.published.bundles.mapper = upgraded
	w.afterwards(bundleAPIDelay - time.Minute)
	w.wantTrustAtRest(authority)
	w.afterwards(time.Minute)
	w.reconcileTrust(authority)
	w.wantBundle(w.bundleOf(authority), w.clock.Now())
	w.wantTrustAtRest(authority)
	if watched != 1 {
		t.Errorf("they are watched %d times", watched)
	}
}

// The API server wants the right to attest for the signer, or for all signers of its domain, from who writes one.
func TestTheRightToAttestForAllSignersOfTheOperatorIsWhatItTakes(t *testing.T) {
	w := onlyTrust(t)
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"clustertrustbundles"}, Verbs: []string{"create"},
		}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: w.namespace},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: w.namespace}},
	}
	all, err := client.New(apiServer, client.Options{Scheme: scheme.Scheme})
	w.check(err)
	w.check(all.Create(w.ctx, role))
	w.check(all.Create(w.ctx, binding))
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: w.namespace}
	limited := newClient(t, config)
	authority := w.authority("my-ca", asClusterTrustBundle)
	bundle := newBundle(bundleName(keyOf(authority), w.bundleOf(authority).Hash()))
	bundle.Spec.SignerName, bundle.Spec.TrustBundle = signerName(keyOf(authority)), string(w.bundleOf(authority).PEM())
	w.eventually("the role counts", func() bool {
		err := limited.Create(w.ctx, bundle.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "attest")
	})
	role.Rules = append(role.Rules, rbacv1.PolicyRule{
		APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, Verbs: []string{"attest"},
		ResourceNames: []string{"mtls-operator.io/*"},
	})
	w.check(all.Update(w.ctx, role))
	w.eventually("the right to attest counts", func() bool {
		return limited.Create(w.ctx, bundle.DeepCopy(), client.DryRunAll) == nil
	})
}
