package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

const (
	// progressInterval is the least time between two writes that only tell of progress.
	progressInterval = 5 * time.Second
	// rotationInterval is the most time between two looks at a rotation that waits for something else than time.
	rotationInterval = 30 * time.Second
	// maxBlockers and maxBlockerText bound what status tells of blockers.
	maxBlockers    = 16
	maxBlockerText = 1000
)

// report writes the status, if it changed, and then tells the events.
func (r *AuthorityReconciler) report(ctx context.Context, pass *authorityPass, decision plan.AuthorityPlan, err error,
) (ctrl.Result, error) {
	r.emit(pass.authority, pass.events...) // what they tell is written, whatever becomes of the status
	if found, ok := errors.AsType[*problem](err); ok {
		decision = problemPlan(decision, found, r.clock.Now())
	} else if err != nil {
		return retry(err)
	}
	if pass.inUse.Reason != "" {
		decision.Stalled = pass.inUse
	}
	before, after := pass.authority, pass.authority.DeepCopy()
	after.Status = r.status(pass, decision)
	wait := r.postpone(pass, before.Status, after.Status)
	if wait == 0 {
		if err := r.patchStatus(ctx, before, after, !equal(before.Status, after.Status)); err != nil {
			return retry(err)
		}
		r.emit(before, transition(before.Status.Conditions, v1alpha1.ConditionStalled, decision.Stalled, "Issue")...)
	}
	if decision.Stage == v1alpha1.StageStable && pass.allCurrent() {
		r.rotations.forget(client.ObjectKeyFromObject(before)) // what else is in the way of roots wakes it when that changes
	} else if decision.Signer != nil {
		wait = soonestWait(wait, rotationInterval)
	}
	result := r.requeueAt(decision.Next)
	result.RequeueAfter = soonestWait(result.RequeueAfter, wait)
	return result, nil
}

// allCurrent tells whether every consumer has the roots that it is to have.
func (p *authorityPass) allCurrent() bool {
	return !slices.ContainsFunc(p.input.Consumers, func(c plan.Consumer) bool { return !c.Current })
}

