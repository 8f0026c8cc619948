package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// consumers are all to whom the roots of an authority are delivered: its own, and those of the authorities below it. They are
// enumerated from what people asked for.
func (r *AuthorityReconciler) consumers(ctx context.Context, pass *authorityPass) error {
	authority := pass.authority
	below, err := authoritiesBelow(ctx, r, client.ObjectKeyFromObject(authority))
	if err != nil {
		return err
	}
	view := &consumerView{
		lineage: pass.input.Lineage, roots: pass.roots, now: r.clock.Now(), domain: r.options.ClusterDomain, memory: pass.memory,
		seen: map[types.UID]bool{},
	}
	view.signer, _ = view.lineage.Signer()
	view.next, _ = view.lineage.Next()
	pass.input.Consumers, pass.input.Children = []plan.Consumer{}, nil
	for _, of := range append([]*v1alpha1.MTLSAuthority{authority}, below...) {
		view.of, view.own = of, of == authority
		if err := r.certificateConsumers(ctx, of, view); err != nil {
			return err
		}
		published, err := r.trustConsumers(ctx, of, pass.input.Lineage, pass.roots)
		if err != nil {
			return err
		}
		for i := range published {
			if !view.own {
				published[i].Leaf = nil // retained, of an authority below
			}
		}
		view.found = append(view.found, published...)
		if !view.own && of.Spec.SignedBy != nil && parentKey(of) == client.ObjectKeyFromObject(authority) {
			children, err := r.children(ctx, of, view)
			if err != nil {
				return err
			}
			pass.input.Children = append(pass.input.Children, children...)
		}
	}
	pass.input.Consumers = append(pass.input.Consumers, view.found...)
	view.memory.forgetLeaves(view.seen)
	return nil
}

// consumerView is what consumers are looked at with.
type consumerView struct {
	lineage      plan.Lineage
	roots        pki.Bundle
	signer, next plan.Generation
	of           *v1alpha1.MTLSAuthority // whose consumers they are
	own          bool                    // it is the authority itself, not one below
	now          time.Time
	domain       string
	memory       *rotationMemory

	found []plan.Consumer
	seen  map[types.UID]bool
}

