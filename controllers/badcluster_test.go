package controllers

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// wantKept breaks something about a certificate that has a Secret: it is told, and the Secret stays as it is.
func (w *world) wantKept(certificate *v1alpha1.MTLSCertificate, reason, says string, breakIt func()) {
	w.t.Helper()
	name := secretName(certificate)
	breakIt()
	before := w.secret(name)
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, metav1.ConditionFalse, reason, says+`|keeps its certificate`)
	w.wantFewWords(certificate)
	if !reflect.DeepEqual(before, w.secret(name)) {
		w.t.Error("its Secret isn't what it was")
	}
}

// wantNone tries to make a certificate: it is told why there is none.
func (w *world) wantNone(name, reason, says string, change ...func(*v1alpha1.MTLSCertificate)) *v1alpha1.MTLSCertificate {
	w.t.Helper()
	certificate := w.certificate(name, change...)
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, metav1.ConditionFalse, reason, says)
	w.wantFewWords(certificate)
	w.wantNoSecret(secretName(certificate))
	return certificate
}

func annotated(bytesEach int) func(*v1alpha1.MTLSCertificate) {
	return func(certificate *v1alpha1.MTLSCertificate) {
		// The schema counts characters, the API server bytes.
		value := v1alpha1.AnnotationValue(strings.Repeat("\u20ac", bytesEach/3))
		annotations := map[string]v1alpha1.AnnotationValue{}
		for i := range 32 {
			annotations[fmt.Sprintf("example.com/%d", i)] = value
		}
		certificate.Spec.SecretTemplate = &v1alpha1.SecretTemplate{Annotations: annotations}
	}
}

func TestASecretThatIsTooLargeIsToldAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	const says = "refuses Secret|annotations|Too long"
	w.wantNone("fresh", v1alpha1.ReasonSecretRejected, says+`|"fresh"`, annotated(12<<10))

	kept := w.issued("kept")
	w.wantKept(kept, v1alpha1.ReasonSecretRejected, says+`|"kept"`, func() { edit(w, kept, annotated(12<<10)) })
	edit(w, kept, annotated(4<<10))
	w.reconcileCertificate(kept)
	w.wantReady(kept, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")

	full := w.issued("full")
	w.wantKept(full, v1alpha1.ReasonSecretRejected, `"full"|Too long|1048576`, func() {
		w.fill(full, corev1.MaxSecretSize)
		edit(w, full, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey.Type = "RSA2048" })
	})
	w.issued("good")
}

// fill has a person put so much into the Secret that it has size bytes.
func (w *world) fill(certificate *v1alpha1.MTLSCertificate, size int) {
	w.t.Helper()
	secret := w.secret(secretName(certificate))
	for _, value := range secret.Data {
		size -= len(value)
	}
	edit(w, secret, func(secret *corev1.Secret) { secret.Data["theirs"] = make([]byte, size) })
}

func TestARequestToRenewOfAnySizeIsToldOrServed(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	kept := w.issued("kept")
	ask := func(size int) {
		edit(w, kept, func(c *v1alpha1.MTLSCertificate) {
			c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: strings.Repeat("x", size)}
		})
	}
	w.wantKept(kept, v1alpha1.ReasonSecretRejected, `"kept"|annotations|Too long`, func() { ask(256<<10 - 100) })
	before := w.secret("kept")
	ask(1)
	w.reconcileCertificate(kept)
	w.wantReady(kept, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	if bytes.Equal(before.Data["tls.crt"], w.secret("kept").Data["tls.crt"]) {
		t.Error("it wasn't renewed")
	}
	w.wantQuiet(kept)
}

func TestWhatAdmissionRefusesIsToldAndNothingIsLost(t *testing.T) {
	for sentence, test := range map[string]struct {
		forbid func(*world)
		says   string
	}{
		"a quota":                      {(*world).quota, "exceeded quota: no-secrets"},
		"a policy that says forbidden": {func(w *world) { w.policy(metav1.StatusReasonForbidden) }, "ask the cooks"},
		"a policy that says invalid":   {func(w *world) { w.policy(metav1.StatusReasonInvalid) }, "ask the cooks"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			w.authority("my-ca")
			kept := w.issued("kept")
			test.forbid(w)
			w.wantNone("fresh", v1alpha1.ReasonSecretRejected, `"fresh"|`+test.says)
			fresh := w.authority("other-ca")
			w.wantReady(fresh, metav1.ConditionFalse, v1alpha1.ReasonCASecretRejected, `"other-ca-ca-1"|`+test.says)
			w.reconcileCertificate(kept)
			w.wantReady(kept, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
		})
	}
}

// adminOfAll is a client for everything that Kubernetes has.
func (w *world) adminOfAll() client.Client {
	w.t.Helper()
	all, err := client.New(apiServer, client.Options{Scheme: clientgoscheme.Scheme})
	w.check(err)
	return all
}

// quota allows the namespace no other Secrets than those it has. No controller counts here, so their number is written.
func (w *world) quota() {
	w.t.Helper()
	none := corev1.ResourceList{corev1.ResourceSecrets: quantity.MustParse("0")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "no-secrets"},
		Spec:       corev1.ResourceQuotaSpec{Hard: none},
	}
	all := w.adminOfAll()
	w.check(all.Create(w.ctx, quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	w.check(all.Status().Update(w.ctx, quota))
	w.waitUntilForbidden()
}

// policy refuses new Secrets in the namespace, as one of a cluster's owner may.
func (w *world) policy(reason metav1.StatusReason) {
	w.t.Helper()
	all, name := w.adminOfAll(), w.namespace
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule: admissionv1.Rule{
						APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"},
					},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: fmt.Sprintf("request.namespace != %q", w.namespace), Message: "ask the cooks", Reason: &reason,
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	w.check(all.Create(w.ctx, policy))
	w.check(all.Create(w.ctx, binding))
	w.t.Cleanup(func() {
		for _, object := range []client.Object{binding, policy} {
			w.check(all.Delete(context.Background(), object))
		}
	})
	w.waitUntilForbidden()
}

// waitUntilForbidden waits for the API server's own caches, with Secrets that aren't stored.
func (w *world) waitUntilForbidden() {
	w.t.Helper()
	w.check(wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "try-"}}
			err := w.admin.Create(ctx, secret, client.DryRunAll)
			return apierrors.IsForbidden(err) || apierrors.IsInvalid(err), nil
		}))
}

