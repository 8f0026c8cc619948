package controllers

import (
	"context"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// passTimeout bounds a pass. A read waits for the cache to see the writes before it; without a bound it would wait for
// ever when a watch is broken.
const passTimeout = 30 * time.Second

// Options of the operator. They are taken as valid.
type Options struct {
	// ClusterDomain ends the DNS names of Services, such as cluster.local.
	ClusterDomain string
	// Concurrency is the number of workers of each controller.
	Concurrency int
	// Namespaces to work in; empty for all.
	Namespaces []string
	// MinPropagationDelay is the least rotation.propagationDelay that an MTLSAuthority may have.
	MinPropagationDelay time.Duration
	// Clock; the machine's when nil.
	Clock clock.PassiveClock
}

// Scheme has every type the operator reads and writes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(certificatesv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	utilruntime.Must(metav1.AddMetaToScheme(scheme))
	return scheme
}

// ClientOptions make a read wait for the writes before it. Without it the event of a Secret's creation starts a pass
// that doesn't see the status written after it, and writes it again.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}}
}

// Setup registers everything the operator does with mgr, which has CacheOptions and ClientOptions.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	operator, err := newOperator(ctx, mgr, options)
	if err != nil {
		return err
	}
	if err := mgr.Add(operator.foreign); err != nil {
		return err
	}
	if err := mgr.Add(forgetKeysAtTheEnd{operator.issuer}); err != nil {
		return err
	}
	if err := metrics.Registry.Register(operator.issuer.metrics); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	perController := controller.Options{
		MaxConcurrentReconciles: options.Concurrency,
		ReconciliationTimeout:   passTimeout,
		EnableWarmup:            new(true), // a replica that waits for the lease has its caches ready
	}
	if err := operator.watchAuthorities(mgr, perController); err != nil {
		return fmt.Errorf("set up the controller of MTLSAuthorities: %w", err)
	}
	if err := operator.watchCertificates(mgr, perController); err != nil {
		return fmt.Errorf("set up the controller of MTLSCertificates: %w", err)
	}
	if err := operator.watchTrust(mgr, perController); err != nil {
		return fmt.Errorf("set up the controller of trust bundles: %w", err)
	}
	return nil
}

// operator is everything that a process of the operator is made of.
type operator struct {
	options      Options
	cache        client.Reader // as it is: what a change concerns is found while the next changes wait
	foreign      cache.Cache
	issuer       *Issuer
	authorities  *AuthorityReconciler
	certificates *CertificateReconciler
	trust        *TrustReconciler
	rotations    *rotationMemories
	backlog      *backlog                // certificates that can wait
	turns        chan event.GenericEvent // certificates whose turn it is to be issued again
}

// newOperator puts the parts together; nothing runs yet.
func newOperator(ctx context.Context, mgr ctrl.Manager, options Options) (*operator, error) {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if err := indexFields(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, fmt.Errorf("index fields: %w", err)
	}
	if err := indexTrust(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, fmt.Errorf("index fields: %w", err)
	}
	foreign, err := foreignSecrets(mgr, options.Namespaces)
	if err != nil {
		return nil, fmt.Errorf("cache the names of other Secrets: %w", err)
	}
	issuer := NewIssuer(mgr.GetAPIReader(), NewMetrics(mgr.GetCache()))
	if err := issuer.forgetDeleted(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	shared := shared{
		Client:  mgr.GetClient(),
		live:    mgr.GetAPIReader(),
		clock:   options.Clock,
		events:  mgr.GetEventRecorder("mtls-operator"),
		options: options,

		published: newPublished(mgr.GetRESTMapper()),
		lineages:  newLineages(),
	}
	rotations, turns := newRotationMemories(), make(chan event.GenericEvent, 2*turnsAtATime)
	backlog := newBacklog(options.Concurrency)
	return &operator{
		options:     options,
		cache:       mgr.GetCache(),
		foreign:     foreign,
		issuer:      issuer,
		authorities: &AuthorityReconciler{shared: shared, issuer: issuer, rotations: rotations, wake: turns, batch: turnsAtATime},
		certificates: &CertificateReconciler{
			shared: shared, foreign: foreign, issuer: issuer, rotations: rotations, backlog: backlog,
			echoes: newEchoes(options.Namespaces),
		},
		trust:     newTrustReconciler(shared),
		rotations: rotations,
		backlog:   backlog,
		turns:     turns,
	}, nil
}
