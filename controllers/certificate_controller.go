package controllers

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/output"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlscertificates,verbs=get;list;watch
// +kubebuilder:rbac:groups=mtls-operator.io,resources=mtlscertificates/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// CertificateReconciler keeps the Secret of each MTLSCertificate right.
type CertificateReconciler struct {
	shared

	foreign   client.Reader // names of Secrets that aren't the operator's
	issuer    *Issuer
	rotations *rotationMemories
	backlog   *backlog
	echoes    *echoes
}

func (o *operator) watchCertificates(mgr ctrl.Manager, options controller.Options) error {
	setup := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MTLSCertificate{}, builder.WithPredicates(specOrRequestChanged())).
		Watches(&corev1.Secret{}, o.certificates.echoes.handler(handler.EnqueueRequestsFromMapFunc(o.certificatesOfSecret),
			handler.EnqueueRequestsFromMapFunc(o.othersOfSecret))).
		Watches(&corev1.Secret{}, o.backlog.handler(o.certificatesOfCA), builder.WithPredicates(sinceTheStart(), rootsChanged())).
		WatchesRawSource(source.Channel(o.turns, o.backlog.handler(itself))).
		Watches(&v1alpha1.MTLSAuthority{}, handler.EnqueueRequestsFromMapFunc(o.certificatesWaitingFor),
			builder.WithPredicates(sinceTheStart(), abilityChanged())).
		Watches(&v1alpha1.MTLSAuthority{}, o.backlog.handler(o.certificatesOfAuthority),
			builder.WithPredicates(sinceTheStart(), abilityChanged())).
		WatchesRawSource(source.Kind(o.foreign, client.Object(secretMetadata()),
			handler.EnqueueRequestsFromMapFunc(o.certificatesOfSecret))).
		WithOptions(options)
	if len(o.options.Namespaces) == 0 {
		labelled := builder.WithPredicates(sinceTheStart(), predicate.LabelChangedPredicate{})
		setup = setup.
			WatchesMetadata(metadataOf("Namespace"), handler.EnqueueRequestsFromMapFunc(o.certificatesWaitingIn), labelled).
			WatchesMetadata(metadataOf("Namespace"), o.backlog.handler(o.certificatesIn), labelled)
	}
	return setup.Complete(o.certificates)
}

// leafPass is what a pass over one certificate has found out.
type leafPass struct {
	certificate *v1alpha1.MTLSCertificate
	wish        plan.Wish
	secret      *corev1.Secret // ours, without its key; nil when there is none
	authority   *v1alpha1.MTLSAuthority
	trust       trust // what the authority's certificates are delivered with
	signer      plan.Generation
	began       time.Time // on a clock that nobody sets

	leaf    *x509.Certificate // in the Secret at the end of the pass
	number  int64             // of the generation that signed it
	ours    bool              // the authority signed it
	uid     string            // of the authority whose generation that is
	renewAt time.Time
	next    time.Time
	events  []notice
}

// Reconcile makes one pass.
func (r *CertificateReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	defer r.backlog.done(request)
	certificate := &v1alpha1.MTLSCertificate{}
	if err := r.Get(ctx, request.NamespacedName, certificate); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !certificate.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the garbage collector takes the Secret, unless it is to be retained
	}
	pass := &leafPass{certificate: certificate, began: r.clock.Now()}
	err := r.observe(ctx, pass)
	if err == nil {
		err = r.act(ctx, pass)
	} else {
		err = r.keepTrust(ctx, pass, err)
	}
	return r.report(ctx, pass, err)
}

// observe reads all that the plan needs. It goes on as far as it can, so that a problem doesn't hide the leaf.
func (r *CertificateReconciler) observe(ctx context.Context, pass *leafPass) error {
	var err error
	if pass.secret, err = r.findSecret(ctx, pass.certificate); err != nil {
		return err
	}
	pass.remember(pass.secret, r.clock.Now())
	if err := r.findTrust(ctx, pass); err != nil {
		return err
	}
	if pass.wish, err = plan.NewWish(pass.certificate, r.options.ClusterDomain); err != nil {
		return mustAct(v1alpha1.ReasonInvalidSpec, "%s", specProblems(err))
	}
	if pass.authority, err = r.findAuthority(ctx, pass.certificate); err != nil {
		return err
	}
	pass.signer, err = r.findSigner(pass)
	return err
}

