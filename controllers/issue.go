package controllers

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

// Results of an issuance, as metrics tell them.
const (
	resultSuccess = "success"
	resultDenied  = "denied"
	resultFailed  = "failed"
)

// Order is a request to sign, in the form in which policy judges it and in which it is signed.
type Order struct {
	Authority *v1alpha1.MTLSAuthority
	// Generation that was planned to sign.
	Generation plan.Generation
	// Namespace of the requester.
	Namespace     string
	ClusterDomain string
	Request       pki.Request
	Duration      time.Duration
	Validity      pki.Validity
	// Bundle is the roots that the certificate is delivered with.
	Bundle pki.Bundle
	// Reason to issue, for the metric.
	Reason string
}

// Review judges the order; nil when policy allows it.
func (o Order) Review() error {
	violations := policy.Review(o.Authority, o.Namespace, o.ClusterDomain, o.Request, o.Duration)
	if len(violations) == 0 {
		return nil
	}
	return violations
}

// Issuer is the one gate to the keys of CAs: policy, then the signature, then a check of what was signed.
//
// It is also the one place that keeps CA keys. They are forgotten when their Secret is gone or the process stops being the
// leader.
type Issuer struct {
	*caKeys

	metrics *Metrics
}

// NewIssuer returns an Issuer that reads keys with live, which must not be a cache.
func NewIssuer(live client.Reader, metrics *Metrics) *Issuer {
	return &Issuer{newCAKeys(live), metrics}
}

// Issue signs a certificate for the public key. Errors are policy.Violations, *pki.NameConstraintError, those of the API
// server, and any other for what must not happen.
func (i *Issuer) Issue(ctx context.Context, order Order, public crypto.PublicKey) (*x509.Certificate, error) {
	certificate, err := i.issue(ctx, order, public)
	i.metrics.Issued(order.Reason, result(err))
	return certificate, err
}

// SignAuthority makes a CA under a generation of another authority, in whose namespace the key is. Errors are
// pki.FieldErrors for what the CAs above don't allow, those of the API server, and any other for what must not happen.
func (i *Issuer) SignAuthority(ctx context.Context, namespace string, generation plan.Generation, request pki.AuthorityRequest,
	now time.Time,
) (*pki.Authority, error) {
	authority, err := i.authority(ctx, namespace, generation)
	if err != nil {
		return nil, err
	}
	return authority.SignAuthority(request, now)
}

// Endorse has a generation say that another one is of the same authority.
func (i *Issuer) Endorse(ctx context.Context, namespace string, generation plan.Generation, endorsement pki.Endorsement,
) (string, error) {
	authority, err := i.authority(ctx, namespace, generation)
	if err != nil {
		return "", err
	}
	return authority.Endorse(endorsement)
}

func (i *Issuer) issue(ctx context.Context, order Order, public crypto.PublicKey) (*x509.Certificate, error) {
	if err := order.Review(); err != nil {
		return nil, err
	}
	if order.Validity.Life() > order.Duration+pki.Backdate {
		return nil, fmt.Errorf("validity %s is longer than %s, which policy allowed", order.Validity, order.Duration)
	}
	authority, err := i.authority(ctx, order.Authority.Namespace, order.Generation)
	if err != nil {
		return nil, err
	}
	return authority.Sign(order.Request, public, order.Validity, order.Bundle)
}

// forgetDeleted has keys forgotten when their Secret is gone.
func (i *Issuer) forgetDeleted(ctx context.Context, secrets cache.Cache) error {
	informer, err := secrets.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch Secrets: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if secret, ok := object.(*corev1.Secret); ok {
			i.Forget(secret.UID)
		}
	}})
	return err
}

// forgetKeysAtTheEnd runs while this process is the leader.
type forgetKeysAtTheEnd struct{ issuer *Issuer }

// Start waits until the lease is lost or the process is to end.
func (f forgetKeysAtTheEnd) Start(ctx context.Context) error {
	<-ctx.Done()
	f.issuer.ForgetAll()
	return nil
}

func result(err error) string {
	if err == nil {
		return resultSuccess
	}
	if _, denied := errors.AsType[policy.Violations](err); denied {
		return resultDenied
	}
	if _, denied := errors.AsType[*pki.NameConstraintError](err); denied {
		return resultDenied
	}
	if _, denied := errors.AsType[pki.FieldErrors](err); denied {
		return resultDenied
	}
	return resultFailed
}
