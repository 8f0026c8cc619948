package controllers

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// claim puts on an authority, in one write and before a CA is made, the finalizer that holds it and the mark that it is
// known again by when it comes out of a backup. A restored one keeps the mark it came with until its CA is here.
func (r *AuthorityReconciler) claim(ctx context.Context, authority *v1alpha1.MTLSAuthority) error {
	metadata := map[string]any{}
	if controllerutil.AddFinalizer(authority, v1alpha1.AuthorityFinalizer) {
		metadata["finalizers"] = authority.Finalizers
	}
	if !plan.Restored(authority) {
		put(metadata, "annotations", ownMark(authority))
	}
	return r.patchMetadata(ctx, authority, metadata)
}

// mark brings the mark of an authority up to date, once it has a CA that can only be its own.
func (r *AuthorityReconciler) mark(ctx context.Context, authority *v1alpha1.MTLSAuthority) error {
	metadata := map[string]any{}
	put(metadata, "annotations", ownMark(authority))
	return r.patchMetadata(ctx, authority, metadata)
}

// ownMark is what changes the annotations of an authority into those with its mark.
func ownMark(authority metav1.Object) map[string]any {
	mark := map[string]string{v1alpha1.MadeForAnnotation: plan.MadeFor(authority)}
	return difference(authority.GetAnnotations(), mark, nil)
}

// patchMetadata writes changes of an object's metadata, if there are any and nobody else wrote it since it was read.
func (r *AuthorityReconciler) patchMetadata(ctx context.Context, object client.Object, changes map[string]any) error {
	if len(changes) == 0 {
		return nil
	}
	return r.Patch(ctx, object, client.RawPatch(types.MergePatchType, mergePatch(object, changes, nil)))
}
