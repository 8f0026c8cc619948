package controllers

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// runOperator runs the whole operator, as cmd/manager does, until the test ends.
func runOperator(t *testing.T) {
	t.Helper()
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme:     Scheme(),
		Cache:      CacheOptions(nil),
		Client:     ClientOptions(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)}, // the test may run more than once
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	if err := Setup(ctx, mgr, Options{ClusterDomain: "cluster.local", Concurrency: 4}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
		metrics.Registry.Unregister(NewMetrics(nil))
	})
}

// bystander is a person in a namespace of their own, who only sees what the operator does.
func bystander(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), admin: newClient(t, apiServer), clock: clocktesting.NewFakePassiveClock(start())}
	w.client = w.admin
	w.namespace = w.newNamespace("", nil)
	return w
}

// becomes waits until condition Ready of an object has a reason.
func (w *world) becomes(object client.Object, reason string) {
	w.t.Helper()
	w.reports(object, v1alpha1.ConditionReady, reason)
}

func (w *world) reports(object client.Object, kind, reason string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s of %s is %s", kind, object.GetName(), reason), func() bool {
		w.check(w.admin.Get(w.ctx, keyOf(object), object))
		condition := meta.FindStatusCondition(conditionsOf(object), kind)
		return condition != nil && condition.Reason == reason
	})
}

// newAuthority makes an MTLSAuthority and waits for nothing.
func (w *world) newAuthority(name string, change func(*v1alpha1.MTLSAuthority)) *v1alpha1.MTLSAuthority {
	w.t.Helper()
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if change != nil {
		change(authority)
	}
	w.create(authority)
	return authority
}

// TestTheWholeOperator shows that every watch is there, and that the pieces are put together. What each piece does is
// tested elsewhere.
func TestTheWholeOperator(t *testing.T) {
	runOperator(t)
	for sentence, test := range map[string]func(*testing.T, *world){
		"a certificate that was there before its authority":           certificateBeforeAuthority,
		"a Secret that is deleted, and one that loses its label":      secretsThatAreMeddledWith,
		"a certificate that is edited, and one that is to be renewed": certificatesThatPeopleChange,
		"a foreign Secret in the way that is deleted":                 foreignSecretInTheWay,
		"foreign Secrets in the way of an authority":                  foreignSecretsInTheWayOfAnAuthority,
		"an imported Secret that comes later":                         importedSecretThatComesLater,
		"a namespace that gets the label that an authority selects":   namespaceThatIsLabelled,
		"an authority that is deleted while it is in use":             authorityDeletedInUse,
		"an authority that is deleted, and a namespace loses a label": authorityDeletedAndNamespaceUnlabelled,
		"an authority that was restored":                              authorityRestored,
	} {
		t.Run(sentence, func(t *testing.T) { test(t, bystander(t)) })
	}
}

func certificateBeforeAuthority(t *testing.T, w *world) {
	certificate := w.certificate("hello")
	w.becomes(certificate, v1alpha1.ReasonAuthorityNotFound)
	authority := w.newAuthority("my-ca", nil)
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.becomes(authority, v1alpha1.ReasonSigning)
	w.soundLeaf("hello")

	labels := map[string]string{"namespace": w.namespace, "name": "hello"}
	got, want := gathered(t, "mtls_certificate_not_after_timestamp_seconds", labels), certificate.Status.Expires.Unix()
	if got != float64(want) {
		t.Errorf("the metric of the certificate's end is %v, want %v", got, want)
	}
	labels = map[string]string{"namespace": w.namespace, "name": "my-ca", "generation": "1", "role": "Signing"}
	got, want = gathered(t, "mtls_authority_not_after_timestamp_seconds", labels), authority.Status.Expires.Unix()
	if got != float64(want) {
		t.Errorf("the metric of the CA's end is %v, want %v", got, want)
	}
	labels = map[string]string{"reason": v1alpha1.ReasonSecretMissing, "result": "success"}
	if got := gathered(t, "mtls_issuances_total", labels); got < 1 {
		t.Errorf("the metric of issuances is %v", got)
	}
}

// gathered is the value of a metric as it is scraped.
func gathered(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			found := 0
			for _, label := range metric.GetLabel() {
				if value, wanted := labels[label.GetName()]; wanted && value == label.GetValue() {
					found++
				}
			}
			if family.GetName() == name && found == len(labels) {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s with %v", name, labels)
	return 0
}

func secretsThatAreMeddledWith(_ *testing.T, w *world) {
	authority := w.newAuthority("my-ca", nil)
	certificate := w.certificate("hello")
	w.becomes(certificate, v1alpha1.ReasonIssued)
	first := w.secret("hello")
	w.check(w.admin.Delete(w.ctx, first))
	w.eventually("the Secret is back", func() bool {
		return w.exists("hello") && w.secret("hello").UID != first.UID
	})
	for _, name := range []string{"hello", "my-ca-ca-1"} {
		secret := w.secret(name)
		unlabelled := secret.DeepCopy()
		unlabelled.Labels = nil
		w.check(w.admin.Patch(w.ctx, unlabelled, client.MergeFrom(secret)))
		w.eventually("the labels of "+name+" are back", func() bool {
			return equal(w.secret(name).Labels, secret.Labels)
		})
	}
	w.becomes(authority, v1alpha1.ReasonSigning)
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.soundLeaf("hello")
}

func certificatesThatPeopleChange(t *testing.T, w *world) {
	w.newAuthority("my-ca", nil)
	certificate := w.certificate("hello")
	w.becomes(certificate, v1alpha1.ReasonIssued)
	for _, change := range []func(*v1alpha1.MTLSCertificate){
		func(c *v1alpha1.MTLSCertificate) { c.Spec.DNSNames = []string{"other"} },
		func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{"mtls-operator.io/renew-requested-at": "1"}
		},
	} {
		before := w.leaf("hello")
		edit(w, certificate, change)
		w.eventually("another certificate is there", func() bool { return !w.leaf("hello").Equal(before) })
	}
	if leaf := w.soundLeaf("hello"); leaf.DNSNames[0] != "other" {
		t.Errorf("names are %q", leaf.DNSNames)
	}
}