// remember the leaf that stands in the Secret. When a problem lasts, its message changes with the leaf's end. Who may write the
// Secret may put anything there: what status tells of a certificate is believed of that very one.
func (p *leafPass) remember(secret *corev1.Secret, now time.Time) {
	if secret == nil {
		return
	}
	certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey])
	if err == nil && describable(certificates[0]) {
		p.leaf, p.number = certificates[0], max(generationNumber(secret), 1)
		if issued := p.certificate.Status.Certificate; issued != nil && issued.FingerprintSHA256 == pki.Fingerprint(p.leaf) {
			p.number, p.uid = issued.AuthorityGeneration, issued.AuthorityUID
		}
		if ended := p.leaf.NotAfter.Add(time.Second); ended.After(now) {
			p.next = ended
		}
	}
}

// act carries the plan out.
func (r *CertificateReconciler) act(ctx context.Context, pass *leafPass) error {
	secret := types.NamespacedName{Namespace: pass.certificate.Namespace, Name: secretName(pass.certificate)}
	decision := plan.Leaf(plan.LeafInput{
		UID:    pass.certificate.UID,
		Wish:   pass.wish,
		Issuer: pass.signer.Issuer,
		Bundle: pass.trust.roots,
		Others: pass.trust.lineage.Beside(pass.signer.Number),
		Turn:   r.rotations.turn(authorityKey(pass.certificate), secret),
		Secret: observedLeaf(pass.secret),
	}, r.clock.Now())
	order := Order{
		Authority:     pass.authority,
		Generation:    pass.signer,
		Namespace:     pass.certificate.Namespace,
		ClusterDomain: r.options.ClusterDomain,
		Request:       pass.wish.Request,
		Duration:      pass.wish.Duration,
		Validity:      decision.Validity,
		Bundle:        pass.trust.roots,
		Reason:        decision.Reason,
	}
	denied := order.Review() // also when nothing is to be issued now: better told today than on the day of renewal
	switch {
	case decision.Issue && denied == nil:
		return r.issue(ctx, pass, decision, order)
	case decision.Issue:
		r.issuer.metrics.Issued(decision.Reason, resultDenied)
	}
	if err := r.maintain(ctx, pass, decision); err != nil {
		return err
	}
	if denied != nil {
		return r.issueProblem(pass, denied)
	}
	if decision.Expiring {
		own := pass.authority.Namespace == pass.certificate.Namespace
		return mustAct(v1alpha1.ReasonAuthorityExpiring, "MTLSAuthority %s ends at %s: less than a tenth of spec.duration "+
			"is left. Refer to another authority, or ask for a shorter duration", reference(authorityKey(pass.certificate), own),
			pass.signer.Issuer.Validity().NotAfter.Format(time.RFC3339))
	}
	return nil
}

// issue makes a new certificate and writes it.
func (r *CertificateReconciler) issue(ctx context.Context, pass *leafPass, decision plan.LeafPlan, order Order) error {
	key, err := r.leafKey(ctx, pass, decision)
	if err != nil {
		return err
	}
	leaf, err := r.issuer.Issue(ctx, order, key.Public())
	if err != nil {
		return r.keepTrust(ctx, pass, r.issueProblem(pass, err))
	}
	data, err := output.Render(output.Leaf{
		Certificate: leaf,
		Sent:        pass.signer.Issuer.Sent(),
		Key:         key,
		Encoding:    pass.wish.KeyEncoding,
		Bundle:      pass.trust.roots,
	})
	if err != nil {
		return r.keepTrust(ctx, pass, r.issueProblem(pass, err))
	}
	if err := r.write(ctx, pass, issuedTarget(pass, decision, data)); err != nil {
		return err
	}
	if pass.secret != nil || pass.certificate.Status.Certificate != nil {
		pass.events = append(pass.events, notice{
			corev1.EventTypeNormal, decision.Reason, "Issue",
			fmt.Sprintf("issued certificate %s, valid until %s: %s", pki.SerialNumber(leaf),
				leaf.NotAfter.Format(time.RFC3339), decision.Message),
		})
	}
	pass.leaf, pass.number, pass.uid = leaf, pass.signer.Number, string(pass.authority.UID)
	pass.renewAt, pass.next = plan.Renewal(pass.certificate.UID, pass.wish, pass.signer.Issuer, leaf, r.clock.Now())
	return nil
}

// maintain repairs what can be repaired without a new certificate: the roots, labels, annotations and the owner.
func (r *CertificateReconciler) maintain(ctx context.Context, pass *leafPass, decision plan.LeafPlan) error {
	if pass.secret == nil || decision.Certificate == nil {
		return nil
	}
	pass.renewAt = decision.RenewAt
	if pass.next.IsZero() || !decision.Next.IsZero() && decision.Next.Before(pass.next) {
		pass.next = decision.Next
	}
	if on, known := decision.Generation(pass.signer); known {
		pass.number, pass.uid = on.Number, string(pass.authority.UID)
	}
	return r.write(ctx, pass, keptTarget(pass, decision))
}