// certificateConsumers are the Secrets of the certificates that refer to an authority.
func (r *AuthorityReconciler) certificateConsumers(ctx context.Context, of *v1alpha1.MTLSAuthority, view *consumerView) error {
	certificates, secrets := &v1alpha1.MTLSCertificateList{}, &corev1.SecretList{}
	key := client.MatchingFields{byAuthority: client.ObjectKeyFromObject(of).String()}
	if err := r.List(ctx, certificates, key, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	issuedBy := client.MatchingFields{byIssuer: client.ObjectKeyFromObject(of).String()}
	if err := r.List(ctx, secrets, issuedBy, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	byName := make(map[types.NamespacedName]*corev1.Secret, len(secrets.Items))
	for i := range secrets.Items {
		byName[client.ObjectKeyFromObject(&secrets.Items[i])] = &secrets.Items[i]
	}
	for i := range certificates.Items {
		certificate := &certificates.Items[i]
		name := types.NamespacedName{Namespace: certificate.Namespace, Name: secretName(certificate)}
		if consumer, expected := view.consumer(certificate, byName[name]); expected {
			view.found = append(view.found, consumer)
		}
	}
	return nil
}

// consumer is the Secret of a certificate, and whether it counts: one that never was there, or isn't the certificate's,
// never held our roots.
func (v *consumerView) consumer(certificate *v1alpha1.MTLSCertificate, secret *corev1.Secret) (plan.Consumer, bool) {
	ready := meta.FindStatusCondition(certificate.Status.Conditions, v1alpha1.ConditionReady)
	consumer := plan.Consumer{
		ConsumerRef: plan.ConsumerRef{Kind: plan.ConsumerSecret, Namespace: certificate.Namespace, Name: secretName(certificate)},
		Born:        certificate.CreationTimestamp.Time,
		Reload:      certificate.Spec.Reload,
		Problem:     unwritable(ready),
	}
	if secret == nil || secret.Type != corev1.SecretTypeTLS || otherHolder(secret, certificate) != "" {
		consumer.Missing, consumer.Problem = true, unready(ready)
		had := v.issued(certificate) && certificate.DeletionTimestamp.IsZero()
		return consumer, secret == nil && had && !isForeign(ready)
	}
	v.hold(&consumer, secret)
	if len(consumer.Holds) == 0 && !v.issued(certificate) && ready != nil && ready.Status == metav1.ConditionFalse {
		return consumer, false // it came from another authority, and this one doesn't issue it
	}
	if v.own {
		consumer.Leaf = v.leaf(certificate, secret, ready)
	}
	return consumer, true
}

// issued tells whether the operator says that the authority issued the certificate that there is, or was.
func (v *consumerView) issued(certificate *v1alpha1.MTLSCertificate) bool {
	issued := certificate.Status.Certificate
	return issued != nil && plan.IsOrWas(v.of, types.UID(issued.AuthorityUID))
}

// hold tells which generations' roots a Secret holds.
func (v *consumerView) hold(consumer *plan.Consumer, secret *corev1.Secret) {
	bundle := secret.Data[v1alpha1.BundleKey]
	consumer.Holds = v.lineage.In(bundle)
	consumer.Current = bytes.Equal(bundle, v.roots.PEM())
	consumer.BundleSince = timeOf(secret.Annotations[v1alpha1.BundleSinceAnnotation])
}

// leaf is the certificate in a Secret, nil when no live generation signed it.
func (v *consumerView) leaf(certificate *v1alpha1.MTLSCertificate, secret *corev1.Secret, ready *metav1.Condition,
) *plan.ConsumerLeaf {
	v.seen[secret.UID] = true
	known := v.memory.leaf(secret, v.lineage)
	if known.on == 0 {
		return nil
	}
	leaf := &plan.ConsumerLeaf{
		On:    known.on,
		Ends:  known.ends,
		Since: timeOf(secret.Annotations[v1alpha1.IssuerSinceAnnotation]),
	}
	leaf.Kept, leaf.Refused = v.stuck(certificate, ready)
	if issued := certificate.Status.Certificate; issued != nil && issued.RenewalTime != nil {
		leaf.RenewBefore = issued.NotAfter.Sub(issued.RenewalTime.Time)
	}
	return leaf
}

// stuck says why a certificate isn't issued again, whatever signs or while this signer does, and why the next one can't.
func (v *consumerView) stuck(certificate *v1alpha1.MTLSCertificate, ready *metav1.Condition) (kept, refused string) {
	reason := ""
	if ready != nil && ready.Status == metav1.ConditionFalse {
		reason = ready.Reason
	}
	if slices.Contains(keptFor, reason) {
		return cut(ready.Message), ""
	}
	expiring := reason == v1alpha1.ReasonAuthorityExpiring
	if !expiring && v.next.Number == 0 {
		return "", ""
	}
	wish, err := plan.NewWish(certificate, v.domain)
	if err != nil {
		return "", "" // it isn't issued because of that, which is a reason of its own
	}
	if expiring && v.expiring(v.signer, wish) != "" {
		kept = cut(ready.Message)
	}
	if v.next.Number > 0 { // what the signer can't, the next one may
		refused = v.refused(wish)
	}
	return kept, refused
}

// keptFor are the reasons for which a certificate isn't issued again, whatever signs.
var keptFor = []string{
	v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonAuthorityNotPermitted, v1alpha1.ReasonDenied,
	v1alpha1.ReasonNameConstraintViolation, v1alpha1.ReasonSecretRejected,
}

// refused says why the next generation can't issue a certificate that the present one can; empty when it can.
func (v *consumerView) refused(wish plan.Wish) string {
	if v.signer.Number > 0 && (v.signer.Issuer.Allows(wish.Request) != nil || v.expiring(v.signer, wish) != "") {
		return ""
	}
	if err := v.next.Issuer.Allows(wish.Request); err != nil {
		return cut(err.Error())
	}
	return v.expiring(v.next, wish)
}

// expiring says why a certificate of a generation would be useless, empty when it wouldn't be.
func (v *consumerView) expiring(by plan.Generation, wish plan.Wish) string {
	if by.Number == 0 || v.now.Before(plan.UselessFrom(by.Issuer, wish.Duration)) {
		return ""
	}
	return fmt.Sprintf("spec.duration is %s, and of generation %d, which ends at %s, less than a tenth of that is left",
		wish.Duration, by.Number, by.Issuer.Validity().NotAfter.UTC().Format(time.RFC3339))
}

// unready says why a Secret that is gone can't be made anew, empty when it can.
func unready(ready *metav1.Condition) string {
	if ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason != v1alpha1.ReasonAuthorityNotReady {
		return cut(ready.Message)
	}
	return ""
}

// unwritable says why a Secret can't be written, empty when it can.
func unwritable(ready *metav1.Condition) string {
	if ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == v1alpha1.ReasonSecretRejected {
		return cut(ready.Message)
	}
	return ""
}

// isForeign tells whether a Secret of somebody else has the name.
func isForeign(ready *metav1.Condition) bool {
	return ready != nil && ready.Status == metav1.ConditionFalse &&
		(ready.Reason == v1alpha1.ReasonSecretConflict || ready.Reason == v1alpha1.ReasonAuthorityNotPermitted)
}

// children are the generations of an authority below that the generations of this one signed.
func (r *AuthorityReconciler) children(ctx context.Context, child *v1alpha1.MTLSAuthority, view *consumerView,
) ([]plan.Child, error) {
	lineage, err := r.lineage(ctx, child)
	if err != nil {
		return nil, err
	}
	var all []plan.Child
	signer, _ := lineage.Signer()
	for _, generation := range lineage.Live {
		one := plan.Child{
			Authority: client.ObjectKeyFromObject(child).String(),
			Number:    generation.Number,
			Ends:      generation.Issuer.Validity().NotAfter,
			Held:      held(child),
		}
		for _, above := range view.lineage.Live {
			if generation.Issuer.SignedBy(above.Issuer) {
				one.On = above.Number
			}
		}
		if view.next.Number > 0 && generation.Number == signer.Number {
			one.Refused = refusedChild(child, view.next, r.options.MinPropagationDelay)
		}
		if one.On > 0 {
			all = append(all, one)
		}
	}
	return all, nil
}

// held says what the rotation of an authority below waits for that doesn't go away by itself, empty for nothing.
func held(child *v1alpha1.MTLSAuthority) string {
	rotation := child.Status.Rotation
	stalled := meta.FindStatusCondition(child.Status.Conditions, v1alpha1.ConditionStalled)
	switch {
	case stalled != nil && stalled.Status == metav1.ConditionTrue:
		return cut(stalled.Message)
	case rotation != nil && ptr.Deref(rotation.BlockerCount, 0) > 0:
		return rotation.Message
	}
	return ""
}

// refusedChild says why the next generation can't sign an authority below; empty when it can.
func refusedChild(child *v1alpha1.MTLSAuthority, next plan.Generation, minDelay time.Duration) string {
	wish, err := plan.NewAuthorityWish(child, minDelay)
	if err != nil {
		return ""
	}
	request, err := pki.NewAuthorityRequest(wish.Fields)
	if err != nil {
		return ""
	}
	if err := next.Issuer.AllowsAuthority(request); err != nil {
		return cut(err.Error())
	}
	return ""
}
