package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// bundleAPIDelay is how long after the cluster was found without ClusterTrustBundles it is looked at again.
const bundleAPIDelay = time.Hour

// bundleHashLength is how many digits of the hash of the roots are in the name of a ClusterTrustBundle.
const bundleHashLength = 16

// bundleAPI tells whether the cluster serves ClusterTrustBundles, without asking it at every pass.
type bundleAPI struct {
	mapper meta.RESTMapper
	// appeared is called when it is found to serve them after it didn't; nil for nothing.
	appeared func() error

	mu      sync.Mutex
	served  bool
	askedAt time.Time
}

func (b *bundleAPI) serves(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.served || !b.askedAt.IsZero() && now.Before(b.askedAt.Add(bundleAPIDelay)) {
		return b.served
	}
	kind := certificatesv1.SchemeGroupVersion.WithKind("ClusterTrustBundle")
	_, err := b.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err == nil && b.appeared != nil {
		err = b.appeared()
	}
	b.served, b.askedAt = err == nil, now
	if err != nil && !meta.IsNoMatchError(err) {
		b.askedAt = now.Add(time.Minute - bundleAPIDelay) // nobody knows: the API server didn't answer
	}
	return b.served
}

func (b *bundleAPI) again() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.askedAt.Add(bundleAPIDelay)
}

// servesBundles tells whether ClusterTrustBundles can be published: there are some, and the operator serves the whole cluster.
func (s shared) servesBundles() bool {
	return len(s.options.Namespaces) == 0 && s.published.bundles.serves(s.clock.Now())
}

// signerDomain is the first part of the names of all signers.
const signerDomain = "mtls-operator.io/"

// signerName of an authority. The namespace has no dots, so no two authorities have the same.
func signerName(authority types.NamespacedName) string {
	return signerDomain + authority.Namespace + "." + authority.Name
}

func bundleRef(authority types.NamespacedName) plan.ConsumerRef {
	return plan.ConsumerRef{Kind: plan.ConsumerTrustBundle, Name: signerName(authority)}
}

// bundleName is what the API server wants: the name of the signer with a colon for the slash, a colon, and something.
func bundleName(authority types.NamespacedName, hash string) string {
	return strings.ReplaceAll(signerName(authority), "/", ":") + ":" + hash[:bundleHashLength]
}