func TestAnAuthorityThatCannotSignIsToldAndNothingIsLost(t *testing.T) {
	refer := func(name string) func(*v1alpha1.MTLSCertificate) {
		return func(certificate *v1alpha1.MTLSCertificate) { certificate.Spec.AuthorityRef.Name = name }
	}
	w := newWorld(t)
	w.authority("my-ca")
	w.authority("unready", importsFrom("none"))
	leaving := w.authority("leaving")
	w.issued("holds-it", refer("leaving"))
	w.check(w.client.Delete(w.ctx, leaving))
	w.reconcileAuthority(leaving)
	for sentence, test := range map[string]struct{ authority, reason, says string }{
		"missing":   {"missing", v1alpha1.ReasonAuthorityNotFound, `"missing"|create it, or correct spec.authorityRef`},
		"not ready": {"unready", v1alpha1.ReasonAuthorityNotReady, `"unready"|Secret "none" doesn't exist|Create it`},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := w.in(t)
			kept := w.issued("kept-" + test.authority)
			w.wantKept(kept, test.reason, test.says, func() { edit(w, kept, refer(test.authority)) })
			w.wantNone("fresh-"+test.authority, test.reason, test.says, refer(test.authority))
			w.issued("good-" + test.authority)
		})
	}
	t.Run("being deleted", func(t *testing.T) {
		w := w.in(t)
		late := w.certificateMadeAfter(leaving, "late", refer("leaving"))
		w.wantReady(late, metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotReady, `"leaving"|being deleted`)
		w.wantNoSecret("late")
	})
}

// certificateMadeAfter the second in which the authority was deleted, which is as exact as the API server's times are.
func (w *world) certificateMadeAfter(
	authority *v1alpha1.MTLSAuthority, name string, change func(*v1alpha1.MTLSCertificate),
) *v1alpha1.MTLSCertificate {
	w.t.Helper()
	for {
		certificate := w.certificate(name, change)
		if certificate.CreationTimestamp.After(authority.DeletionTimestamp.Time) {
			w.reconcileCertificate(certificate)
			return certificate
		}
		w.check(w.client.Delete(w.ctx, certificate))
	}
}

func TestANamespaceBeingDeletedIsToldAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	kept, fresh := w.issued("kept"), w.certificate("fresh")
	w.check(w.admin.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	w.reconcileCertificate(fresh)
	w.wantReady(fresh, metav1.ConditionFalse, v1alpha1.ReasonSecretRejected, "namespace is being deleted")
	w.wantNoSecret("fresh")
	before := w.secret("kept")
	w.reconcileCertificate(kept)
	w.wantReady(kept, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	if !reflect.DeepEqual(before, w.secret("kept")) {
		t.Error("its Secret isn't what it was")
	}
}

func TestNamesOfObjectsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	for sentence, test := range map[string]struct {
		object client.Object
		name   string
		says   string
	}{
		"a certificate's with a control character": {&v1alpha1.MTLSCertificate{}, "a\x07", "metadata.name"},
		"a certificate's in upper case":            {&v1alpha1.MTLSCertificate{}, "Hello", "metadata.name|lower case"},
		"a certificate's of 10 KiB":                {&v1alpha1.MTLSCertificate{}, long, "metadata.name|253"},
		"a certificate's that is an authority's": {
			&v1alpha1.MTLSCertificate{}, "my-ca-ca-2",
			"spec.secretName|set another secretName",
		},
		"an authority's of 53 characters": {&v1alpha1.MTLSAuthority{}, long[:53], "no more than 52 characters"},
		"an authority's of 10 KiB":        {&v1alpha1.MTLSAuthority{}, long, "metadata.name|253"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := w.in(t)
			test.object.SetName(test.name)
			test.object.SetNamespace(w.namespace)
			w.wantRefused(w.applySpec(test.object, `{}`), test.says)
		})
	}
}

// A status that the API server refuses would be told to nobody.
func TestNamesThatFillAStatus(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	wide := v1alpha1.Text("a" + strings.Repeat("\u3000", 126) + "b") // blanks, which a subject's text has as nine characters
	var provinces []v1alpha1.Text
	for i := range 8 {
		provinces = append(provinces, wide[:len(wide)-1]+v1alpha1.Text(fmt.Sprint(i)))
	}
	w.issued("wide", func(c *v1alpha1.MTLSCertificate) { c.Spec.Subject = &v1alpha1.Subject{Provinces: provinces} })

	kept := w.issued("kept")
	theirs := makeCA(t, "theirs", nil, func(c *x509.Certificate) {
		c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 310)
		c.NotBefore = time.Time{}
		for i := range 200 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%s.%d.example.com", long[:300], i))
		}
	})
	edit(w, w.secret("kept"), func(secret *corev1.Secret) { secret.Data = theirs.secret() })
	edit(w, kept, func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "missing" })
	w.reconcileCertificate(kept)
	w.wantReady(kept, metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotFound, "")
	edit(w, kept, func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "my-ca" })
	w.reconcileCertificate(kept)
	w.wantReady(kept, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
}
