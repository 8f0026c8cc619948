package controllers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// wantSound checks that a Secret holds a pair that fits, for this name, under the CA of the authority and nothing else.
func (c tenancy) wantSound(certificate *v1alpha1.MTLSCertificate, name string) {
	c.t.Helper()
	secret := c.leafSecret(certificate)
	pair, err := tls.X509KeyPair(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey])
	if err != nil {
		c.t.Fatalf("the pair in the Secret: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.secret("my-ca-ca-1").Data[v1alpha1.BundleKey])
	options := x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: c.clock.Now()}
	if _, err := pair.Leaf.Verify(options); err != nil {
		c.t.Errorf("the certificate in the Secret: %v", err)
	}
	if got, want := secret.Labels[v1alpha1.GenerationLabel], "1"; got != want {
		c.t.Errorf("the Secret says generation %q, want %q", got, want)
	}
	if got := certificate.Status.Certificate.AuthorityGeneration; got != 1 {
		c.t.Errorf("status says generation %d, want 1", got)
	}
}

// forge has a tenant change the Secret of its certificate, with a pair hash that is right for what it holds then, and has
// the certificate reconciled until nothing more happens.
func (c tenancy) forge(certificate *v1alpha1.MTLSCertificate, change func(*corev1.Secret)) {
	c.t.Helper()
	edit(c.world, c.leafSecret(certificate), func(secret *corev1.Secret) {
		change(secret)
		hash := pki.PairHash(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey])
		secret.Annotations[v1alpha1.PairHashAnnotation] = hash
	})
	for range 4 {
		c.reconcileCertificate(certificate)
	}
}

func TestAForgedSecretOfATenantIsPutRight(t *testing.T) {
	theirs := makeCA(t, "theirs", nil, nil)
	annotate := func(key, value string) func(*corev1.Secret) {
		return func(secret *corev1.Secret) { secret.Annotations[v1alpha1.Prefix+key] = value }
	}
	label := func(value string) func(*corev1.Secret) {
		return func(secret *corev1.Secret) { secret.Labels[v1alpha1.GenerationLabel] = value }
	}
	for sentence, change := range map[string]func(*corev1.Secret){
		"a pair of a CA of theirs": func(secret *corev1.Secret) { maps.Copy(secret.Data, theirs.secret()) },
		"a root of theirs":         func(secret *corev1.Secret) { secret.Data["ca.crt"] = theirs.certificatePEM() },
		"a root of theirs beside the one": func(secret *corev1.Secret) {
			secret.Data["ca.crt"] = append(secret.Data["ca.crt"], theirs.certificatePEM()...)
		},
		"a CA of theirs behind the leaf": func(secret *corev1.Secret) {
			secret.Data["tls.crt"] = append(secret.Data["tls.crt"], theirs.certificatePEM()...)
		},
		"generation 999":                  label("999"),
		"a generation that is no number":  label("x"),
		"a generation below any":          label("0"),
		"the name of another certificate": annotate("certificate", "other"),
		"roots since the future":          annotate("bundle-since", "9999-01-01T00:00:00Z"),
		"an issuer since no time":         annotate("issuer-since", "yesterday"),
		"our label as one of its template": annotate("template-keys",
			`{"labels":["mtls-operator.io/generation"],"annotations":["mtls-operator.io/certificate"]}`),
		"a template that can't be read": annotate("template-keys", `{{{`),
		"the label of an authority":     func(secret *corev1.Secret) { secret.Labels[v1alpha1.AuthorityLabel] = "my-ca" },
	} {
		t.Run(sentence, func(t *testing.T) {
			c := newTenancy(t)
			certificate := c.asks("c", `dnsNames: ["hello.{own}.svc"]`)
			c.forge(certificate, change)
			c.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
			c.wantSound(certificate, c.named("hello.{own}.svc"))
			c.wantQuiet(certificate)
		})
	}
}

// Whoever forges the hash of a pair that doesn't fit deceives the operator about its own Secret; the next certificate
// puts it right, also when the key was to be kept.
func TestAForgedKeyIsNotKept(t *testing.T) {
	theirs := makeCA(t, "theirs", nil, nil)
	for sentence, key := range map[string][]byte{
		"another key":                 theirs.keyPEM(),
		"garbage in the form of keys": block("PRIVATE KEY", []byte("garbage")),
	} {
		t.Run(sentence, func(t *testing.T) {
			c := newTenancy(t)
			certificate := c.asks("c", `{dnsNames: ["hello.{own}.svc"], privateKey: {rotationPolicy: Never}}`)
			c.forge(certificate, func(secret *corev1.Secret) { secret.Data[v1alpha1.PrivateKeyKey] = key })
			edit(c.world, certificate, func(certificate *v1alpha1.MTLSCertificate) {
				certificate.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: "now"}
			})
			c.reconcileCertificate(certificate)
			c.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
			c.wantSound(certificate, c.named("hello.{own}.svc"))
		})
	}
}

