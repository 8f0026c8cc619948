package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// maxDeliveries bounds the writes of one pass, so that it ends before it is cut off, whatever the number of namespaces.
const maxDeliveries = 500

// TrustReconciler brings the roots of each MTLSAuthority to where nobody else does: the ConfigMaps and ClusterTrustBundles
// that spec.trustBundle asks for, and the Secrets that outlived their MTLSCertificate. It doesn't depend on whether anything
// can be issued.
type TrustReconciler struct{ shared }

func newTrustReconciler(s shared) *TrustReconciler { return &TrustReconciler{s} }

// trustPass is one delivery of an authority's roots.
type trustPass struct {
	authority *v1alpha1.MTLSAuthority
	key       types.NamespacedName
	now       time.Time
	hash      string // of the set of roots
	pem       []byte // empty while there are none
	lineage   plan.Lineage

	before, obstacles obstacles
	visited           map[plan.ConsumerRef]bool
	deliveries        int
	unfinished        bool // not everything was looked at
	next              time.Time
	errs              []error
}

// Reconcile makes one pass.
func (r *TrustReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if !r.options.watched(request.Namespace) {
		return ctrl.Result{}, nil // somebody else's: that its authority isn't in the cache says nothing
	}
	authority := &v1alpha1.MTLSAuthority{}
	err := r.Get(ctx, request.NamespacedName, authority)
	if apierrors.IsNotFound(err) {
		// What a pass made while the authority was let go, or what is left of one that was forced to go.
		authority.Namespace, authority.Name = request.Namespace, request.Name
		r.published.forget(request.NamespacedName)
		return retry(r.removeTrust(ctx, authority))
	}
	if err != nil {
		return retry(err)
	}
	found, err := r.settledTrust(ctx, authority)
	if err != nil {
		return retry(err)
	}
	return r.deliver(ctx, authority, found.roots, found.lineage)
}

// deliver brings the bundle to everybody. What fails for one of them doesn't keep the others waiting.
func (r *TrustReconciler) deliver(ctx context.Context, authority *v1alpha1.MTLSAuthority, bundle pki.Bundle,
	lineage plan.Lineage,
) (ctrl.Result, error) {
	pass := r.newTrustPass(authority, bundle, lineage)
	for _, kind := range []func(context.Context, *trustPass) error{r.deliverRetained, r.deliverConfigMaps, r.deliverBundles} {
		if err := kind(ctx, pass); err != nil {
			pass.unfinished = true
			pass.errs = append(pass.errs, err)
		}
	}
	return r.finish(pass)
}

func (r *TrustReconciler) newTrustPass(authority *v1alpha1.MTLSAuthority, bundle pki.Bundle, lineage plan.Lineage) *trustPass {
	pass := &trustPass{
		authority: authority,
		key:       client.ObjectKeyFromObject(authority),
		now:       r.clock.Now(),
		hash:      bundle.Hash(),
		lineage:   lineage,
		obstacles: obstacles{},
		visited:   map[plan.ConsumerRef]bool{},
	}
	if len(bundle.Certificates()) > 0 {
		pass.pem = bundle.PEM()
	}
	pass.before = r.published.of(pass.key)
	return pass
}

// finish remembers what stood in the way, and warns of what is new.
func (r *TrustReconciler) finish(pass *trustPass) (ctrl.Result, error) {
	for ref, obstacle := range pass.before {
		if pass.unfinished && !pass.visited[ref] {
			pass.obstacles[ref] = obstacle
		}
	}
	news := pass.obstacles.newsFor(pass.authority, pass.before)
	if r.published.set(pass.key, pass.obstacles) {
		r.published.tell(pass.key)
	}
	r.emit(pass.authority, news...)
	if err := errors.Join(pass.errs...); err != nil {
		return retry(err)
	}
	if pass.unfinished {
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	}
	for _, obstacle := range pass.obstacles {
		pass.lookAgain(obstacle.retryAt)
	}
	return r.requeueAt(pass.next), nil
}