func foreignSecretInTheWay(_ *testing.T, w *world) {
	w.newAuthority("my-ca", nil)
	secret := w.foreignSecret("hello")
	certificate := w.certificate("hello")
	w.becomes(certificate, v1alpha1.ReasonSecretConflict)
	w.wantUntouched(secret)
	w.check(w.admin.Delete(w.ctx, secret))
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.soundLeaf("hello")
}

func foreignSecretsInTheWayOfAnAuthority(_ *testing.T, w *world) {
	for i := range maxNumbersTried {
		w.foreignSecret(fmt.Sprintf("my-ca-ca-%d", i+1))
	}
	authority := w.newAuthority("my-ca", nil)
	w.becomes(authority, v1alpha1.ReasonCASecretConflict)
	w.check(w.admin.Delete(w.ctx, w.secret("my-ca-ca-5")))
	w.becomes(authority, v1alpha1.ReasonSigning)
}

func importedSecretThatComesLater(_ *testing.T, w *world) {
	w.becomes(w.newAuthority("maker", nil), v1alpha1.ReasonSigning)
	authority := w.newAuthority("my-ca", imports("walk-through"))
	certificate := w.certificate("hello")
	w.becomes(authority, v1alpha1.ReasonImportedSecretNotFound)
	w.becomes(certificate, v1alpha1.ReasonAuthorityNotReady)
	w.foreignCopy("maker-ca-1", "walk-through")
	w.becomes(authority, v1alpha1.ReasonSigning)
	w.becomes(certificate, v1alpha1.ReasonIssued)

	secret := w.secret("walk-through")
	broken := secret.DeepCopy()
	broken.Data["tls.key"] = []byte("?")
	w.check(w.admin.Patch(w.ctx, broken, client.MergeFrom(secret)))
	w.reports(authority, v1alpha1.ConditionStalled, v1alpha1.ReasonImportedInvalid)
}

// selectsLabel has an authority permit the namespaces with a label.
func selectsLabel(name, value string) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) {
		a.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
			From: "Selector", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{name: value}},
		}
	}
}

func namespaceThatIsLabelled(_ *testing.T, w *world) {
	w.newAuthority("my-ca", selectsLabel("of", w.namespace))
	home := w.namespace
	w.namespace = w.newNamespace("", nil)
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = home, nil, "hello"
	})
	w.becomes(certificate, v1alpha1.ReasonAuthorityNotPermitted)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	edit(w, namespace, func(n *corev1.Namespace) { n.Labels["of"] = home })
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.soundLeaf("hello")
}

func authorityDeletedInUse(_ *testing.T, w *world) {
	authority := w.newAuthority("my-ca", nil)
	certificate := w.certificate("hello")
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.check(w.admin.Delete(w.ctx, authority))
	w.reports(authority, v1alpha1.ConditionStalled, v1alpha1.ReasonInUse)
	w.becomes(authority, v1alpha1.ReasonSigning)
	w.check(w.admin.Delete(w.ctx, certificate))
	w.eventually("the authority is gone, and its CA with it", func() bool {
		err := w.admin.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: "my-ca"}, authority)
		w.check(client.IgnoreNotFound(err))
		return apierrors.IsNotFound(err) && !w.exists("my-ca-ca-1")
	})
}

func authorityDeletedAndNamespaceUnlabelled(_ *testing.T, w *world) {
	authority := w.newAuthority("my-ca", selectsLabel("of", w.namespace))
	home := w.namespace
	w.namespace = w.newNamespace("", map[string]string{"of": home})
	certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = home, nil, "hello"
	})
	w.becomes(certificate, v1alpha1.ReasonIssued)
	w.check(w.admin.Delete(w.ctx, authority))
	w.reports(authority, v1alpha1.ConditionStalled, v1alpha1.ReasonInUse)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	edit(w, namespace, func(n *corev1.Namespace) { delete(n.Labels, "of") })
	w.eventually("the authority is gone", func() bool {
		return apierrors.IsNotFound(w.admin.Get(w.ctx, keyOf(authority), authority))
	})
}

func authorityRestored(t *testing.T, w *world) {
	authority := w.newAuthority("my-ca", marked(w.namespace, "my-ca"))
	w.becomes(authority, v1alpha1.ReasonCALost)
	w.create(firstGeneration(t, authority, w.clock.Now()))
	w.becomes(authority, v1alpha1.ReasonSigning)

	other := w.newAuthority("other", marked(w.namespace, "other"))
	w.becomes(other, v1alpha1.ReasonCALost)
	edit(w, other, func(a *v1alpha1.MTLSAuthority) { a.Annotations = nil })
	w.becomes(other, v1alpha1.ReasonSigning)
}
