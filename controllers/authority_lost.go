package controllers

import (
	"context"
	"crypto/x509"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// observeLost looks for the certificates of CAs whose Secrets are gone where they were delivered to, so that what they signed
// stays trusted while it is replaced. Whoever may write a leaf Secret may put any root there: only those count that status
// tells of, that a person named, or that signed a certificate that the operator told of in its status.
func (r *AuthorityReconciler) observeLost(ctx context.Context, pass *authorityPass) error {
	_, signs := pass.input.Lineage.Signer()
	waits := pass.input.Restored && len(pass.input.Lineage.Live)+len(pass.input.Lineage.Dead) == 0
	known := knownRoots(pass)
	if signs {
		known = goneRoots(pass)
	}
	nothing := signs && len(known) == 0 || !signs && len(pass.input.Known)+int(pass.input.Highest) == 0
	if nothing || waits || pass.authority.Spec.SignedBy != nil {
		return nil
	}
	search := newLostSearch(pass, known, !signs)
	below, err := authoritiesBelow(ctx, r, client.ObjectKeyFromObject(pass.authority))
	if err != nil {
		return err
	}
	for _, of := range append([]*v1alpha1.MTLSAuthority{pass.authority}, below...) {
		if err := r.searchAuthority(ctx, pass, of, &search); err != nil {
			return err
		}
	}
	pass.input.LostRoots = search.roots
	return nil
}

// knownRoots are the fingerprints that status tells of or that a person named, with the numbers of their generations: 0 where
// that isn't known.
func knownRoots(pass *authorityPass) map[string]int64 {
	known := map[string]int64{}
	for _, generation := range pass.authority.Status.Generations {
		known[generation.FingerprintSHA256] = generation.Number
	}
	for _, fingerprint := range pass.input.Orders.AdoptRoots {
		known[fingerprint] += 0
	}
	return known
}

// goneRoots are the fingerprints of generations before the signer whose Secrets are gone although certificates may be left that
// they signed. One that comes after it signed last: then the one that seems to be the signer may not sign again.
func goneRoots(pass *authorityPass) map[string]int64 {
	gone := map[string]int64{}
	signer, _ := pass.input.Lineage.Signer()
	for _, generation := range pass.authority.Status.Generations {
		if generation.Number < signer.Number && !pass.input.Lineage.Has(generation.Number) {
			gone[generation.FingerprintSHA256] = generation.Number
		}
	}
	return gone
}

// searchAuthority looks for lost roots with the certificates of an authority, and with its own generations when it is one
// below.
func (r *AuthorityReconciler) searchAuthority(ctx context.Context, pass *authorityPass, of *v1alpha1.MTLSAuthority,
	search *lostSearch,
) error {
	certificates := &v1alpha1.MTLSCertificateList{}
	key := client.MatchingFields{byAuthority: client.ObjectKeyFromObject(of).String()}
	if err := r.List(ctx, certificates, key, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range certificates.Items {
		if err := r.searchSecret(ctx, pass, &certificates.Items[i], search); err != nil {
			return err
		}
	}
	lineage, err := r.lineage(ctx, of)
	if err != nil {
		return err
	}
	for _, generation := range lineage.Live {
		for _, root := range generation.Issuer.Bundle().Certificates() {
			number, known := search.known[pki.Fingerprint(root)]
			search.take(pass, root, number, known)
		}
	}
	return nil
}

// lostSearch is what is known of lost roots, and which were found.
type lostSearch struct {
	known map[string]int64 // numbers by fingerprint; 0 where the number isn't known
	told  bool             // roots of certificates that status tells of count as well
	found map[string]bool
	roots []plan.LostRoot
}

func newLostSearch(pass *authorityPass, known map[string]int64, told bool) lostSearch {
	search := lostSearch{known: known, told: told, found: map[string]bool{}}
	for _, generation := range slices.Concat(pass.input.Lineage.Live, pass.input.Lineage.Dead) {
		search.found[generation.Issuer.Fingerprint()] = true
	}
	return search
}

// searchSecret looks for lost roots in the Secret of a certificate.
func (r *AuthorityReconciler) searchSecret(ctx context.Context, pass *authorityPass, certificate *v1alpha1.MTLSCertificate,
	search *lostSearch,
) error {
	secret := &corev1.Secret{}
	err := r.Get(ctx, client.ObjectKey{Namespace: certificate.Namespace, Name: secretName(certificate)}, secret)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	roots, err := pki.ParseCertificates(secret.Data[v1alpha1.BundleKey])
	if err != nil {
		return nil //nolint:nilerr // nothing can be found there
	}
	told := toldLeaf(pass.authority, certificate, secret)
	for _, root := range roots {
		number, known := search.known[pki.Fingerprint(root)]
		if search.told && told != nil && told.CheckSignatureFrom(root) == nil {
			known, number = true, max(number, certificate.Status.Certificate.AuthorityGeneration)
		}
		search.take(pass, root, number, known)
	}
	return nil
}

// take a root that is known, unless it was found already or isn't to be trusted any more.
func (s *lostSearch) take(pass *authorityPass, root *x509.Certificate, number int64, known bool) {
	fingerprint := pki.Fingerprint(root)
	if !known || s.found[fingerprint] || pass.input.Lineage.Retired.Has(number) {
		return
	}
	s.found[fingerprint] = true
	if issuer, err := pki.PublicIssuer(root); err == nil {
		s.roots = append(s.roots, plan.LostRoot{Number: number, Issuer: issuer})
	}
}

// toldLeaf is the certificate in a Secret if status tells that the authority issued this very one; else nil.
func toldLeaf(authority *v1alpha1.MTLSAuthority, certificate *v1alpha1.MTLSCertificate, secret *corev1.Secret) *x509.Certificate {
	issued := certificate.Status.Certificate
	leaves, err := pki.ParseCertificates(secret.Data[v1alpha1.CertificateKey])
	if err != nil || issued == nil || pki.Fingerprint(leaves[0]) != issued.FingerprintSHA256 ||
		!plan.IsOrWas(authority, types.UID(issued.AuthorityUID)) {
		return nil
	}
	return leaves[0]
}
