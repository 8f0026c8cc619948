package controllers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// finestLevel is as much as the operator can be told to log.
const finestLevel = slog.Level(-5)

// logged is everything that any test of this package has logged.
var logged = &recorder{}

type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *recorder) logger() logr.Logger {
	return logr.FromSlogHandler(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: finestLevel}))
}

// spy is a world in which everything that is told is kept, and every key that there ever was.
type spy struct {
	*world
	keys   needles
	events []string
	errors []string
}

// pass makes a pass over everything and keeps what it tells. Then it looks for new keys.
func (s *spy) pass() {
	s.t.Helper()
	for _, object := range s.objects() {
		var err error
		s.catchUp()
		request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(object)}
		if _, isAuthority := object.(*v1alpha1.MTLSAuthority); isAuthority {
			_, err = s.authorities.Reconcile(s.ctx, request)
		} else {
			_, err = s.certificates.Reconcile(s.ctx, request)
		}
		if err != nil {
			logf.FromContext(s.ctx).Error(err, "Reconciler error", "name", object.GetName()) // as controllers do
			s.errors = append(s.errors, fmt.Sprintf("%v\n%+v\n%#v\n%q", err, err, err, err))
		}
	}
	s.events = append(s.events, s.told.take()...)
	for _, secret := range s.allSecrets() {
		s.keys.add(&secret)
	}
}

func (s *spy) objects() []client.Object {
	s.t.Helper()
	authorities, certificates := &v1alpha1.MTLSAuthorityList{}, &v1alpha1.MTLSCertificateList{}
	s.check(s.admin.List(s.ctx, authorities, client.InNamespace(s.namespace)))
	s.check(s.admin.List(s.ctx, certificates, client.InNamespace(s.namespace)))
	var all []client.Object
	for i := range authorities.Items {
		all = append(all, &authorities.Items[i])
	}
	for i := range certificates.Items {
		all = append(all, &certificates.Items[i])
	}
	return all
}

// lives are what happens to the operator, one after the other.
var lives = []struct {
	what  string
	event func(*spy)
}{
	{"CAs are made and imported, and certificates with every key and encoding are issued", func(s *spy) {
		s.check(s.admin.Create(s.ctx, s.pairSecret("elsewhere")))
		s.authority("my-ca")
		s.authority("rsa", func(a *v1alpha1.MTLSAuthority) {
			a.Spec.PrivateKey = &v1alpha1.AuthorityPrivateKey{Type: "RSA2048"}
		})
		s.authority("imported", importing("elsewhere"))
		for name, key := range map[string]v1alpha1.PrivateKey{
			"ec":      {Type: "ECDSAP256"},
			"sec1":    {Type: "ECDSAP384", Encoding: v1alpha1.EncodingPKCS1},
			"rsa":     {Type: "RSA2048", Encoding: v1alpha1.EncodingPKCS1, RotationPolicy: v1alpha1.RotationNever},
			"ed25519": {Type: "ED25519"},
		} {
			s.certificate(name, func(c *v1alpha1.MTLSCertificate) { c.Spec.PrivateKey = key })
		}
	}},
	{"an imported pair is broken in every way", func(s *spy) {
		for name, spoil := range map[string]func(pair, other map[string][]byte){
			"mismatch":       func(pair, other map[string][]byte) { pair["tls.key"] = other["tls.key"] },
			"key-in-crt":     func(pair, _ map[string][]byte) { pair["tls.crt"] = append(pair["tls.crt"], pair["tls.key"]...) },
			"keys-only":      func(pair, _ map[string][]byte) { pair["tls.crt"] = pair["tls.key"] },
			"key-in-ca":      func(pair, _ map[string][]byte) { pair["ca.crt"] = pair["tls.key"] },
			"key-twice":      func(pair, _ map[string][]byte) { pair["tls.key"] = append(pair["tls.key"], pair["tls.key"]...) },
			"key-cut":        func(pair, _ map[string][]byte) { pair["tls.key"] = pair["tls.key"][:150] },
			"key-other-type": func(pair, _ map[string][]byte) { retype(pair, "CERTIFICATE") },
			"key-encrypted":  func(pair, _ map[string][]byte) { retype(pair, "ENCRYPTED PRIVATE KEY") },
			"key-wrong-type": func(pair, _ map[string][]byte) { retype(pair, "RSA PRIVATE KEY") },
		} {
			pair, other := s.pairSecret(name), s.pairSecret(name)
			s.keys.add(pair)
			s.keys.add(other)
			spoil(pair.Data, other.Data)
			s.check(s.admin.Create(s.ctx, pair))
			s.authority(name, importing(name))
		}
	}},
	{"leaf Secrets are spoiled", func(s *spy) {
		edit(s.world, s.secret("ec"), func(e *corev1.Secret) { e.Data["tls.crt"] = append(e.Data["tls.crt"], e.Data["tls.key"]...) })
		edit(s.world, s.secret("sec1"), func(e *corev1.Secret) { e.Data["ca.crt"] = e.Data["tls.key"] })
		edit(s.world, s.secret("rsa"), func(e *corev1.Secret) { e.Data["tls.key"] = e.Data["tls.key"][:900] })
		edit(s.world, s.secret("ed25519"), func(e *corev1.Secret) { e.Data["tls.key"] = s.secret("ec").Data["tls.key"] })
	}},
	{"Secrets are written by kubectl apply, which keeps all of them in an annotation", func(s *spy) {
		keep := func(secret *corev1.Secret) {
			applied, err := json.Marshal(secret)
			s.check(err)
			metav1.SetMetaDataAnnotation(&secret.ObjectMeta, corev1.LastAppliedConfigAnnotation, string(applied))
		}
		edit(s.world, s.secret("ec"), keep)
		edit(s.world, s.secret("my-ca-ca-1"), keep)
		elsewhere := s.secret("elsewhere") // foreign: no cache of the operator's client sees it
		keep(elsewhere)
		s.check(s.admin.Update(s.ctx, elsewhere))
	}},
	{"the API server refuses a Secret", func(s *spy) {
		edit(s.world, s.secret("sec1"), func(e *corev1.Secret) { e.Annotations["large"] = strings.Repeat("x", 200<<10) })
		edit(s.world, &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "sec1"}},
			func(c *v1alpha1.MTLSCertificate) {
				c.Spec.DNSNames = []string{"other"}
				c.Spec.SecretTemplate = &v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{}}
				for i := range 32 {
					c.Spec.SecretTemplate.Annotations[fmt.Sprintf("a%d", i)] = v1alpha1.AnnotationValue(strings.Repeat("x", 4<<10))
				}
			})
	}},
	{"connections break while certificates are renewed", func(s *spy) {
		for i := range 6 {
			for _, object := range s.objects() {
				if certificate, ok := object.(*v1alpha1.MTLSCertificate); ok {
					edit(s.world, certificate, func(c *v1alpha1.MTLSCertificate) {
						c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: fmt.Sprint(i)}
					})
				}
			}
			s.issuer.ForgetAll()
			s.requests.breakRequest(i+1, i%2 == 0)
			s.pass()
		}
	}},
}

