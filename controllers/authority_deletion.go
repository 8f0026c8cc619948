package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// maxNamed bounds the names of certificates in a message.
const maxNamed = 5

// release lets an authority that is being deleted go, with its CA, once no certificate refers to it. Until then it tells
// who does. In a namespace that is being deleted nothing is held: its certificates go too, and those of other namespaces
// could keep it for ever.
func (r *AuthorityReconciler) release(ctx context.Context, authority *v1alpha1.MTLSAuthority,
) (released bool, inUse plan.Verdict, err error) {
	if !controllerutil.ContainsFinalizer(authority, v1alpha1.AuthorityFinalizer) {
		return true, plan.Verdict{}, nil
	}
	terminating, err := r.namespaceTerminating(ctx, authority.Namespace)
	if err != nil {
		return false, plan.Verdict{}, err
	}
	if !terminating {
		users, err := r.users(ctx, authority)
		if err != nil || len(users) > 0 {
			return false, inUseBy(authority, "MTLSCertificates", users), err
		}
		children, err := r.childrenOf(ctx, authority)
		if err != nil || len(children) > 0 {
			return false, inUseBy(authority, "MTLSAuthorities", children), err
		}
	}
	if err := r.removeTrust(ctx, authority); err != nil {
		return false, plan.Verdict{}, err
	}
	if err := r.deleteGenerations(ctx, client.ObjectKeyFromObject(authority)); err != nil {
		return false, plan.Verdict{}, err
	}
	controllerutil.RemoveFinalizer(authority, v1alpha1.AuthorityFinalizer)
	finalizers := map[string]any{"finalizers": authority.Finalizers}
	return true, plan.Verdict{}, client.IgnoreNotFound(r.patchMetadata(ctx, authority, finalizers))
}

func (r *AuthorityReconciler) namespaceTerminating(ctx context.Context, name string) (bool, error) {
	namespace := metadataOf("Namespace")
	err := r.live.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return err == nil && !namespace.DeletionTimestamp.IsZero(), client.IgnoreNotFound(err)
}

// users are the certificates that refer to the authority and that it permits. One that it doesn't permit, or that was made
// after the authority's deletion, cannot hold it.
func (r *AuthorityReconciler) users(ctx context.Context, authority *v1alpha1.MTLSAuthority) ([]types.NamespacedName, error) {
	certificates := &v1alpha1.MTLSCertificateList{}
	key := client.ObjectKeyFromObject(authority)
	if err := r.List(ctx, certificates, client.MatchingFields{byAuthority: key.String()}); err != nil {
		return nil, err
	}
	var users []types.NamespacedName
	for i := range certificates.Items {
		certificate := &certificates.Items[i]
		late := certificate.CreationTimestamp.After(authority.DeletionTimestamp.Time)
		permitted, err := r.permits(ctx, authority, certificate.Namespace)
		if err != nil {
			return nil, err
		}
		if permitted && !late && certificate.DeletionTimestamp.IsZero() {
			users = append(users, client.ObjectKeyFromObject(certificate))
		}
	}
	return users, nil
}

// childrenOf are the authorities that this one has signed.
func (r *AuthorityReconciler) childrenOf(ctx context.Context, authority *v1alpha1.MTLSAuthority) ([]types.NamespacedName, error) {
	children := &v1alpha1.MTLSAuthorityList{}
	key := client.MatchingFields{bySigner: client.ObjectKeyFromObject(authority).String()}
	if err := r.List(ctx, children, key, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var all []types.NamespacedName
	for i := range children.Items {
		child := &children.Items[i]
		secrets, err := r.generationSecrets(ctx, client.ObjectKeyFromObject(child)) // also what was signed just now
		if err != nil {
			return nil, err
		}
		signed := slices.ContainsFunc(r.lineages.of(child, secrets).Live, func(g plan.Generation) bool {
			return g.SignedBy == client.ObjectKeyFromObject(authority).String()
		})
		if signed {
			all = append(all, client.ObjectKeyFromObject(child))
		}
	}
	return all, nil
}

// inUseBy names those of the authority's own namespace that use it, and counts the others.
func inUseBy(authority *v1alpha1.MTLSAuthority, kind string, users []types.NamespacedName) plan.Verdict {
	var own []string
	for _, user := range users {
		if user.Namespace == authority.Namespace {
			own = append(own, fmt.Sprintf("%q", user.Name))
		}
	}
	slices.Sort(own)
	elsewhere := len(users) - len(own)
	if len(own) > maxNamed {
		own = append(own[:maxNamed], fmt.Sprintf("%d more", len(own)-maxNamed))
	}
	var parts []string
	if len(own) > 0 {
		parts = append(parts, strings.Join(own, ", ")+" in this namespace")
	}
	if elsewhere > 0 {
		parts = append(parts, fmt.Sprintf("%d in other namespaces", elsewhere))
	}
	return plan.Verdict{Reason: v1alpha1.ReasonInUse, Message: fmt.Sprintf("deleted, and held while %s refer to it (%s): it goes "+
		"on renewing them. Delete them or have them refer to another authority", kind, strings.Join(parts, ", "))}
}

// releaseRetired lets the Secrets of CAs go that came back after they were retired, and that a person deletes.
func (r *AuthorityReconciler) releaseRetired(ctx context.Context, pass *authorityPass) error {
	for number, secret := range pass.secrets {
		if secret.DeletionTimestamp.IsZero() || !pass.input.Lineage.Retired.Has(number) {
			continue
		}
		if err := r.destroyGeneration(ctx, secret); err != nil {
			return err
		}
	}
	return nil
}

// deleteGenerations destroys the CA of an authority that goes.
func (r *AuthorityReconciler) deleteGenerations(ctx context.Context, authority types.NamespacedName) error {
	generations, err := r.liveGenerations(ctx, authority)
	if err != nil {
		return err
	}
	for i := range generations {
		if err := r.destroyGeneration(ctx, &generations[i]); err != nil {
			return err
		}
	}
	return nil
}
