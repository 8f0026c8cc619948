package controllers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

// findSecret returns the Secret of a certificate from the cache, nil when there is none. One that exists and isn't the
// certificate's is a problem.
func (r *CertificateReconciler) findSecret(ctx context.Context, certificate *v1alpha1.MTLSCertificate,
) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: certificate.Namespace, Name: secretName(certificate)}
	secret := &corev1.Secret{}
	err := r.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, r.checkForeign(ctx, certificate, key)
	}
	if err != nil {
		return nil, err
	}
	if holder := otherHolder(secret, certificate); holder != "" {
		return nil, conflict(key.Name, holder)
	}
	if secret.Type != corev1.SecretTypeTLS {
		return nil, conflict(key.Name, fmt.Sprintf("has type %q", secret.Type))
	}
	return secret, nil
}

// checkForeign looks whether a Secret without our label is in the way, before a key is made for nothing.
func (r *CertificateReconciler) checkForeign(ctx context.Context, certificate *v1alpha1.MTLSCertificate,
	key types.NamespacedName,
) error {
	err := r.foreign.Get(ctx, key, secretMetadata())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.classify(ctx, certificate, key)
}

// classify finds out, with one live read, what a Secret is that isn't in the cache although it exists: foreign, which is a
// problem; ours and not in the cache yet, which is a conflict; or ours without our label, which is put back.
func (r *CertificateReconciler) classify(ctx context.Context, certificate *v1alpha1.MTLSCertificate,
	key types.NamespacedName,
) error {
	secret := secretMetadata()
	err := r.live.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return stale(key.Name)
	}
	if err != nil {
		return err
	}
	if holder := otherHolder(secret, certificate); holder != "" {
		return conflict(key.Name, holder)
	}
	if generationNumber(secret) == 0 {
		if err := r.relabel(ctx, secret); err != nil {
			return err
		}
	}
	return stale(key.Name)
}

// stale is the error of a pass that saw the cluster as it was.
func stale(name string) error {
	return apierrors.NewConflict(corev1.Resource("secrets"), name, errors.New("the cache is behind"))
}

// otherHolder tells in words whose a Secret is, empty when it is the certificate's: owned by it, or by one of its name
// that is no more (the object was deleted and made anew), or retained by one of its name.
func otherHolder(secret metav1.Object, certificate *v1alpha1.MTLSCertificate) string {
	owner := metav1.GetControllerOf(secret)
	name := secret.GetAnnotations()[v1alpha1.CertificateAnnotation]
	switch {
	case owner == nil && name == certificate.Name:
		return ""
	case owner == nil && name == "":
		return "wasn't made by this operator"
	case owner == nil:
		return fmt.Sprintf("was retained by MTLSCertificate %q", name)
	case owner.Kind == "MTLSCertificate" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/") &&
		owner.Name == certificate.Name:
		return ""
	default:
		return fmt.Sprintf("belongs to %s %q", owner.Kind, owner.Name)
	}
}

func conflict(name, holder string) *problem {
	return mustAct(v1alpha1.ReasonSecretConflict, "Secret %q exists and %s. It is left alone: delete it, or make "+
		"another MTLSCertificate with another secretName", name, holder)
}

// findAuthority returns the authority of a certificate if it permits the certificate's namespace. From another namespace
// "absent" and "not permitted" are told alike: what exists elsewhere is nobody's business.
func (r *CertificateReconciler) findAuthority(ctx context.Context, certificate *v1alpha1.MTLSCertificate,
) (*v1alpha1.MTLSAuthority, error) {
	key := authorityKey(certificate)
	authority := &v1alpha1.MTLSAuthority{}
	own := key.Namespace == certificate.Namespace
	if !own && !r.options.watched(key.Namespace) {
		return nil, r.notPermitted(key, certificate.Namespace)
	}
	err := r.Get(ctx, key, authority)
	switch {
	case apierrors.IsNotFound(err) && own:
		return nil, waits(v1alpha1.ReasonAuthorityNotFound,
			"MTLSAuthority %q doesn't exist in this namespace: create it, or correct spec.authorityRef", key.Name)
	case apierrors.IsNotFound(err):
		return nil, r.notPermitted(key, certificate.Namespace)
	case err != nil:
		return nil, err
	}
	permitted, err := r.permits(ctx, authority, certificate.Namespace)
	if err != nil {
		return nil, err
	}
	if !permitted {
		return nil, r.notPermitted(key, certificate.Namespace)
	}
	if !authority.DeletionTimestamp.IsZero() && certificate.CreationTimestamp.After(authority.DeletionTimestamp.Time) {
		return nil, notReady(reference(key, own), own, "it is being deleted")
	}
	return authority, nil
}