// leafKey returns the key for a new certificate: a new one, or that of the Secret if it is what the Secret says of it.
func (r *CertificateReconciler) leafKey(ctx context.Context, pass *leafPass, decision plan.LeafPlan,
) (crypto.Signer, error) {
	if !decision.ReuseKey {
		return pki.GenerateKey(pass.wish.KeyType)
	}
	secret := &corev1.Secret{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(pass.secret), secret); err != nil {
		return nil, err
	}
	key, _, err := pki.ParseKey(secret.Data[v1alpha1.PrivateKeyKey])
	if err != nil || !pki.SameKey(key.Public(), decision.Certificate.PublicKey) {
		return pki.GenerateKey(pass.wish.KeyType)
	}
	return key, nil
}

// report writes the status, if it changed, and then tells the events.
func (r *CertificateReconciler) report(ctx context.Context, pass *leafPass, err error) (ctrl.Result, error) {
	found, isProblem := errors.AsType[*problem](err)
	if err != nil && !isProblem {
		return retry(err)
	}
	before, after := pass.certificate, pass.certificate.DeepCopy()
	notReady := pass.verdict(found, r.clock.Now())
	after.Status = r.status(pass, notReady, found != nil && found.stalled)
	r.emit(before, pass.events...) // what they tell is written, whatever becomes of the status
	if err := r.patchStatus(ctx, before, after, !equal(before.Status, after.Status)); err != nil {
		return retry(err)
	}
	if found == nil {
		return r.requeueAt(pass.next), nil
	}
	if found.warn {
		r.emit(before, transition(before.Status.Conditions, v1alpha1.ConditionReady, notReady, "Issue")...)
	}
	if found.cause != nil {
		return retry(found.cause)
	}
	if found.retryAfter > 0 {
		return ctrl.Result{RequeueAfter: found.retryAfter}, nil
	}
	return r.requeueAt(pass.next), nil
}

// status describes the certificate as the pass leaves it.
func (r *CertificateReconciler) status(pass *leafPass, notReady plan.Verdict, isStalled bool,
) v1alpha1.MTLSCertificateStatus {
	status := v1alpha1.MTLSCertificateStatus{
		ObservedGeneration: pass.certificate.Generation,
		SecretName:         secretName(pass.certificate),
	}
	if pass.leaf != nil {
		status.Certificate = certificateStatus(pass.leaf, pass.renewAt, pass.number, pass.uid)
		status.Expires = new(metav1.NewTime(pass.leaf.NotAfter))
	}
	var stalled plan.Verdict
	if isStalled {
		stalled = notReady
	}
	ready := plan.Verdict{Reason: v1alpha1.ReasonIssued, Message: fmt.Sprintf("Secret %q holds the certificate", status.SecretName)}
	status.Conditions = r.conditions(pass.certificate.Status.Conditions, pass.certificate.Generation, ready, notReady, stalled)
	return status
}

// verdict tells a problem together with what it leaves of the certificate there was; nothing when there is none.
func (p *leafPass) verdict(found *problem, now time.Time) plan.Verdict {
	if found == nil {
		return plan.Verdict{}
	}
	message := found.message
	if p.leaf != nil {
		end, name := p.leaf.NotAfter.Format(time.RFC3339), secretName(p.certificate)
		if now.After(p.leaf.NotAfter) {
			message += fmt.Sprintf(". The certificate in Secret %q ended at %s", name, end)
		} else {
			message += fmt.Sprintf(". Secret %q keeps its certificate, valid until %s", name, end)
		}
	}
	return plan.Verdict{Reason: found.reason, Message: message}
}

// issueProblem sorts the errors of issuing.
func (r *CertificateReconciler) issueProblem(pass *leafPass, err error) error {
	if violations, ok := errors.AsType[policy.Violations](err); ok {
		violations = slices.Clone(violations)
		for i := range violations {
			path := strings.TrimPrefix(violations[i].Field, "spec.")
			violations[i].Field = "spec." + plan.Origin(pass.certificate, r.options.ClusterDomain, path)
		}
		return mustAct(v1alpha1.ReasonDenied, "%s", cut(violations.Error()))
	}
	if violation, ok := errors.AsType[*pki.NameConstraintError](err); ok {
		return mustAct(v1alpha1.ReasonNameConstraintViolation, "%s. Ask for other names, or refer to another authority",
			cut(violation.Error()))
	}
	if fields, ok := errors.AsType[pki.FieldErrors](err); ok { // the spec is valid, but not under this CA
		return mustAct(v1alpha1.ReasonInvalidSpec, "%s", specProblems(fields))
	}
	if unavailable, ok := errors.AsType[keyUnavailable](err); ok {
		return unavailable
	}
	failed := mustAct(v1alpha1.ReasonIssuanceFailed, "%s", cut(err.Error()))
	failed.stalled, failed.cause = false, err
	return failed
}
