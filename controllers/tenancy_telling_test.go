package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// heard is everything that a tenant can notice of a pass: what is told, and how much work it is.
type heard struct {
	Conditions []metav1.Condition
	Events     []string
	Requests   []string
	Result     ctrl.Result
}

// hears has the shop refer to an authority and makes one pass. What the tenant wrote itself is taken out.
func (c tenancy) hears(name, authority, namespace string) heard {
	c.t.Helper()
	certificate := c.certificate(name, func(certificate *v1alpha1.MTLSCertificate) {
		certificate.Namespace = c.shop
		certificate.Spec.AuthorityRef = v1alpha1.AuthorityRef{Name: authority, Namespace: namespace}
	})
	c.told.take()
	c.requests.reset()
	result := c.reconcileCertificate(certificate)
	got := heard{certificate.Status.Conditions, c.told.take(), c.requests.all(), result}
	written := strings.NewReplacer(namespace+"/"+authority, "REFERENCE")
	for i := range got.Conditions {
		got.Conditions[i].Message = written.Replace(got.Conditions[i].Message)
		got.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	for i := range got.Events {
		got.Events[i] = written.Replace(got.Events[i])
	}
	return got
}

func TestWhatExistsElsewhereIsNotTold(t *testing.T) {
	c := newTenancy(t)
	allow := func(allowed v1alpha1.AllowedNamespaces) func(*v1alpha1.MTLSAuthority) {
		return func(authority *v1alpha1.MTLSAuthority) { authority.Spec.AllowedNamespaces = &allowed }
	}
	selecting := func(expression metav1.LabelSelectorRequirement) func(*v1alpha1.MTLSAuthority) {
		return allow(v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{expression},
		}})
	}
	c.authority("private")
	c.authority("said-private", allow(v1alpha1.AllowedNamespaces{From: v1alpha1.FromSame}))
	c.authority("for-others", selecting(metav1.LabelSelectorRequirement{Key: "team", Operator: "Exists"}))
	c.authority("bad-selector", selecting(metav1.LabelSelectorRequirement{Key: "team", Operator: "Near"}))
	c.authority("unready", importsFrom("none"))
	c.issued("holds", func(certificate *v1alpha1.MTLSCertificate) { certificate.Spec.AuthorityRef.Name = "private-leaving" },
		func(certificate *v1alpha1.MTLSCertificate) {
			c.authority(certificate.Spec.AuthorityRef.Name)
		})
	leaving := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "private-leaving"}}
	c.check(c.client.Delete(c.ctx, leaving))

	want := c.hears("absent", "absent", c.namespace)
	if len(want.Conditions) != 2 || want.Conditions[0].Reason != v1alpha1.ReasonAuthorityNotPermitted || len(want.Events) != 1 {
		t.Fatalf("an absent authority is told as %+v", want)
	}
	if !strings.Contains(want.Conditions[0].Message, `no MTLSAuthority "REFERENCE"`) ||
		!strings.Contains(want.Conditions[0].Message, "spec.allowedNamespaces") {
		t.Errorf("message is %q", want.Conditions[0].Message)
	}
	for sentence, authority := range map[string][2]string{
		"one that doesn't say whom it is for":      {"private", c.namespace},
		"one for its own namespace":                {"said-private", c.namespace},
		"one for other namespaces":                 {"for-others", c.namespace},
		"one whose selector can't be read":         {"bad-selector", c.namespace},
		"one that isn't ready":                     {"unready", c.namespace},
		"one that is being deleted":                {"private-leaving", c.namespace},
		"none in a namespace that has none":        {"my-ca", c.bank},
		"none in a namespace that doesn't exist":   {"my-ca", "nowhere-" + c.namespace},
		"none in a namespace that everybody knows": {"my-ca", "kube-system"},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := c.in(t)
			got := c.hears("c-"+authority[0]+"-in-"+authority[1], authority[0], authority[1])
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a tenant notices a difference from an authority that doesn't exist (-absent +this):\n%s", diff)
			}
		})
	}
	t.Run("one in a namespace that isn't watched", func(t *testing.T) {
		c := c.in(t)
		c.certificates.options.Namespaces = []string{c.shop}
		want := c.hears("unwatched", "absent", c.namespace)
		if message := want.Conditions[0].Message; !strings.Contains(message, "--namespaces") {
			t.Errorf("a tenant isn't told that the authority may be out of reach: %q", message)
		}
		for _, name := range []string{"my-ca", "private"} {
			if diff := cmp.Diff(want, c.hears("unwatched-"+name, name, c.namespace)); diff != "" {
				t.Errorf("a tenant notices a difference from an authority that doesn't exist (-absent +%s):\n%s", name, diff)
			}
		}
	})
}