func newBundle(name string) *certificatesv1.ClusterTrustBundle {
	return &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// signerBundles are all ClusterTrustBundles of the authority's signer, whoever made them, from the cache. They must not be
// changed. There are few in a cluster: every kubelet watches all of them.
func (s shared) signerBundles(ctx context.Context, authority types.NamespacedName) ([]certificatesv1.ClusterTrustBundle, error) {
	bundles := &certificatesv1.ClusterTrustBundleList{}
	err := s.List(ctx, bundles, client.UnsafeDisableDeepCopy)
	var all []certificatesv1.ClusterTrustBundle
	for i := range bundles.Items {
		if bundles.Items[i].Spec.SignerName == signerName(authority) {
			all = append(all, bundles.Items[i])
		}
	}
	return all, err
}

// bundlesOf are those of them that were published for the authority.
func (s shared) bundlesOf(ctx context.Context, authority types.NamespacedName) ([]certificatesv1.ClusterTrustBundle, error) {
	all, err := s.signerBundles(ctx, authority)
	return slices.DeleteFunc(all, func(b certificatesv1.ClusterTrustBundle) bool {
		_, labelled := b.Labels[v1alpha1.TrustBundleLabel]
		return !labelled || issuedBy(&b) != authority
	}), err
}

// deliverBundles publishes the roots as one ClusterTrustBundle. Other roots are in another one, named by their hash, and the
// old one goes only after that is there: kubelet has all of a signer for a moment, and never none.
func (r *TrustReconciler) deliverBundles(ctx context.Context, pass *trustPass) error {
	wanted := ptr.Deref(pass.authority.Spec.TrustBundle, v1alpha1.TrustBundle{}).ClusterTrustBundle != nil
	if !r.servesBundles() {
		if wanted && len(r.options.Namespaces) == 0 {
			pass.lookAgain(r.published.bundles.again())
		}
		return nil
	}
	all, err := r.signerBundles(ctx, pass.key)
	if err != nil {
		return err
	}
	keep := ""
	if wanted {
		if len(pass.pem) == 0 || !r.deliverBundle(ctx, pass, all) {
			return nil
		}
		keep = bundleName(pass.key, pass.hash)
	}
	return r.removeBundles(ctx, pass.key, keep)
}

// removeBundles deletes those that were published for an authority, but for one.
func (s shared) removeBundles(ctx context.Context, authority types.NamespacedName, keep string) error {
	published, err := s.bundlesOf(ctx, authority)
	if err != nil {
		return err
	}
	for i := range published {
		if published[i].Name == keep {
			continue
		}
		if err := s.remove(ctx, &published[i]); err != nil {
			return err
		}
	}
	return nil
}

// deliverBundle makes or repairs the ClusterTrustBundle with the present roots, and tells whether it is there.
func (r *TrustReconciler) deliverBundle(ctx context.Context, pass *trustPass, all []certificatesv1.ClusterTrustBundle) bool {
	ref, name := bundleRef(pass.key), bundleName(pass.key, pass.hash)
	if !pass.begin(ctx, ref) {
		return false
	}
	at := slices.IndexFunc(all, func(b certificatesv1.ClusterTrustBundle) bool { return b.Name == name })
	if at < 0 {
		if pass.waits(ref) {
			return false
		}
		bundle := newBundle(name)
		bundle.Labels, bundle.Annotations = pass.labels(), pass.facts(nil, true)
		bundle.Spec.SignerName, bundle.Spec.TrustBundle = signerName(pass.key), string(pass.pem)
		err := r.Create(ctx, bundle)
		pass.done(ref, err)
		return err == nil
	}
	if issuedBy(&all[at]) != pass.key {
		pass.obstacles[ref] = bundleInTheWay(name, &all[at])
		return false
	}
	return r.repairBundle(ctx, pass, ref, &all[at])
}

// bundleInTheWay is one that others made: an event tells when it goes.
func bundleInTheWay(name string, found *certificatesv1.ClusterTrustBundle) obstacle {
	roots, _ := pki.ParseBundle([]byte(found.Spec.TrustBundle)) // none, when they cannot be read
	return obstacle{
		reason: v1alpha1.ReasonTrustBundleRejected,
		message: fmt.Sprintf("ClusterTrustBundle %q exists and wasn't made by this operator. It is left alone: delete it",
			name),
		foreign: true,
		roots:   roots,
	}
}

// repairBundle puts right what somebody edited.
func (r *TrustReconciler) repairBundle(ctx context.Context, pass *trustPass, ref plan.ConsumerRef,
	found *certificatesv1.ClusterTrustBundle,
) bool {
	edited := found.Spec.TrustBundle != string(pass.pem)
	labels, facts := pass.labels(), pass.facts(found.Annotations, edited)
	if !edited && len(difference(found.Labels, labels, nil))+len(difference(found.Annotations, facts, nil)) == 0 {
		return true
	}
	if pass.waits(ref) {
		return false
	}
	after := found.DeepCopy()
	after.Labels, after.Annotations = merged(found.Labels, labels), merged(found.Annotations, facts)
	after.Spec.TrustBundle = string(pass.pem)
	err := r.Patch(ctx, after, client.MergeFromWithOptions(found, client.MergeFromWithOptimisticLock{}))
	pass.done(ref, err)
	return err == nil
}

func merged(existing, wanted map[string]string) map[string]string {
	all := make(map[string]string, len(existing)+len(wanted))
	maps.Copy(all, existing)
	maps.Copy(all, wanted)
	return all
}

// authorityOfSigner is the reverse of signerName; nothing for the signers of others.
func authorityOfSigner(signer string) types.NamespacedName {
	rest, ours := strings.CutPrefix(signer, signerDomain)
	namespace, name, whole := strings.Cut(rest, ".")
	if !ours || !whole {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: namespace, Name: name}
}
