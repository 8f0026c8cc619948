package controllers

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
	"github.com/mtls-operator/mtls-operator/internal/policy"
)

// storedSecret is an API server with one Secret, or none. It counts reads.
type storedSecret struct {
	client.Reader

	mu     sync.Mutex
	secret *corev1.Secret
	reads  int
}

func (s *storedSecret) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.secret == nil || client.ObjectKeyFromObject(s.secret) != key {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	s.secret.DeepCopyInto(object.(*corev1.Secret))
	return nil
}

// gate is an Issuer before an authority "my-ca" in namespace "pki", whose CA is stored, and an order of a certificate there.
type gate struct {
	*Issuer
	stored *storedSecret
	order  Order
	public crypto.PublicKey
}

func newGate(t *testing.T, change ...func(*v1alpha1.MTLSAuthority, *v1alpha1.MTLSCertificate)) *gate {
	t.Helper()
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "my-ca"}}
	certificate := &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "web"}}
	certificate.Spec.DNSNames, certificate.Spec.Usages = []string{"localhost"}, []v1alpha1.Usage{v1alpha1.UsageServer}
	for _, apply := range change {
		apply(authority, certificate)
	}
	wish, err := plan.NewWish(certificate, "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	now := start()
	secret := storedCA(t, authority, now)
	generation := planned(secret)
	key, err := pki.GenerateKey(pki.KeyType(v1alpha1.KeyTypeDefault))
	if err != nil {
		t.Fatal(err)
	}
	stored := &storedSecret{secret: secret}
	return &gate{NewIssuer(stored, NewMetrics(nil)), stored, Order{
		Authority:     authority,
		Generation:    generation,
		Namespace:     certificate.Namespace,
		ClusterDomain: "cluster.local",
		Request:       wish.Request,
		Duration:      wish.Duration,
		Validity:      generation.Issuer.LeafValidity(now, wish.Duration),
		Bundle:        generation.Issuer.Bundle(),
		Reason:        v1alpha1.ReasonSecretMissing,
	}, key.Public()}
}

// storedCA is the Secret of a new CA as the API server has it.
func storedCA(t *testing.T, authority *v1alpha1.MTLSAuthority, now time.Time) *corev1.Secret {
	t.Helper()
	secret := firstGeneration(t, authority, now)
	secret.UID = "uid-of-my-ca-ca-1"
	return secret
}

// firstGeneration is the Secret of a new CA.
func firstGeneration(t *testing.T, authority *v1alpha1.MTLSAuthority, now time.Time) *corev1.Secret {
	t.Helper()
	data, err := generationData(newCA(t, authority.Name, now))
	if err != nil {
		t.Fatal(err)
	}
	return newGenerationSecret(client.ObjectKeyFromObject(authority), 1, data, map[string]string{
		v1alpha1.CauseAnnotation:       v1alpha1.CauseInitial,
		v1alpha1.SpecHashAnnotation:    "v1:",
		v1alpha1.ActivatedAtAnnotation: now.UTC().Format(time.RFC3339),
	})
}

// planned is the generation that the cache shows.
func planned(secret *corev1.Secret) plan.Generation {
	cached := secret.DeepCopy()
	_, _ = dropKey(cached)
	return observedGeneration(cached)
}

func (g *gate) wantIssued(t *testing.T) {
	t.Helper()
	certificate, err := g.Issue(t.Context(), g.order, g.public)
	if err != nil {
		t.Fatal(err)
	}
	if !g.order.Generation.Issuer.Issued(certificate) {
		t.Fatal("another CA signed than the one planned")
	}
}

func (g *gate) wantReads(t *testing.T, want int) {
	t.Helper()
	if g.stored.reads != want {
		t.Errorf("the key of the CA was read %d times, want %d", g.stored.reads, want)
	}
}

func TestTheKeyOfACAIsReadOnce(t *testing.T) {
	g := newGate(t)
	for range 3 {
		g.wantIssued(t)
	}
	g.wantReads(t, 1)
}