func TestATenantIsNotToldWhyAnAuthorityCannotSign(t *testing.T) {
	c := newTenancy(t)
	c.authority("unready", importsFrom("their-secret"), forAll)
	c.told.take()
	own := c.certificate("own", func(certificate *v1alpha1.MTLSCertificate) { certificate.Spec.AuthorityRef.Name = "unready" })
	c.reconcileCertificate(own)
	c.wantReady(own, metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotReady, `"unready"|"their-secret" doesn't exist`)
	c.told.take()

	tenants := c.asks("theirs", `{authorityRef: {name: unready, namespace: "{owner}"}, serviceName: hello}`)
	c.wantReady(tenants, metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotReady, "unready|its owner can see why")
	c.wantNoInternals(tenants)
	for _, text := range append(c.told.take(), tenants.Status.Conditions[0].Message, tenants.Status.Conditions[1].Message) {
		if strings.Contains(text, "their-secret") {
			t.Errorf("a tenant is told %q", text)
		}
	}
}

func TestAReferenceThatIsNotPermittedDoesNotPinAnAuthority(t *testing.T) {
	c := newTenancy(t)
	private := c.authority("private")
	c.hears("pin", "private", c.namespace)
	c.check(c.client.Delete(c.ctx, private))
	c.reconcileAuthority(private)
	err := c.admin.Get(c.ctx, client.ObjectKeyFromObject(private), private)
	if !apierrors.IsNotFound(err) {
		t.Errorf("the authority is held by a certificate that it doesn't permit: %v", err)
	}
	c.wantNoSecret("private-ca-1")
}

func TestAnOwnerIsToldHowManyTenantsThereAreAndNotWho(t *testing.T) {
	c := newTenancy(t)
	for i := range 3 {
		c.asks(fmt.Sprintf("secret-project-%d", i), `serviceName: hello`)
	}
	authority := &v1alpha1.MTLSAuthority{}
	c.check(c.admin.Get(c.ctx, client.ObjectKey{Namespace: c.namespace, Name: "my-ca"}, authority))
	c.check(c.client.Delete(c.ctx, authority))
	c.told.take()
	c.reconcileAuthority(authority)
	c.wantCondition(authority, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonInUse, "3 in other namespaces")
	for _, text := range append(c.told.take(), authority.Status.Conditions[0].Message, authority.Status.Conditions[1].Message) {
		if strings.Contains(text, "secret-project") || strings.Contains(text, c.shop) {
			t.Errorf("the owner of an authority is told who uses it: %q", text)
		}
	}
}

func TestSecretsOfTheSameNameInTwoNamespacesAreTwo(t *testing.T) {
	c := newTenancy(t)
	one := c.asks("same", `{secretName: tls, dnsNames: ["a.{own}.svc"]}`)
	shop := c.leafSecret(one)
	bank := c
	bank.shop, bank.bank = c.bank, c.shop
	two := bank.asks("same", `{secretName: tls, dnsNames: ["a.{own}.svc"]}`)
	bank.wantReady(two, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	third := c.asks("third", `{secretName: tls, dnsNames: ["b.{own}.svc"]}`)
	c.wantReady(third, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, `"tls"|"same"|another secretName`)
	c.reconcileCertificate(one)
	c.wantReady(one, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	if diff := cmp.Diff(shop.ResourceVersion, c.leafSecret(one).ResourceVersion); diff != "" {
		t.Errorf("the Secret of one namespace was written for another's or for a second certificate: %s", diff)
	}
	if got := bank.leafSecret(two); slices.Equal(got.Data[corev1.TLSCertKey], shop.Data[corev1.TLSCertKey]) {
		t.Error("two namespaces have the same certificate")
	}
}
