package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

// parentCA is the CA that signs an authority.
type parentCA struct {
	key    types.NamespacedName
	uid    types.UID
	signer plan.Generation
}

// observeParent looks at the authority above, for one that is signed by another.
func (r *AuthorityReconciler) observeParent(ctx context.Context, pass *authorityPass) error {
	if pass.authority.Spec.SignedBy == nil {
		return nil
	}
	key := parentKey(pass.authority)
	pass.parent = parentCA{key: key}
	pass.input.Parent = &plan.Parent{}
	above := &v1alpha1.MTLSAuthority{}
	err := r.Get(ctx, key, above)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	permitted := false
	if err == nil {
		permitted, err = r.permitsAuthority(ctx, above, pass.authority.Namespace)
	}
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if apierrors.IsNotFound(err) || !permitted {
		pass.input.Parent.NotReady = r.noParent(key, pass.authority.Namespace)
		return nil
	}
	lineage, err := r.lineage(ctx, above)
	if err != nil {
		return err
	}
	pass.parent.uid = above.UID
	pass.parent.signer, pass.input.Parent.NotReady = r.parentSigner(pass.authority, above, lineage)
	pass.input.Parent.Signer = pass.parent.signer.Issuer
	_, pass.input.Parent.Rotating = lineage.Next()
	return nil
}

// parentSigner is the generation that signs for an authority below, or why none does.
func (r *AuthorityReconciler) parentSigner(authority, above *v1alpha1.MTLSAuthority, lineage plan.Lineage,
) (plan.Generation, plan.Verdict) {
	signer, found := lineage.Signer()
	why := "its owner can see why"
	validity := signer.Issuer.Validity()
	switch now := r.clock.Now(); {
	case !found:
		if above.Namespace == authority.Namespace {
			why = readyMessage(above)
		}
	case now.Before(validity.NotBefore) || now.After(validity.NotAfter):
		why = fmt.Sprintf("its CA is valid from %s to %s", validity.NotBefore.Format(time.RFC3339),
			validity.NotAfter.Format(time.RFC3339))
	default:
		return signer, plan.Verdict{}
	}
	name := reference(client.ObjectKeyFromObject(above), above.Namespace == authority.Namespace)
	return plan.Generation{}, plan.Verdict{
		Reason:  v1alpha1.ReasonParentNotReady,
		Message: fmt.Sprintf("spec.signedBy: MTLSAuthority %s cannot sign now: %s", name, why),
	}
}

// noParent tells "absent" and "not permitted" of another namespace alike: what exists elsewhere is nobody's business.
func (r *AuthorityReconciler) noParent(key types.NamespacedName, namespace string) plan.Verdict {
	message := fmt.Sprintf("spec.signedBy: MTLSAuthority %q doesn't exist in this namespace: create it, or correct the reference",
		key.Name)
	if key.Namespace != namespace {
		message = fmt.Sprintf("spec.signedBy: there is no MTLSAuthority %q that signs authorities of namespace %q: correct the "+
			"reference, or ask its owner to add the namespace to spec.allowedAuthorities", key, namespace)
	}
	return plan.Verdict{Reason: v1alpha1.ReasonParentNotReady, Message: message}
}

// permitsAuthority tells whether authorities of a namespace may be signed by this one.
func (s shared) permitsAuthority(ctx context.Context, above *v1alpha1.MTLSAuthority, namespace string) (bool, error) {
	labels, err := s.namespaceLabels(ctx, above.Spec.AllowedAuthorities, namespace)
	if err != nil {
		return false, err
	}
	permitted, err := policy.PermitsAuthorities(above, namespace, labels)
	return permitted && err == nil, nil // an invalid selector permits nobody; the authority's status tells of it
}
