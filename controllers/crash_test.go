package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// crashes are the situations in which a crash must not matter: what there is when the operator begins to work on
// authority my-ca and certificate web.
var crashes = map[string]func(*world){
	"a new authority makes its CA": func(w *world) {
		w.create(&v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "my-ca"}})
	},
	"a new authority takes an imported CA": func(w *world) {
		w.check(w.admin.Create(w.ctx, w.pairSecret("made-elsewhere")))
		authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "my-ca"}}
		authority.Spec.Imported = &v1alpha1.Imported{SecretName: "made-elsewhere"}
		w.create(authority)
	},
	"a new certificate is issued": func(w *world) {
		w.authority("my-ca")
		w.certificate("web")
	},
	"a certificate is renewed": func(w *world) {
		w.authority("my-ca")
		w.renewalDue(w.issued("web"))
	},
	"a certificate that keeps its key is renewed": func(w *world) {
		w.authority("my-ca")
		w.renewalDue(w.issued("web", func(c *v1alpha1.MTLSCertificate) {
			c.Spec.PrivateKey.RotationPolicy = v1alpha1.RotationNever
		}))
	},
	"a renewal that was asked for is served once": func(w *world) {
		w.authority("my-ca")
		edit(w, w.issued("web"), func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: "now"}
		})
	},
	"roots that somebody edited are put right": func(w *world) {
		w.authority("my-ca")
		w.issued("web")
		edit(w, w.secret("web"), func(s *corev1.Secret) { s.Data[v1alpha1.BundleKey] = []byte("nothing") })
	},
	"labels, annotations and the owner are put right": func(w *world) {
		w.authority("my-ca")
		w.issued("web", func(c *v1alpha1.MTLSCertificate) {
			c.Spec.SecretTemplate = &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"team": "a"}}
		})
		edit(w, w.secret("web"), func(s *corev1.Secret) {
			s.Labels["team"], s.OwnerReferences = "b", nil
			delete(s.Annotations, v1alpha1.BundleHashAnnotation)
		})
	},
	"the label that the cache selects by is put back": func(w *world) {
		w.authority("my-ca")
		w.issued("web")
		edit(w, w.secret("web"), func(s *corev1.Secret) { delete(s.Labels, v1alpha1.GenerationLabel) })
	},
	"the labels of a CA are put back": func(w *world) {
		w.authority("my-ca")
		w.editSecret("my-ca-ca-1", func(s *corev1.Secret) { s.Labels = nil })
	},
	"a restored authority waits for its CA": func(w *world) {
		authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "my-ca"}}
		marked(w.namespace, "my-ca")(authority)
		w.create(authority)
	},
	"a restored authority takes its CA again": func(w *world) {
		edit(w, w.authority("my-ca"), marked(w.namespace, "my-ca"))
	},
	"an authority goes with its CA": func(w *world) {
		authority := w.authority("my-ca")
		w.check(w.client.Delete(w.ctx, authority))
	},
}

func TestACrashBetweenAnyTwoRequestsDoesNotMatter(t *testing.T) {
	for situation, arrange := range crashes {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			run := &crashRun{world: newWorld(t), arrange: arrange, base: start()}
			undisturbed := run.crash(0, false, nil)
			for _, after := range []bool{false, true} {
				for _, goesOn := range []string{"a new process", "the same process"} {
					for number := 1; ; number++ {
						state := run.crash(number, after, func() {
							if goesOn == "a new process" {
								run.restart()
							}
						})
						if diff := cmp.Diff(undisturbed, state); diff != "" {
							t.Errorf("request %d failed (after it was carried out: %t), %s went on (-without +with the crash):\n%s",
								number, after, goesOn, diff)
						}
						if !run.crashed {
							break // there are no more requests
						}
					}
				}
			}
		})
	}
}

// crashRun is a world in which the same thing happens again and again, each time with another request that fails.
type crashRun struct {
	*world
	arrange func(*world)
	base    time.Time
	crashed bool
}

// crash arranges the situation in a namespace of its own, has one request fail, and returns the state in which it all ends.
func (r *crashRun) crash(number int, after bool, then func()) map[string]any {
	r.t.Helper()
	r.requests.reset()
	r.clock.SetTime(r.base)
	r.namespace = r.newNamespace("", nil)
	r.arrange(r.world)
	r.issuer.ForgetAll() // so that reading the key of a CA is a request that can fail
	before := r.allSecrets()
	r.requests.breakRequest(number, after)
	r.crashed = false
	r.settle(then)
	defer r.clear()
	return r.state(before)
}

// settle makes passes until nothing is left to do. After the pass with the request that failed it calls then.
func (r *crashRun) settle(then func()) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		quiet := true
		for _, pass := range []func() (ctrl.Result, error){r.passAuthority, r.passCertificate} {
			before := len(r.requests.writes())
			result, err := pass()
			again := err != nil || result.RequeueAfter == conflictDelay
			quiet = quiet && !again && len(r.requests.writes()) == before
			r.wantConsistentSecrets()
			if !r.crashed && r.requests.hasBroken() {
				r.crashed = true
				if !again {
					r.t.Errorf("a pass whose last request failed isn't repeated: %v", r.requests.all())
				}
				then()
			}
		}
		if quiet {
			return
		}
	}
	r.t.Fatal("the operator doesn't come to rest")
}

func (r *crashRun) passAuthority() (ctrl.Result, error) {
	key := types.NamespacedName{Namespace: r.namespace, Name: "my-ca"}
	r.catchUp()
	return r.authorities.Reconcile(r.ctx, ctrl.Request{NamespacedName: key})
}

func (r *crashRun) passCertificate() (ctrl.Result, error) {
	key := types.NamespacedName{Namespace: r.namespace, Name: "web"}
	r.catchUp()
	return r.certificates.Reconcile(r.ctx, ctrl.Request{NamespacedName: key})
}

// renewalDue sets the clock to a time at which the certificate is to be renewed, whatever its jitter.
func (w *world) renewalDue(certificate *v1alpha1.MTLSCertificate) {
	issued := certificate.Status.Certificate
	w.clock.SetTime(issued.NotAfter.Add(-issued.NotAfter.Sub(issued.NotBefore.Time) / 3))
}

// pairSecret is a Secret with a CA that was made elsewhere.
func (w *world) pairSecret(name string) *corev1.Secret {
	w.t.Helper()
	ca := newCA(w.t, "elsewhere", w.clock.Now())
	certificates, key, _, err := ca.Encode()
	w.check(err)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{v1alpha1.CertificateKey: certificates, v1alpha1.PrivateKeyKey: key},
	}
}

// newCA makes a root.
func newCA(t testing.TB, commonName string, now time.Time) *pki.Authority {
	t.Helper()
	request, err := pki.NewAuthorityRequest(pki.AuthorityFields{
		Subject:    pki.Subject{CommonName: commonName},
		KeyType:    pki.KeyType(v1alpha1.KeyTypeDefault),
		Duration:   8760 * time.Hour,
		Generation: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.SelfSign(request, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