// removeTrust takes back what was published for an authority. What it signed stays as good as it is, and so does what
// outlived its MTLSCertificate.
func (s shared) removeTrust(ctx context.Context, authority *v1alpha1.MTLSAuthority) error {
	key := client.ObjectKeyFromObject(authority)
	configMaps, err := s.configMapsOf(ctx, key)
	if err != nil {
		return err
	}
	for i := range configMaps {
		if err := s.remove(ctx, &configMaps[i]); err != nil {
			return err
		}
	}
	if !s.servesBundles() {
		return nil
	}
	return s.removeBundles(ctx, key, "")
}

// remove deletes an object as it was seen. Cached objects must not be changed: what is sent is another one.
func (s shared) remove(ctx context.Context, seen client.Object) error {
	object := &metav1.ObjectMeta{Namespace: seen.GetNamespace(), Name: seen.GetName()}
	exactly := client.Preconditions{UID: new(seen.GetUID()), ResourceVersion: new(seen.GetResourceVersion())}
	var err error
	if _, isConfigMap := seen.(*corev1.ConfigMap); isConfigMap {
		err = s.Delete(ctx, &corev1.ConfigMap{ObjectMeta: *object}, exactly)
	} else {
		err = s.Delete(ctx, newBundle(object.Name), exactly)
	}
	return client.IgnoreNotFound(err)
}

// begin tells whether to look at a place in this pass: not when there is no room left for a write.
func (p *trustPass) begin(ctx context.Context, ref plan.ConsumerRef) bool {
	if ctx.Err() != nil || p.deliveries >= maxDeliveries {
		p.unfinished = true
		return false
	}
	p.visited[ref] = true
	return true
}

// waits tells whether a place isn't to be tried yet, since the last try was in vain.
func (p *trustPass) waits(ref plan.ConsumerRef) bool {
	obstacle, found := p.before[ref]
	if found && p.now.Before(obstacle.retryAt) {
		p.obstacles[ref] = obstacle
		return true
	}
	return false
}

// done notes the outcome of a write: what the API server refuses is an obstacle and tried again later, everything else is
// an error of the pass.
func (p *trustPass) done(ref plan.ConsumerRef, err error) {
	p.deliveries++
	switch {
	case err == nil:
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		p.obstacles[ref] = obstacle{nowhere: true, retryAt: p.now.Add(rejectedDelay)}
	case apierrors.IsNotFound(err): // deleted meanwhile: its event is under way
		p.fail(ref, behind(ref))
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsRequestEntityTooLargeError(err),
		apierrors.IsBadRequest(err):
		p.obstacles[ref] = refused(ref, err, p.now)
	default:
		p.fail(ref, err)
	}
}

// fail notes an error of the pass, which is made again. What stood in the way there may still do.
func (p *trustPass) fail(ref plan.ConsumerRef, err error) {
	p.errs = append(p.errs, err)
	if obstacle, found := p.before[ref]; found {
		p.obstacles[ref] = obstacle
	}
}

func (p *trustPass) lookAgain(at time.Time) {
	if !at.IsZero() && (p.next.IsZero() || at.Before(p.next)) {
		p.next = at
	}
}

// facts about the roots at a place, as annotations. The time is that of the last change of the set of roots: what is written
// again although it is the same keeps it.
func (p *trustPass) facts(annotations map[string]string, edited bool) map[string]string {
	since := annotations[v1alpha1.BundleSinceAnnotation]
	if edited || annotations[v1alpha1.BundleHashAnnotation] != p.hash || timeOf(since).IsZero() {
		since = p.now.UTC().Format(time.RFC3339)
	}
	return map[string]string{
		v1alpha1.IssuedByAnnotation:    p.key.String(),
		v1alpha1.BundleHashAnnotation:  p.hash,
		v1alpha1.BundleSinceAnnotation: since,
	}
}

func (p *trustPass) labels() map[string]string {
	return map[string]string{v1alpha1.TrustBundleLabel: p.key.Name}
}

// behind is the error of a pass that saw the cluster as it was.
func behind(ref plan.ConsumerRef) error {
	return apierrors.NewConflict(corev1.Resource(string(ref.Kind)), ref.Name, errors.New("the cache is behind"))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// issuedBy is the authority whose roots are in an object, by the annotation that all of ours have; empty for others.
func issuedBy(object metav1.Object) types.NamespacedName {
	namespace, name, _ := strings.Cut(object.GetAnnotations()[v1alpha1.IssuedByAnnotation], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}
