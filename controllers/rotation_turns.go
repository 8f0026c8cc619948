package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// turnsAtATime is how many certificates have their turn to be issued again because of a new CA. With one look at a rotation in
// a second that is as fast as an API server takes it; they go through the backlog, so that new ones hardly wait.
const turnsAtATime = 250

// grantTurns has the next certificates issued again by the generation that signs.
func (r *AuthorityReconciler) grantTurns(ctx context.Context, pass *authorityPass, waiting []plan.Consumer) {
	turns := make([]types.NamespacedName, 0, r.batch)
	for _, consumer := range waiting[:min(len(waiting), r.batch)] {
		turns = append(turns, types.NamespacedName{Namespace: consumer.Namespace, Name: consumer.Name})
	}
	signer, _ := pass.input.Lineage.Signer()
	for _, secret := range r.rotations.grant(pass.memory, signer.Number, turns) {
		certificates := &v1alpha1.MTLSCertificateList{}
		err := r.List(ctx, certificates, client.InNamespace(secret.Namespace), client.MatchingFields{bySecretName: secret.Name},
			client.UnsafeDisableDeepCopy, client.DisableReadYourWritesConsistency)
		if err != nil {
			return // the cache cannot fail but at the end of the process
		}
		for i := range certificates.Items {
			select {
			case r.wake <- event.GenericEvent{Object: &certificates.Items[i]}:
			case <-ctx.Done():
				return
			}
		}
	}
}