// Somebody else's certificate, of the same CA, in the own Secret: it says so, and is replaced.
func TestACertificateOfAnotherIsReplaced(t *testing.T) {
	c := newTenancy(t)
	bank := c
	bank.shop, bank.bank = c.bank, c.shop
	stolen := bank.leafSecret(bank.asks("c", `dnsNames: ["hello.{own}.svc"]`))
	certificate := c.asks("c", `dnsNames: ["hello.{own}.svc"]`)
	c.forge(certificate, func(secret *corev1.Secret) { maps.Copy(secret.Data, stolen.Data) })
	c.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	c.wantSound(certificate, c.named("hello.{own}.svc"))
}

// plantedCA is a Secret as the operator makes them, with a CA of somebody else.
func plantedCA(namespace, authority string, number int, ca *madeCA) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      generationName(authority, int64(number)),
			Labels: map[string]string{
				v1alpha1.AuthorityLabel:  authority,
				v1alpha1.GenerationLabel: fmt.Sprint(number),
			},
			Annotations: map[string]string{v1alpha1.ActivatedAtAnnotation: start().Format("2006-01-02T15:04:05Z")},
		},
		Type: v1alpha1.AuthoritySecretType,
		Data: ca.secret(),
	}
}

func TestACAThatATenantPlantsSignsNothing(t *testing.T) {
	for sentence, numbers := range map[string][]int{"its first": {1}, "its next": {2}, "all": {1, 2, 3, 999}} {
		t.Run(sentence, func(t *testing.T) {
			c := newTenancy(t)
			theirs := makeCA(t, "theirs", nil, nil)
			before := c.asks("before", `dnsNames: ["hello.{own}.svc"]`)
			for _, number := range numbers {
				c.create(plantedCA(c.shop, "my-ca", number, theirs))
			}
			absent := types.NamespacedName{Namespace: c.shop, Name: "my-ca"}
			if _, err := c.authorities.Reconcile(c.ctx, ctrl.Request{NamespacedName: absent}); err != nil {
				t.Errorf("reconciling an authority that doesn't exist: %v", err)
			}
			for range 2 {
				c.reconcileCertificate(before)
				after := c.asks("after", `dnsNames: ["hello.{own}.svc"]`)
				for _, certificate := range []*v1alpha1.MTLSCertificate{before, after} {
					c.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
					c.wantSound(certificate, c.named("hello.{own}.svc"))
				}
				own := c.asks("own", `{authorityRef: {name: my-ca}, serviceName: hello}`)
				c.wantReady(own, metav1.ConditionFalse, v1alpha1.ReasonAuthorityNotFound, `"my-ca"`)
				c.restart()
			}
		})
	}
}

// In the authority's own namespace it takes the right to issue to make such a Secret (config/admission). Where that policy
// isn't installed, a later number still is no way to become the CA.
func TestACAWithTheNextNumberSignsNothing(t *testing.T) {
	for _, name := range []string{"my-ca-ca-2", "my-ca-ca-999", "other-name"} {
		t.Run(name, func(t *testing.T) {
			c := newTenancy(t)
			planted := plantedCA(c.namespace, "my-ca", 2, makeCA(t, "theirs", nil, nil))
			planted.Name = name
			c.create(planted)
			authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "my-ca"}}
			for range 2 {
				c.reconcileAuthority(authority)
				c.wantReady(authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "generation 1 signs")
				if generations := authority.Status.Generations; len(generations) != 1 || generations[0].SecretName != "my-ca-ca-1" {
					t.Errorf("status speaks of %+v", generations)
				}
				certificate := c.asks("c", `dnsNames: ["hello.{own}.svc"]`)
				c.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
				c.wantSound(certificate, c.named("hello.{own}.svc"))
				c.restart()
			}
		})
	}
}

// A Secret of a person with the name of the first generation isn't touched, and isn't the CA.
func TestASecretWithTheNameOfAGenerationIsNotTheCA(t *testing.T) {
	theirs := makeCA(t, "theirs", nil, nil)
	for sentence, change := range map[string]func(*corev1.Secret){
		"of another type":      func(secret *corev1.Secret) { secret.Type = corev1.SecretTypeTLS },
		"of another authority": func(secret *corev1.Secret) { secret.Labels[v1alpha1.AuthorityLabel] = "other" },
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			planted := plantedCA(w.namespace, "my-ca", 1, theirs)
			change(planted)
			w.create(planted)
			authority := w.authority("my-ca")
			w.wantReady(authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "generation 2 signs")
			if got := w.secret("my-ca-ca-1"); got.ResourceVersion != planted.ResourceVersion {
				t.Error("the Secret of a person was written")
			}
			roots := w.secret(secretName(w.issued("c"))).Data[v1alpha1.BundleKey]
			if !bytes.Equal(roots, w.secret("my-ca-ca-2").Data[v1alpha1.BundleKey]) {
				t.Errorf("a certificate is delivered with the roots %q", roots)
			}
		})
	}
}
