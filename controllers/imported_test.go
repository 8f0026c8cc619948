package controllers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// badImport is a Secret that cannot be imported as a CA.
type badImport struct {
	kind corev1.SecretType // Opaque when empty
	data map[string][]byte
	says string
}

func TestABadImportedCAIsToldAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	good := makeCA(t, "good", nil, nil).secret()
	bads := badImports(t)
	for number, sentence := range slices.Sorted(maps.Keys(bads)) {
		bad := bads[sentence]
		t.Run(sentence, func(t *testing.T) {
			w := w.in(t)
			name := fmt.Sprintf("import-%d", number)
			w.putSecret(name, bad.kind, bad.data)
			theirs := w.secret(name)
			authority := w.authority(name, importsFrom(name))
			w.wantReady(authority, metav1.ConditionFalse, v1alpha1.ReasonImportedInvalid, bad.says+"|"+name)
			w.wantCondition(authority, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonImportedInvalid, bad.says)
			w.wantFewWords(authority)
			w.wantNoSecret(generationName(name, 1))
			if !reflect.DeepEqual(theirs, w.secret(name)) {
				t.Error("the Secret of a person was written")
			}

			w.putSecret(name, "", good)
			w.reconcileAuthority(authority)
			w.wantReady(authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "")
			before := w.secret(generationName(name, 1))

			w.putSecret(name, bad.kind, bad.data)
			w.reconcileAuthority(authority)
			w.wantReady(authority, metav1.ConditionTrue, v1alpha1.ReasonSigning, "")
			w.wantCondition(authority, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonImportedInvalid,
				bad.says+"|"+name+"|goes on signing")
			w.wantFewWords(authority)
			if !reflect.DeepEqual(before, w.secret(generationName(name, 1))) {
				t.Error("the Secret of the CA was written")
			}
			w.issued(name, func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = name; c.Spec.SecretName = name + "-leaf" })
		})
	}
}

func importsFrom(secretName string) func(*v1alpha1.MTLSAuthority) {
	return func(authority *v1alpha1.MTLSAuthority) {
		authority.Spec.Imported = &v1alpha1.Imported{SecretName: secretName}
	}
}

// putSecret has a person make a Secret anew.
func (w *world) putSecret(name string, kind corev1.SecretType, data map[string][]byte) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.check(client.IgnoreNotFound(w.admin.Delete(w.ctx, secret)))
	secret.Type, secret.Data = kind, data
	if kind == corev1.SecretTypeServiceAccountToken {
		secret.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	}
	w.check(w.admin.Create(w.ctx, secret))
}

// madeCA is a CA, or what somebody takes for one, that was made elsewhere.
type madeCA struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// makeCA makes one. change gets a template that is a plain CA's; without a parent it is self-signed.
func makeCA(t testing.TB, name string, parent *madeCA, change func(*x509.Certificate)) *madeCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return makeCAWithKey(t, name, key, parent, change)
}

func makeCAWithKey(t testing.TB, name string, key crypto.Signer, parent *madeCA, change func(*x509.Certificate)) *madeCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(start().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: start().Add(-time.Hour), NotAfter: start().Add(8760 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1,
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &madeCA{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.certificate, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &madeCA{certificate, key}
}

func (c *madeCA) certificatePEM() []byte { return block("CERTIFICATE", c.certificate.Raw) }

func (c *madeCA) keyDER() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		panic(err) // it was just generated
	}
	return der
}

func (c *madeCA) keyPEM() []byte { return block("PRIVATE KEY", c.keyDER()) }

// secret is the data of a Secret with the CA and those above it.
func (c *madeCA) secret(above ...*madeCA) map[string][]byte {
	certificates := c.certificatePEM()
	for _, ca := range above {
		certificates = append(certificates, ca.certificatePEM()...)
	}
	return crtAndKey(certificates, c.keyPEM())
}

func crtAndKey(certificates, key []byte) map[string][]byte {
	return map[string][]byte{v1alpha1.CertificateKey: certificates, v1alpha1.PrivateKeyKey: key}
}

func block(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}
