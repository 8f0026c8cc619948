package controllers

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// wakes are whom an event of a leaf Secret wakes: the certificates, sorted.
func (w *world) wakes(tell func(handler.EventHandler, requestQueue)) []string {
	w.t.Helper()
	w.catchUp()
	queue := &added{}
	tell(w.certificates.echoes.handler(handler.EnqueueRequestsFromMapFunc(w.certificatesOfSecret),
		handler.EnqueueRequestsFromMapFunc(w.othersOfSecret)), queue)
	slices.Sort(queue.names)
	return queue.names
}

func (w *world) wakesByCreation(secret *corev1.Secret) []string {
	return w.wakes(func(h handler.EventHandler, q requestQueue) { h.Create(w.ctx, event.CreateEvent{Object: secret}, q) })
}

func (w *world) wakesByChange(before, after *corev1.Secret) []string {
	return w.wakes(func(h handler.EventHandler, q requestQueue) {
		h.Update(w.ctx, event.UpdateEvent{ObjectOld: before, ObjectNew: after}, q)
	})
}

// renewed issues a certificate again and returns its Secret.
func (w *world) renewed(certificate *v1alpha1.MTLSCertificate) *corev1.Secret {
	w.t.Helper()
	edit(w, certificate, func(c *v1alpha1.MTLSCertificate) {
		c.Annotations = map[string]string{v1alpha1.RenewRequestedAtAnnotation: w.secret(c.Name).ResourceVersion}
	})
	w.reconcileCertificate(certificate)
	return w.secret(certificate.Name)
}

func TestWhatAPassWroteIsNoNews(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	certificate := w.issued("a")
	want := func(sentence string, woken []string, names ...string) {
		t.Helper()
		if !slices.Equal(woken, names) {
			t.Errorf("%s: %q are woken, want %q", sentence, woken, names)
		}
	}
	first := w.secret("a")
	want("a pass made it", w.wakesByCreation(first))
	want("the same version is told once more, as in a look at everything", w.wakesByChange(first, first), "a")
	second := w.renewed(certificate)
	want("a pass patched it", w.wakesByChange(first, second))

	w.certificate("b", func(c *v1alpha1.MTLSCertificate) { c.Spec.SecretName = "a" })
	third := w.renewed(certificate)
	want("who wants its name too is told", w.wakesByChange(second, third), "b")

	fourth := w.renewed(certificate)
	edited := fourth.DeepCopy()
	edit(w, edited, func(s *corev1.Secret) { s.Data[v1alpha1.CertificateKey] = []byte("mine") })
	want("a person wrote it after a pass", w.wakesByChange(third, edited), "a", "b")
	fifth := w.renewed(certificate)
	want("it was deleted", w.wakes(func(h handler.EventHandler, q requestQueue) {
		h.Delete(w.ctx, event.DeleteEvent{Object: fifth}, q)
	}), "a", "b")

	sixth := w.renewed(certificate)
	other := sixth.DeepCopy()
	other.UID = "of one that was made anew"
	want("another one has the same version", w.wakesByChange(sixth, other), "a", "b")
	if left := len(w.certificates.echoes.written); left > 0 {
		t.Errorf("%d versions are remembered after all events", left)
	}
}

// A webhook may make something else of what is written. The next pass puts that right, or tells that it can't.
func TestWhatSomebodyChangedOnItsWayIsNews(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	w.issued("a")
	secret := w.secret("a")
	for what, change := range map[string]func(*leafTarget){
		"its data":        func(target *leafTarget) { target.data[v1alpha1.CertificateKey] = []byte("other") },
		"a label":         func(target *leafTarget) { target.labels["team"] = "payments" },
		"an annotation":   func(target *leafTarget) { target.annotations["note"] = "mine" },
		"whom it belongs": func(target *leafTarget) { target.owners = nil },
	} {
		target := leafTarget{
			labels: map[string]string{}, annotations: map[string]string{},
			owners: secret.OwnerReferences, data: map[string][]byte{},
		}
		w.certificates.echoes.wrote(secret, target)
		if woken := w.wakesByCreation(secret); woken != nil {
			t.Fatalf("%q are woken by what a pass wrote", woken)
		}
		change(&target)
		w.certificates.echoes.wrote(secret, target)
		if woken := w.wakesByCreation(secret); !slices.Equal(woken, []string{"a"}) {
			t.Errorf("somebody changed %s: %q are woken", what, woken)
		}
	}
}

// There a pass may not see what the one before wrote.
func TestWithSeveralNamespacesEachWriteIsLookedAtAgain(t *testing.T) {
	secret := &corev1.Secret{}
	secret.UID, secret.ResourceVersion = "1", "5"
	for sentence, test := range map[string]struct {
		namespaces []string
		want       bool
	}{
		"all":  {nil, true},
		"one":  {[]string{"a"}, true},
		"more": {[]string{"a", "b"}, false},
	} {
		e := newEchoes(test.namespaces)
		e.wrote(secret, leafTarget{})
		if got := e.heard(secret); got != test.want {
			t.Errorf("%s: the event is an echo: %t", sentence, got)
		}
	}
}
