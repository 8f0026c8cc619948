package controllers

import (
	"cmp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// certificateRow is a problem of a certificate.
type certificateRow struct {
	sentence string
	reason   string
	// arrange the world before the certificate is changed, or made.
	arrange func(*world)
	spec    func(*v1alpha1.MTLSCertificate)
	message string // parts, separated by "|"
	stalled bool   // a person must act
	event   bool   // a person is told
	again   bool   // the pass is repeated with back-off
	// inTheEnd is the reason when the certificate that there was has ended, if it is another one.
	inTheEnd string
	// tries is a write that every pass tries in vain.
	tries string
	// result of issuing in the metric, if it comes to that.
	result string
}

// certificateRows has every reason of Ready=False but SecretConflict, whose rows are the conflictRows. Each is shown with
// a certificate that has no Secret yet and with one that has.
var certificateRows = []certificateRow{
	{
		sentence: "a server has no name that clients look at", reason: v1alpha1.ReasonInvalidSpec,
		spec: func(c *v1alpha1.MTLSCertificate) {
			c.Spec.DNSNames, c.Spec.CommonName = nil, "the hello server"
		},
		message: "spec.dnsNames: a server needs at least one", stalled: true, event: true,
	},
	{
		sentence: "the name is the CA's own", reason: v1alpha1.ReasonInvalidSpec,
		spec: func(c *v1alpha1.MTLSCertificate) {
			c.Spec.CommonName, c.Spec.Usages = "my-ca", []v1alpha1.Usage{"Client"}
		},
		message: `spec.subject: is the name of the CA itself, "CN=my-ca"|choose another name`, stalled: true, event: true,
		result: "denied",
	},
	{
		sentence: "there is no such authority in the namespace", reason: v1alpha1.ReasonAuthorityNotFound,
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "none" },
		message: `MTLSAuthority "none" doesn't exist in this namespace|create it|spec.authorityRef`,
	},
	{
		sentence: "there is no such authority in another namespace", reason: v1alpha1.ReasonAuthorityNotPermitted,
		spec: func(c *v1alpha1.MTLSCertificate) {
			c.Spec.AuthorityRef = v1alpha1.AuthorityRef{Namespace: "elsewhere", Name: "their-ca"}
		},
		message: `spec.authorityRef|"elsewhere/their-ca"|spec.allowedNamespaces`, event: true,
	},
	{
		sentence: "the authority has no CA", reason: v1alpha1.ReasonAuthorityNotReady,
		arrange: func(w *world) {
			w.authority("broken-ca", func(a *v1alpha1.MTLSAuthority) {
				a.Spec.Imported = &v1alpha1.Imported{SecretName: "none"}
			})
		},
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "broken-ca" },
		message: `MTLSAuthority "broken-ca" cannot sign now|Secret "none" doesn't exist`,
	},
	{
		sentence: "the authority wasn't looked at yet", reason: v1alpha1.ReasonAuthorityNotReady,
		arrange: func(w *world) {
			w.create(&v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "new-ca"}})
		},
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "new-ca" },
		message: `MTLSAuthority "new-ca" cannot sign now: it has no CA yet`,
	},
	{
		sentence: "the authority ends soon", reason: v1alpha1.ReasonAuthorityExpiring,
		arrange: func(w *world) {
			w.authority("old-ca", func(a *v1alpha1.MTLSAuthority) { a.Spec.Duration = "215h" })
		},
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "old-ca" },
		message: `MTLSAuthority "old-ca" ends at|spec.duration|another authority`, stalled: true, event: true,
		inTheEnd: v1alpha1.ReasonAuthorityNotReady,
	},
	{
		sentence: "the authority doesn't allow so long a life", reason: v1alpha1.ReasonDenied,
		arrange: func(w *world) {
			w.authority("strict-ca", func(a *v1alpha1.MTLSAuthority) { a.Spec.MaxLeafDuration = "24h" })
		},
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "strict-ca" },
		message: "spec.duration: 2160h is longer than|at most 24h", stalled: true, event: true, result: "denied",
	},
	{
		sentence: "the CA's constraints exclude a name", reason: v1alpha1.ReasonNameConstraintViolation,
		arrange: func(w *world) {
			w.authority("narrow-ca", func(a *v1alpha1.MTLSAuthority) {
				a.Spec.NameConstraints = &v1alpha1.NameConstraints{
					Permitted: &v1alpha1.NameConstraintSet{DNSDomains: []string{"example.com"}},
				}
			})
		},
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "narrow-ca" },
		message: `"localhost"|example.com`, stalled: true, event: true, result: "denied",
	},
	{
		sentence: "the API server refuses the Secret", reason: v1alpha1.ReasonSecretRejected,
		arrange: func(w *world) { w.refuseSecrets() },
		message: `the API server refuses Secret "hello"|exceeded quota`, stalled: true, event: true, tries: "POST secrets",
	},
	{
		sentence: "a CA Secret was made up", reason: v1alpha1.ReasonIssuanceFailed,
		arrange: func(w *world) { w.forgeGeneration("forged-ca") },
		spec:    func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "forged-ca" },
		message: "tls.key|isn't the key of the certificate", event: true, again: true, result: "failed",
	},
}

