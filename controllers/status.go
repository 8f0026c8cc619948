package controllers

import (
	"context"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// shared is what both reconcilers work with.
type shared struct {
	client.Client // reads from caches, after this process's own writes

	live    client.Reader // reads from the API server
	clock   clock.PassiveClock
	events  events.EventRecorder
	options Options

	published *published
	lineages  *lineages
}

// notice is an event: told to a person after the write it speaks of.
type notice struct{ kind, reason, action, note string }

func (s shared) emit(about client.Object, all ...notice) {
	for _, e := range all {
		s.events.Eventf(about, nil, e.kind, e.reason, e.action, "%s", cutTo(maxNote, e.note))
	}
}

// requeueAt has the next pass begin at a time; never, when it is zero. It can wait for what has just come: until then it is in
// the queue, and whatever wakes the object meanwhile takes the higher priority and this place in the order.
func (s shared) requeueAt(at time.Time) ctrl.Result {
	if at.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(at.Sub(s.clock.Now()), time.Millisecond), Priority: new(handler.LowPriority)}
}

// patchStatus writes the status of after if it isn't that of before. Another write in between is a conflict.
func (s shared) patchStatus(ctx context.Context, before, after client.Object, changed bool) error {
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return s.Status().Patch(ctx, after, patch)
}

// conditions sets Ready and Stalled. A reason without a problem means that all is well.
func (s shared) conditions(existing []metav1.Condition, generation int64, ready, notReady, stalled plan.Verdict,
) []metav1.Condition {
	all := make([]metav1.Condition, len(existing))
	copy(all, existing)
	s.setCondition(&all, generation, v1alpha1.ConditionReady, notReady.Reason == "", firstOf(notReady, ready))
	progressing := plan.Verdict{Reason: v1alpha1.ReasonProgressing, Message: "nobody needs to act"}
	if notReady.Reason != "" {
		progressing.Message = "this object goes on by itself once what condition Ready tells of has changed"
	}
	s.setCondition(&all, generation, v1alpha1.ConditionStalled, stalled.Reason != "", firstOf(stalled, progressing))
	return all
}

func (s shared) setCondition(all *[]metav1.Condition, generation int64, kind string, status bool, verdict plan.Verdict) {
	condition := metav1.Condition{
		Type:               kind,
		Status:             metav1.ConditionFalse,
		ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(s.clock.Now().UTC().Truncate(time.Second)),
		Reason:             verdict.Reason,
		Message:            verdict.Message,
	}
	if status {
		condition.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(all, condition)
}

func firstOf(verdict, otherwise plan.Verdict) plan.Verdict {
	if verdict.Reason != "" {
		return verdict
	}
	return otherwise
}

// transition is the warning to give when the verdict is news, compared with the conditions before.
func transition(before []metav1.Condition, kind string, verdict plan.Verdict, action string) []notice {
	condition := meta.FindStatusCondition(before, kind)
	if verdict.Reason == "" || condition != nil && condition.Reason == verdict.Reason && condition.Message == verdict.Message {
		return nil
	}
	return []notice{{corev1.EventTypeWarning, verdict.Reason, action, verdict.Message}}
}

// Room that status has, see v1alpha1.CertificateStatus.
const (
	maxSubject   = 8192
	maxNames     = 128
	maxDNSName   = 253
	maxURI       = 2048
	maxSerialBit = 256
)

// describable tells whether status has room for a certificate; a subject can be cut. It has for what the operator makes.
// What a person put into the Secret may be anything.
func describable(certificate *x509.Certificate) bool {
	tooLong := func(name string) bool { return len(name) > maxDNSName }
	tooLongURI := func(uri *url.URL) bool { return len(uri.String()) > maxURI }
	return !certificate.NotBefore.IsZero() && !certificate.NotAfter.IsZero() &&
		certificate.SerialNumber.BitLen() <= maxSerialBit &&
		len(certificate.DNSNames) <= maxNames && !slices.ContainsFunc(certificate.DNSNames, tooLong) &&
		len(certificate.URIs) <= maxNames && !slices.ContainsFunc(certificate.URIs, tooLongURI)
}

// certificateStatus describes an issued certificate.
func certificateStatus(certificate *x509.Certificate, renewAt time.Time, generation int64, authority string,
) *v1alpha1.CertificateStatus {
	status := &v1alpha1.CertificateStatus{
		SerialNumber:        pki.SerialNumber(certificate),
		FingerprintSHA256:   pki.Fingerprint(certificate),
		DNSNames:            certificate.DNSNames,
		NotBefore:           metav1.NewTime(certificate.NotBefore),
		NotAfter:            metav1.NewTime(certificate.NotAfter),
		AuthorityGeneration: generation,
		AuthorityUID:        authority,
	}
	if subject := pki.SubjectText(certificate); subject != "" {
		status.Subject = new(strings.ToValidUTF8(subject[:min(len(subject), maxSubject)], ""))
	}
	for _, uri := range certificate.URIs {
		status.URIs = append(status.URIs, uri.String())
	}
	if !renewAt.IsZero() {
		status.RenewalTime = new(metav1.NewTime(renewAt.Truncate(time.Second)))
	}
	return status
}

// equal compares what would be written with what is there: nothing and empty are the same.
func equal(before, after any) bool { return equality.Semantic.DeepEqual(before, after) }