func (s shared) notPermitted(authority types.NamespacedName, namespace string) *problem {
	served := ""
	if len(s.options.Namespaces) > 0 {
		served = " in the namespaces that this operator serves (--namespaces)"
	}
	denial := waits(v1alpha1.ReasonAuthorityNotPermitted, "spec.authorityRef: there is no MTLSAuthority %q%s that permits "+
		"certificates from namespace %q: correct the reference, or ask its owner to add the namespace to "+
		"spec.allowedNamespaces", authority, served, namespace)
	denial.warn = true
	return denial
}

// permits tells whether certificates of a namespace may refer to the authority.
func (s shared) permits(ctx context.Context, authority *v1alpha1.MTLSAuthority, namespace string) (bool, error) {
	labels, err := s.namespaceLabels(ctx, authority.Spec.AllowedNamespaces, namespace)
	if err != nil {
		return false, err
	}
	permitted, err := policy.Permits(authority, namespace, labels)
	return permitted && err == nil, nil // an invalid selector permits nobody; the authority's status tells of it
}

// namespaceLabels are the labels of a namespace, when they matter and may be read.
func (s shared) namespaceLabels(ctx context.Context, allowed *v1alpha1.AllowedNamespaces, name string,
) (map[string]string, error) {
	if !selects(allowed) || len(s.options.Namespaces) > 0 {
		return nil, nil
	}
	namespace := metadataOf("Namespace")
	err := s.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return namespace.Labels, client.IgnoreNotFound(err)
}

// blindness of an operator that may not read the labels of namespaces, told to who would wait for them to count.
func (s shared) blindness(authority *v1alpha1.MTLSAuthority) string {
	everyNamespace := &metav1.LabelSelector{} // which takes no labels
	allowed := authority.Spec.AllowedNamespaces
	if len(s.options.Namespaces) == 0 || !selects(allowed) || equal(allowed.Selector, everyNamespace) {
		return ""
	}
	return ". spec.allowedNamespaces permits no other namespace: this operator serves some namespaces only (--namespaces) and " +
		"cannot see the labels of namespaces. Set from: All, and in allowedNames what others may have"
}

func selects(allowed *v1alpha1.AllowedNamespaces) bool {
	return allowed != nil && allowed.From == v1alpha1.FromSelector
}

// findSigner returns the generation that signs for the certificate.
func (r *CertificateReconciler) findSigner(pass *leafPass) (plan.Generation, error) {
	own := pass.authority.Namespace == pass.certificate.Namespace
	name := reference(client.ObjectKeyFromObject(pass.authority), own)
	signer, found := pass.trust.lineage.Signer()
	if !found {
		return plan.Generation{}, notReady(name, own, readyMessage(pass.authority))
	}
	validity := signer.Issuer.Validity()
	if now := r.clock.Now(); now.Before(validity.NotBefore) || now.After(validity.NotAfter) {
		return plan.Generation{}, notReady(name, own, fmt.Sprintf("its CA is valid from %s to %s",
			validity.NotBefore.Format(time.RFC3339), validity.NotAfter.Format(time.RFC3339)))
	}
	return signer, nil
}

// findTrust finds what certificates of the authority are delivered with, if there is that authority. Whether it permits the
// certificate is another matter: the roots of one that it signed before are kept right.
func (r *CertificateReconciler) findTrust(ctx context.Context, pass *leafPass) error {
	key, authority := authorityKey(pass.certificate), &v1alpha1.MTLSAuthority{}
	if !r.options.watched(key.Namespace) {
		return nil
	}
	err := r.Get(ctx, key, authority)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	pass.trust, err = r.settledTrust(ctx, authority)
	if pass.uid == "" && pass.leaf != nil {
		if on := pass.trust.lineage.On(pass.leaf); on > 0 {
			pass.number, pass.uid = on, string(authority.UID)
		}
	}
	pass.ours = plan.IsOrWas(authority, types.UID(pass.uid))
	return err
}

// keepTrust brings the roots of a certificate up to date that can't be issued now, because of a problem: the others' depend on
// it. It returns the problem, or why the Secret can't be written either. A Secret that has nothing of the authority, as when
// the certificate came from another one that signed it, is left as it is.
func (r *CertificateReconciler) keepTrust(ctx context.Context, pass *leafPass, problem error) error {
	if pass.secret == nil || len(pass.trust.lineage.Live) == 0 {
		return problem
	}
	bundle := pass.secret.Data[v1alpha1.BundleKey]
	if !pass.ours && len(pass.trust.lineage.In(bundle)) == 0 || bytes.Equal(bundle, pass.trust.roots.PEM()) {
		return problem
	}
	err := r.patchSecret(ctx, pass.secret, trustPatch(pass.secret, pass.trust.roots, r.clock.Now()))
	return cmp.Or(rejected(err, v1alpha1.ReasonSecretRejected, pass.secret.Name), problem)
}

func reference(authority types.NamespacedName, own bool) string {
	if own {
		return fmt.Sprintf("%q", authority.Name)
	}
	return fmt.Sprintf("%q", authority)
}

func readyMessage(authority *v1alpha1.MTLSAuthority) string {
	ready := meta.FindStatusCondition(authority.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return ""
	}
	return ready.Message
}