// soonestWait is the shorter of two waits; zero is none.
func soonestWait(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// problemPlan tells of a step that couldn't be taken. What signs goes on signing.
func problemPlan(decision plan.AuthorityPlan, found *problem, now time.Time) plan.AuthorityPlan {
	verdict := plan.Verdict{Reason: found.reason, Message: found.message}
	if decision.Signer == nil {
		decision.NotReady = verdict
	}
	if found.stalled {
		decision.Stalled = verdict
	}
	if found.retryAfter > 0 {
		decision.Next = now.Add(found.retryAfter)
	}
	return decision
}

// postpone tells how long to wait before a status is written that only tells of progress: with each certificate of
// thousands that would be as many writes.
func (r *AuthorityReconciler) postpone(pass *authorityPass, before, after v1alpha1.MTLSAuthorityStatus) time.Duration {
	now := r.clock.Now()
	since := now.Sub(pass.memory.reported)
	if onlyProgress(before, after) && since < progressInterval {
		return progressInterval - since
	}
	pass.memory.reported = now
	return 0
}

func onlyProgress(before, after v1alpha1.MTLSAuthorityStatus) bool {
	if before.Rotation == nil || after.Rotation == nil || equal(before, after) {
		return false
	}
	same := *after.Rotation.DeepCopy()
	same.Progress, same.Message = before.Rotation.Progress, before.Rotation.Message
	after.Rotation = &same
	return equal(before, after)
}

// status describes the authority as the pass leaves it.
func (r *AuthorityReconciler) status(pass *authorityPass, decision plan.AuthorityPlan) v1alpha1.MTLSAuthorityStatus {
	before := pass.authority
	status := v1alpha1.MTLSAuthorityStatus{
		ObservedGeneration: before.Generation,
		Generations:        generationsStatus(pass.input.Lineage),
		Rotation:           rotationStatus(decision),
	}
	ready := plan.Verdict{Reason: v1alpha1.ReasonSigning}
	if signer := decision.Signer; signer != nil {
		status.Expires = new(metav1.NewTime(signer.Issuer.Validity().NotAfter))
		ready.Message = fmt.Sprintf("CA generation %d signs (Secret %s)%s%s%s", signer.Number, signer.SecretName,
			pass.remarks(*signer), r.blindness(before), r.trustRemarks(before))
	} else if len(status.Generations) == 0 {
		status.Generations = before.Status.Generations // what is lost must not be forgotten
	}
	if len(pass.input.Lineage.Live) > 0 {
		status.TrustBundleHash = pass.roots.Hash()
	}
	if !decision.Due.IsZero() {
		status.NextRotationTime = new(metav1.NewTime(decision.Due.Truncate(time.Second)))
	}
	status.Conditions = r.conditions(before.Status.Conditions, before.Generation, ready, decision.NotReady, decision.Stalled)
	if blocked := len(decision.Blockers); blocked > 0 && decision.Stalled.Reason == "" {
		r.setCondition(&status.Conditions, before.Generation, v1alpha1.ConditionStalled, false, plan.Verdict{
			Reason:  v1alpha1.ReasonProgressing,
			Message: fmt.Sprintf("the rotation waits for %d that can't follow, see status.rotation.blockers", blocked),
		})
	}
	trusted, verdict := r.delivered(pass)
	r.setCondition(&status.Conditions, before.Generation, v1alpha1.ConditionTrustDistributed, trusted, verdict)
	return status
}

// delivered tells whether everybody has the roots there are.
func (r *AuthorityReconciler) delivered(pass *authorityPass) (bool, plan.Verdict) {
	if len(pass.input.Lineage.Live) == 0 {
		return false, plan.Verdict{Reason: v1alpha1.ReasonDistributing, Message: "there are no roots yet"}
	}
	if obstacle := r.trustVerdict(pass.authority); obstacle.Reason != "" {
		return false, obstacle
	}
	waiting, refused := 0, ""
	for i := range pass.input.Consumers {
		consumer := &pass.input.Consumers[i]
		if consumer.Current {
			continue
		}
		waiting++
		if consumer.Problem != "" && refused == "" {
			refused = cut(fmt.Sprintf("%s %s/%s: %s", consumer.Kind, consumer.Namespace, consumer.Name, consumer.Problem))
		}
	}
	switch {
	case waiting == 0:
		return true, plan.Verdict{Reason: v1alpha1.ReasonDistributed, Message: "all Secrets and trust bundles have the roots"}
	case refused != "":
		return false, plan.Verdict{Reason: v1alpha1.ReasonTrustBundleRejected, Message: refused}
	default:
		return false, plan.Verdict{
			Reason:  v1alpha1.ReasonDistributing,
			Message: fmt.Sprintf("%d of %d don't have them yet", waiting, len(pass.input.Consumers)),
		}
	}
}

// rotationStatus tells of a rotation, or that there is none.
func rotationStatus(decision plan.AuthorityPlan) *v1alpha1.RotationStatus {
	if decision.Stage == "" {
		return nil
	}
	status := &v1alpha1.RotationStatus{
		Stage:        decision.Stage,
		Reason:       decision.Cause,
		Message:      cutTo(maxBlockerText, decision.Message),
		BlockerCount: new(int32(min(len(decision.Blockers), 1<<30))),
	}
	if decision.All > 0 {
		status.Progress = fmt.Sprintf("%d/%d", decision.Done, decision.All)
	}
	if !decision.Started.IsZero() {
		status.StartedAt = new(metav1.NewTime(decision.Started))
	}
	if !decision.NextStepAt.IsZero() {
		status.NextStepTime = new(metav1.NewTime(decision.NextStepAt.Truncate(time.Second)))
	}
	for _, blocker := range decision.Blockers[:min(len(decision.Blockers), maxBlockers)] {
		status.Blockers = append(status.Blockers, v1alpha1.RotationBlocker{
			Kind:      blocker.Kind,
			Namespace: blocker.Namespace,
			Name:      blocker.Name,
			Message:   cutTo(maxBlockerText, blocker.Message),
		})
	}
	return status
}

// remarks on a CA that signs and that somebody may still want to know of.
func (p *authorityPass) remarks(signer plan.Generation) string {
	switch {
	case p.input.Imported.Missing:
		return fmt.Sprintf(". Secret %q, which it was imported from, is gone; it isn't needed any more",
			p.input.Wish.ImportedSecret)
	case signer.Issuer.Certificate().KeyUsage == 0:
		return ". Its certificate has no key usage, so programs that verify strictly (openssl -x509_strict, Python from 3.13) " +
			"refuse it"
	case p.retired() != "":
		return fmt.Sprintf(". Secret %q holds a CA that was retired: it is trusted by nobody, and can be deleted", p.retired())
	case len(p.input.Lineage.Refused) > 0:
		refused := p.input.Lineage.Refused[0]
		return fmt.Sprintf(". Secret %q isn't used: %s", refused.SecretName, refused.Problem)
	default:
		return ""
	}
}

// retired is the Secret of a CA that came back after it was retired, empty when there is none.
func (p *authorityPass) retired() string {
	for _, generation := range slices.Concat(p.input.Lineage.Dead, p.input.Lineage.Refused) {
		if p.input.Lineage.Retired.Has(generation.Number) {
			return generation.SecretName
		}
	}
	return ""
}
