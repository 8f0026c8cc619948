package controllers

import (
	"bytes"
	"context"
	"crypto/x509"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// retained is a Secret that outlived its MTLSCertificate: nobody issues its certificate again, and those who use it need the
// roots of their peers until it ends.
type retained struct {
	secret *corev1.Secret // from the cache: it must not be changed
	leaf   *x509.Certificate
}

// retainer is the authority that a Secret gets its roots from should it have outlived its MTLSCertificate; empty for others.
func retainer(object client.Object) types.NamespacedName {
	secret, ok := object.(*corev1.Secret)
	if !ok || secret.Type != corev1.SecretTypeTLS || metav1.GetControllerOf(secret) != nil {
		return types.NamespacedName{}
	}
	return issuedBy(secret)
}

// retainedOf are the Secrets that outlived their MTLSCertificate and whose certificates the authority signed and still trusts,
// from the cache.
func (s shared) retainedOf(ctx context.Context, authority types.NamespacedName, lineage plan.Lineage) ([]retained, error) {
	secrets := &corev1.SecretList{}
	err := s.List(ctx, secrets, client.MatchingFields{byRetainer: authority.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	var all []retained
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		// Asked first, since it costs next to nothing: with deletionPolicy Retain these are all Secrets that are in use.
		wanted, err := s.isWanted(ctx, secret)
		if err != nil {
			return nil, err
		}
		if wanted {
			continue
		}
		certificates, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey])
		if err != nil || s.clock.Now().After(certificates[0].NotAfter) || lineage.On(certificates[0]) == 0 {
			continue
		}
		all = append(all, retained{secret, certificates[0]})
	}
	return all, nil
}

// isWanted tells whether there is an MTLSCertificate for a Secret: then the Secret is looked after.
func (s shared) isWanted(ctx context.Context, secret *corev1.Secret) (bool, error) {
	certificates := &v1alpha1.MTLSCertificateList{}
	err := s.List(ctx, certificates, client.InNamespace(secret.Namespace), client.MatchingFields{bySecretName: secret.Name},
		client.UnsafeDisableDeepCopy, client.DisableReadYourWritesConsistency)
	return len(certificates.Items) > 0, err
}

func secretRef(secret *corev1.Secret) plan.ConsumerRef {
	return plan.ConsumerRef{Kind: plan.ConsumerSecret, Namespace: secret.Namespace, Name: secret.Name}
}

// deliverRetained keeps the roots in such Secrets current, and touches nothing else in them.
func (r *TrustReconciler) deliverRetained(ctx context.Context, pass *trustPass) error {
	all, err := r.retainedOf(ctx, pass.key, pass.lineage)
	if err != nil || len(pass.pem) == 0 {
		return err
	}
	for _, one := range all {
		ref := secretRef(one.secret)
		if !pass.begin(ctx, ref) {
			continue
		}
		if patch := retainedPatch(one.secret, pass); patch != nil && !pass.waits(ref) {
			pass.done(ref, r.patchSecret(ctx, one.secret, patch))
		}
	}
	return nil
}

func retainedPatch(secret *corev1.Secret, pass *trustPass) []byte {
	edited := !bytes.Equal(secret.Data[v1alpha1.BundleKey], pass.pem)
	metadata, data := map[string]any{}, map[string]any{}
	put(metadata, "annotations", difference(secret.Annotations, pass.facts(secret.Annotations, edited), nil))
	if edited {
		data[v1alpha1.BundleKey] = pass.pem
	}
	if len(metadata)+len(data) == 0 {
		return nil
	}
	return mergePatch(secret, metadata, data)
}

// consumer is the Secret as the planner sees it.
func (o retained) consumer(view trustView) plan.Consumer {
	roots, _ := pki.ParseBundle(o.secret.Data[v1alpha1.BundleKey]) // none, when they cannot be read
	consumer := plan.Consumer{
		ConsumerRef: secretRef(o.secret),
		Born:        o.secret.CreationTimestamp.Time,
		Holds:       holds(view.lineage, roots),
		Current:     string(o.secret.Data[v1alpha1.BundleKey]) == view.pem,
		BundleSince: timeOf(o.secret.Annotations[v1alpha1.BundleSinceAnnotation]),
		Problem:     view.obstacles[secretRef(o.secret)].message,
		Reload:      v1alpha1.ReloadWatch,
	}
	if on := view.lineage.On(o.leaf); on > 0 {
		consumer.Leaf = &plan.ConsumerLeaf{
			On:    on,
			Ends:  o.leaf.NotAfter.Truncate(time.Second),
			Since: timeOf(o.secret.Annotations[v1alpha1.IssuerSinceAnnotation]),
			Kept:  "its MTLSCertificate was deleted and it was retained",
		}
	}
	return consumer
}
