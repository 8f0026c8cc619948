package controllers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// Forecast tells what the operator will do to the CA of an authority until a time, if nobody else does anything. It reads
// what the operator reads and decides as it does, and writes nothing. mgr has CacheOptions and ClientOptions, and wasn't
// started.
func Forecast(ctx context.Context, mgr ctrl.Manager, options Options, authority types.NamespacedName, until time.Duration,
) ([]plan.Moment, error) {
	operator, err := newOperator(ctx, mgr, options)
	if err != nil {
		return nil, err
	}
	for _, object := range []client.Object{&corev1.Secret{}, &v1alpha1.MTLSAuthority{}, &v1alpha1.MTLSCertificate{}} {
		if _, err := mgr.GetCache().GetInformer(ctx, object); err != nil {
			return nil, err
		}
	}
	go func() { _ = mgr.GetCache().Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, errors.New("the objects of the cluster cannot be read")
	}
	return operator.authorities.forecast(ctx, authority, until)
}

func (r *AuthorityReconciler) forecast(ctx context.Context, key types.NamespacedName, until time.Duration,
) ([]plan.Moment, error) {
	pass := &authorityPass{authority: &v1alpha1.MTLSAuthority{}, memory: r.rotations.of(key)}
	if err := r.Get(ctx, key, pass.authority); err != nil {
		return nil, err
	}
	if err := r.observe(ctx, pass); err != nil {
		return nil, err
	}
	if err := r.consumers(ctx, pass); err != nil {
		return nil, err
	}
	var err error
	if pass.input.Pods, err = r.pods(ctx, pass.input.Consumers); err != nil {
		return nil, err
	}
	in, now := pass.input.RotationInput, r.clock.Now()
	in.Parent = nil // its keys are needed for what follows from it
	return plan.Timeline(in, now, now.Add(until), func(step plan.Step, at time.Time) (pki.Issuer, error) {
		if pass.imported != nil {
			return pass.imported.Issuer(), nil
		}
		fields := in.Wish.Fields
		fields.Generation = step.Number
		request, err := pki.NewAuthorityRequest(fields)
		if err != nil {
			return pki.Issuer{}, err
		}
		ca, err := pki.SelfSign(request, at) // never used but for its dates
		if err != nil {
			return pki.Issuer{}, err
		}
		return ca.Issuer(), nil
	})
}