// refuseSecrets has the API server refuse all new Secrets.
func (w *world) refuseSecrets() {
	w.t.Helper()
	none := corev1.ResourceList{"count/secrets": apiresource.MustParse("0")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "no-secrets"},
		Spec:       corev1.ResourceQuotaSpec{Hard: none},
	}
	w.check(w.admin.Create(w.ctx, quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none} // as the controller of quotas would write it
	w.check(w.admin.Status().Update(w.ctx, quota))
}

// forgeGeneration makes an authority whose CA Secret somebody made anew with another key, and with a hash that fits.
func (w *world) forgeGeneration(name string) {
	w.t.Helper()
	w.authority(name)
	forged, other := w.secret(name+"-ca-1"), w.secret("my-ca-ca-1")
	stripped := forged.DeepCopy()
	stripped.Finalizers = nil
	w.check(w.admin.Update(w.ctx, stripped))
	w.removeSecret(forged.Name)
	forged.Data["tls.key"] = other.Data["tls.key"]
	forged.Annotations["mtls-operator.io/pair-hash"] = pki.PairHash(forged.Data["tls.crt"], forged.Data["tls.key"])
	forged.ResourceVersion, forged.UID = "", ""
	w.create(forged)
}

func TestEveryReasonNotToBeReadyOfANewCertificate(t *testing.T) {
	for _, row := range certificateRows {
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			row.prepare(w)
			certificate := w.certificate("hello", row.apply)
			w.told.take()

			result := row.pass(w, certificate)

			row.verify(w, certificate)
			if row.result != "" && w.issuances(v1alpha1.ReasonSecretMissing, row.result) != 1 {
				t.Errorf("the metric of issuances doesn't count one that was %s", row.result)
			}
			if w.exists("hello") {
				t.Error("there is a Secret")
			}
			if row.tries != "" && result.RequeueAfter <= 0 {
				t.Error("no watch tells when the API server would accept the Secret, so it must be tried again")
			}
			w.wantNoWrites(func() { row.pass(w, certificate) }, row.tries)
		})
	}
}

func TestEveryReasonNotToBeReadyLeavesTheSecretThatThereIs(t *testing.T) {
	for _, row := range certificateRows {
		if row.spec == nil {
			continue // without a change of the spec nothing is issued anew
		}
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			row.prepare(w)
			certificate := w.issued("hello")
			before := w.secret("hello")
			edit(w, certificate, row.apply)
			w.told.take()

			row.pass(w, certificate)

			row.verify(w, certificate)
			w.wantUntouched(before)
			w.wantReady(certificate, "False", row.reason, `Secret "hello" keeps its certificate, valid until|`+row.message)
			if certificate.Status.Certificate == nil || certificate.Status.Expires == nil {
				t.Error("status doesn't tell of the certificate that there is")
			}
			w.wantNoWrites(func() { row.pass(w, certificate) })
			w.wantUntouched(before)

			w.clock.SetTime(certificate.Status.Expires.Add(-time.Second))
			if wait := row.pass(w, certificate).RequeueAfter; !row.again && (wait <= 0 || wait > time.Minute) {
				t.Errorf("the next pass is in %v, want one when the certificate ends", wait)
			}
			w.later(2 * time.Second)
			if wait := row.pass(w, certificate).RequeueAfter; wait > 0 && wait < time.Minute {
				t.Errorf("nothing changes with time any more, and yet the next pass is in %v", wait)
			}
			w.wantReady(certificate, "False", cmp.Or(row.inTheEnd, row.reason), `The certificate in Secret "hello" ended at`)
			w.wantUntouched(before)
		})
	}
}

func (r certificateRow) prepare(w *world) {
	w.t.Helper()
	if r.arrange != nil {
		r.arrange(w)
	}
}

// pass makes a pass, which fails when it is to be repeated.
func (r certificateRow) pass(w *world, certificate *v1alpha1.MTLSCertificate) ctrl.Result {
	w.t.Helper()
	if !r.again {
		return w.reconcileCertificate(certificate)
	}
	request := ctrl.Request{}
	request.Namespace, request.Name = certificate.Namespace, certificate.Name
	result, err := w.certificates.Reconcile(w.ctx, request)
	if err == nil {
		w.t.Error("the pass doesn't fail, so that it wouldn't be repeated")
	}
	return result
}

// verify the conditions and the event.
func (r certificateRow) verify(w *world, certificate *v1alpha1.MTLSCertificate) {
	w.t.Helper()
	w.wantReady(certificate, "False", r.reason, r.message)
	if r.stalled {
		w.wantCondition(certificate, "Stalled", "True", r.reason, r.message)
	} else {
		w.wantCondition(certificate, "Stalled", "False", v1alpha1.ReasonProgressing, "")
	}
	if certificate.Status.ObservedGeneration != certificate.Generation {
		w.t.Errorf("observedGeneration is %d of %d", certificate.Status.ObservedGeneration, certificate.Generation)
	}
	if r.event {
		w.wantOneEvent("Warning "+r.reason, r.message)
	} else if events := w.told.take(); len(events) > 0 {
		w.t.Errorf("events: %s", strings.Join(events, "; "))
	}
}

func (r certificateRow) apply(certificate *v1alpha1.MTLSCertificate) {
	if r.spec != nil {
		r.spec(certificate)
	}
}