func importing(name string) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) { a.Spec.Imported = &v1alpha1.Imported{SecretName: name} }
}

// retype gives the PEM block of a key another type.
func retype(pair map[string][]byte, to string) {
	pair["tls.key"] = bytes.ReplaceAll(pair["tls.key"], []byte("PRIVATE KEY"), []byte(to))
}

func TestPrivateKeysAppearNowhere(t *testing.T) {
	w := newWorld(t)
	w.ctx = logf.IntoContext(w.ctx, logged.logger())
	s := &spy{world: w, keys: needles{}}
	for _, life := range lives {
		life.event(s)
		for passes := range 4 {
			for where, text := range s.everywhere() {
				if keys := s.keys.found(text); len(keys) > 0 {
					t.Errorf("%d passes after %s: %s has %s", passes, life.what, where, keys[0])
				}
			}
			s.pass()
		}
	}
	told := s.everywhere()["events"] + s.everywhere()["errors"]
	for _, text := range []string{
		"the connection broke", "refuses Secret", "a private key among certificates", "encrypted", "KeyMismatch",
	} {
		if !strings.Contains(told, text) {
			t.Errorf("nothing told of %q: this test doesn't see what it is to look through", text)
		}
	}
	if !strings.Contains(logged.String(), "Reconciler error") {
		t.Error("nothing was logged: this test doesn't see what it is to look through")
	}
}

// everywhere is all that can be read of the operator, by where it stands.
func (s *spy) everywhere() map[string]string {
	s.t.Helper()
	secrets, names := &corev1.SecretList{}, &metav1.PartialObjectMetadataList{}
	names.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	s.check(s.client.List(s.ctx, secrets, client.InNamespace(s.namespace)))
	s.check(s.foreign.List(s.ctx, names, client.InNamespace(s.namespace)))
	if len(secrets.Items) == 0 {
		s.t.Error("the cache is empty: this test doesn't see what it is to look through")
	}
	registry := prometheus.NewRegistry()
	s.check(registry.Register(s.issuer.metrics))
	var families []any
	for _, gatherer := range []prometheus.Gatherer{registry, metrics.Registry} {
		gathered, err := gatherer.Gather()
		s.check(err)
		families = append(families, gathered)
	}
	return map[string]string{
		"the log":                      logged.String(),
		"events":                       strings.Join(s.events, "\n"),
		"errors":                       strings.Join(s.errors, "\n"),
		"objects":                      s.printed(s.objects()),
		"metrics":                      s.printed(families),
		"the cache of Secrets":         s.printed(secrets.Items),
		"the cache of foreign Secrets": s.printed(names.Items),
		"the issuer":                   s.printed(s.issuer) + s.printedAuthorities(),
	}
}

// printedAuthorities prints what has the keys in it, alone and inside of other values.
func (s *spy) printedAuthorities() string {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	text := s.printed(s.issuer.read)
	for _, reading := range s.issuer.read {
		authority := reading.authority
		text += s.printed(reading) + s.printed(authority)
		text += s.printed(struct{ A *pki.Authority }{authority}) + s.printed([]any{*authority})
	}
	return text
}

func (s *spy) printed(value any) string {
	s.t.Helper()
	asJSON, err := json.Marshal(value)
	s.check(err)
	return fmt.Sprintf("%v\n%+v\n%#v\n%s\n%q\n%x\n%d\n%s", value, value, value, value, value, value, value, asJSON)
}