func TestTheKeyOfACAIsReadOnceAlsoWhenManyNeedItAtOnce(t *testing.T) {
	g := newGate(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := g.Issue(t.Context(), g.order, g.public); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	g.wantReads(t, 1)
}

// informers keeps what a handler is added to it as: an informer of one kind.
type informers struct {
	cache.Cache
	informer
}

type informer struct {
	cache.Informer
	handler toolscache.ResourceEventHandler
}

func (i *informers) GetInformer(context.Context, client.Object, ...cache.InformerGetOption) (cache.Informer, error) {
	return &i.informer, nil
}

func (i *informer) AddEventHandler(handler toolscache.ResourceEventHandler,
) (toolscache.ResourceEventHandlerRegistration, error) {
	i.handler = handler
	return nil, nil
}

func TestTheKeyOfACAIsForgotten(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	deleted := func(of func(*corev1.Secret) any) func(*testing.T, *gate) {
		return func(t *testing.T, g *gate) {
			secrets := &informers{}
			if err := g.forgetDeleted(t.Context(), secrets); err != nil {
				t.Fatal(err)
			}
			secrets.handler.OnDelete(of(g.stored.secret))
		}
	}
	for when, c := range map[string]struct {
		happens func(*testing.T, *gate)
		reads   int
	}{
		"when it is to be": {func(_ *testing.T, g *gate) { g.Forget(g.stored.secret.UID) }, 2},
		"with all others":  {func(_ *testing.T, g *gate) { g.ForgetAll() }, 2},
		"when the process is the leader no more": {func(t *testing.T, g *gate) {
			if err := (forgetKeysAtTheEnd{g.Issuer}).Start(ended); err != nil {
				t.Error(err)
			}
		}, 2},
		"when its Secret is deleted": {deleted(func(s *corev1.Secret) any { return s }), 2},
		"when its Secret was deleted while the watch was broken": {deleted(func(s *corev1.Secret) any {
			return toolscache.DeletedFinalStateUnknown{Obj: s}
		}), 2},
		"but not with another Secret": {deleted(func(s *corev1.Secret) any {
			other := s.DeepCopy()
			other.UID = "uid-of-another"
			return other
		}), 1},
	} {
		t.Run(when, func(t *testing.T) {
			g := newGate(t)
			g.wantIssued(t)
			c.happens(t, g)
			g.wantIssued(t)
			g.wantReads(t, c.reads)
		})
	}
}

func TestOnlyThePlannedCASigns(t *testing.T) {
	now := start()
	for what, c := range map[string]struct {
		stored func(*testing.T, *gate)
		check  func(error) bool
	}{
		"the Secret is gone": {func(_ *testing.T, g *gate) { g.stored.secret = nil }, apierrors.IsNotFound},
		"another Secret has its name": {func(_ *testing.T, g *gate) {
			g.stored.secret = g.stored.secret.DeepCopy()
			g.stored.secret.UID = "uid-of-another"
		}, apierrors.IsConflict},
		"the Secret holds another CA of the same name": {func(t *testing.T, g *gate) {
			g.stored.secret = storedCA(t, g.order.Authority, now)
		}, func(err error) bool {
			_, later := errors.AsType[keyUnavailable](err)
			return later && strings.Contains(err.Error(), "pki/my-ca-ca-1 is not the one planned with")
		}},
		"the key in the Secret isn't the CA's": {func(t *testing.T, g *gate) {
			g.stored.secret = g.stored.secret.DeepCopy()
			g.stored.secret.Data["tls.key"] = storedCA(t, g.order.Authority, now).Data["tls.key"]
		}, func(err error) bool { return strings.Contains(err.Error(), "tls.key") }},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGate(t)
			right := g.stored.secret
			c.stored(t, g)
			if certificate, err := g.Issue(t.Context(), g.order, g.public); certificate != nil || !c.check(err) {
				t.Fatalf("issued: %t, error: %v", certificate != nil, err)
			}
			if failed := testutil.ToFloat64(g.metrics.issuances.WithLabelValues("SecretMissing", "failed")); failed != 1 {
				t.Errorf("counted %v failures, want 1", failed)
			}
			g.stored.secret = right
			g.wantIssued(t) // nothing that was wrong is remembered
		})
	}
}

func TestNoKeyIsReadForWhatPolicyDenies(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*v1alpha1.MTLSAuthority, *v1alpha1.MTLSCertificate)
		fields []string
	}{
		"all that is wrong is told at once": {func(a *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate) {
			a.Spec.MaxLeafDuration, c.Namespace = "1h", "team"
			c.Spec.DNSNames = []string{"web.team.svc", "localhost", "web.pki.svc"}
			c.Spec.IPAddresses = []string{"127.0.0.1"}
		}, []string{"dnsNames[1]", "dnsNames[2]", "ipAddresses[0]", "duration"}},
		"a common name is judged as the DNS name that it becomes": {func(_ *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate) {
			c.Namespace, c.Spec.DNSNames, c.Spec.CommonName = "team", nil, "web.pki.svc"
		}, []string{"commonName"}},
		"the names of a Service are judged": {func(a *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate) {
			a.Spec.AllowedNames = []string{"web.{namespace}.svc"}
			c.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = "team", nil, "web"
			c.Spec.AuthorityRef.Namespace = "pki"
		}, []string{"dnsNames[0]", "dnsNames[2]"}},
		"a longer life than that of the authority's own certificates": {func(a *v1alpha1.MTLSAuthority, _ *v1alpha1.MTLSCertificate) {
			a.Spec.MaxLeafDuration = "24h"
		}, []string{"duration"}},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGate(t, c.change)
			certificate, err := g.Issue(t.Context(), g.order, g.public)
			violations, denied := errors.AsType[policy.Violations](err)
			if !denied || certificate != nil {
				t.Fatalf("issued: %t, error: %v", certificate != nil, err)
			}
			var fields []string
			for _, violation := range violations {
				fields = append(fields, strings.TrimPrefix(violation.Field, "spec."))
			}
			if fmt.Sprint(fields) != fmt.Sprint(c.fields) {
				t.Errorf("denied %q, want %q: %v", fields, c.fields, err)
			}
			g.wantReads(t, 0)
			if n := testutil.ToFloat64(g.metrics.issuances.WithLabelValues("SecretMissing", "denied")); n != 1 {
				t.Errorf("counted %v denials, want 1", n)
			}
		})
	}
}

func TestNoLifeIsSignedThatPolicyDidNotSee(t *testing.T) {
	g := newGate(t)
	g.order.Duration = time.Hour
	certificate, err := g.Issue(t.Context(), g.order, g.public)
	if certificate != nil || err == nil || !strings.Contains(err.Error(), "1h0m0s, which policy allowed") {
		t.Errorf("issued: %t, error: %v", certificate != nil, err)
	}
	g.wantReads(t, 0)
}
