package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	// conflictDelay is how long after a conflict the next pass begins: the cache has caught up by then.
	conflictDelay = time.Second
	// rejectedDelay is how long after a rejected write it is tried again: no watch tells of a quota that was raised.
	rejectedDelay = 5 * time.Minute
)

// problem is an error that becomes condition Ready=False. Nothing is lost by it: the Secret stays as it is.
type problem struct {
	reason, message string
	// stalled: nothing changes until a person acts. Else another object is waited for.
	stalled bool
	// warn: a person wants to hear of it in an event.
	warn bool
	// retryAfter is set where no watch tells that the problem is gone.
	retryAfter time.Duration
	// cause is set where the pass is to be repeated with back-off.
	cause error
}

func (p *problem) Error() string { return p.reason + ": " + p.message }

// mustAct is a problem that ends when a person acts.
func mustAct(reason, format string, args ...any) *problem {
	return &problem{reason: reason, message: fmt.Sprintf(format, args...), stalled: true, warn: true}
}

// waits is a problem that ends when another object comes or changes.
func waits(reason, format string, args ...any) *problem {
	return &problem{reason: reason, message: fmt.Sprintf(format, args...)}
}

// rejected tells of a write that the API server refused as it is. Other errors are returned as they are.
func rejected(err error, reason, secretName string) error {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return waits(reason, "the namespace is being deleted")
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsRequestEntityTooLargeError(err),
		apierrors.IsBadRequest(err):
		refusal := mustAct(reason, "the API server refuses Secret %q: %s. It is tried again every %.0f minutes", secretName,
			cut(err.Error()), rejectedDelay.Minutes())
		refusal.retryAfter = rejectedDelay
		return refusal
	default:
		return err
	}
}

// retry turns an error of a pass into what the queue does next.
func retry(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	if errors.Is(err, context.Canceled) {
		return ctrl.Result{}, nil // the process ends
	}
	return ctrl.Result{}, err
}

const (
	// maxText of a condition leaves room for everything that is wrong with all but the worst of specs.
	maxText = 4096
	// maxNote of an event, which the API server takes with 1024 bytes.
	maxNote = 1000
)

// cut shortens text from elsewhere.
func cut(text string) string { return cutTo(maxText, text) }

func cutTo(limit int, text string) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// notReady of a certificate's authority, told without what its owner alone may know.
func notReady(reference string, own bool, why string) *problem {
	if !own {
		return waits(v1alpha1.ReasonAuthorityNotReady, "MTLSAuthority %s cannot sign now; its owner can see why", reference)
	}
	if why == "" {
		why = "it has no CA yet"
	}
	return waits(v1alpha1.ReasonAuthorityNotReady, "MTLSAuthority %s cannot sign now: %s", reference, why)
}

// specProblems tells what is wrong with a spec, with fields named from the object on.
func specProblems(err error) string {
	fields, ok := errors.AsType[pki.FieldErrors](err)
	if !ok {
		return cut(err.Error())
	}
	texts := make([]string, len(fields))
	for i, field := range fields {
		texts[i] = fmt.Sprintf("spec.%s: %s", field.Field, field.Message)
	}
	return cut(strings.Join(texts, "; "))
}
