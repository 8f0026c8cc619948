package controllers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// walkThrough makes the CA that people make by hand, as the data of a Secret.
func walkThrough(t *testing.T) map[string][]byte {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl on this machine")
	}
	folder := t.TempDir()
	command := exec.CommandContext(t.Context(), openssl, "req", "-new", "-x509", "-nodes", "-days", "365",
		"-subj", "/CN=my-ca", "-keyout", "ca.key", "-out", "ca.crt")
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
	data := map[string][]byte{}
	for key, file := range map[string]string{"tls.crt": "ca.crt", "tls.key": "ca.key"} {
		if data[key], err = os.ReadFile(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func TestTheCAOfTheWalkThroughWorksAsItComesOut(t *testing.T) {
	data := walkThrough(t)
	w := newWorld(t)
	w.check(w.admin.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "walk-through"}, Data: data,
	}))
	authority := w.authority("my-ca", imports("walk-through"))
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs|no key usage|strictly")
	w.issued("hello-server", func(c *v1alpha1.MTLSCertificate) { c.Spec.ServiceName = "hello" })
	w.issued("my-client", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.DNSNames, c.Spec.CommonName, c.Spec.Usages = nil, "my-client", []v1alpha1.Usage{"Client"}
	})
	for _, name := range []string{"hello-server", "my-client"} {
		w.soundLeaf(name)
		if !bytes.Equal(w.secret(name).Data["ca.crt"], data["tls.crt"]) {
			t.Errorf("ca.crt of %s isn't openssl's ca.crt", name)
		}
	}
	if name := w.handshake("hello-server", "my-client"); name != "my-client" {
		t.Errorf("the server sees a client %q", name)
	}
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })

	w.check(w.admin.Delete(w.ctx, w.secret("walk-through")))
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, `generation 1 signs|"walk-through"|gone; it isn't needed any more`)
	w.wantCondition(authority, "Stalled", "False", v1alpha1.ReasonProgressing, "")
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })
	w.restart()
	w.issued("later")
	w.soundLeaf("later")
}

// handshake does mutual TLS with the files of two Secrets alone, and returns the common name the server sees.
func (w *world) handshake(server, client string) string {
	w.t.Helper()
	config := func(name string) *tls.Config {
		data := w.secret(name).Data
		pair, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
		w.check(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(data["ca.crt"])
		return &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ServerName: "localhost",
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12, Time: w.clock.Now,
		}
	}
	there, here := net.Pipe()
	defer func() { _, _ = there.Close(), here.Close() }()
	serverSide, failed := tls.Server(there, config(server)), make(chan error, 1)
	go func() { failed <- serverSide.HandshakeContext(w.ctx) }()
	w.check(tls.Client(here, config(client)).HandshakeContext(w.ctx))
	w.check(<-failed)
	return serverSide.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestAnAuthorityWaitsForTheSecretItImports(t *testing.T) {
	w := newWorld(t)
	w.authority("maker")
	authority := w.authority("my-ca", imports("walk-through"))
	w.wantReady(authority, "False", v1alpha1.ReasonImportedSecretNotFound, "")

	w.foreignCopy("maker-ca-1", "walk-through")
	w.editSecret("walk-through", func(s *corev1.Secret) { s.Data["tls.key"] = []byte("?") })
	w.reconcileAuthority(authority)
	w.wantReady(authority, "False", v1alpha1.ReasonImportedInvalid, `"walk-through"|tls.key`)

	w.copyData("maker-ca-1", "walk-through")
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "")
	got, want := w.secret("my-ca-ca-1").Data, w.secret("maker-ca-1").Data
	if !bytes.Equal(got["tls.key"], want["tls.key"]) {
		t.Error("it isn't the imported key")
	}
	w.issued("hello")
	w.soundLeaf("hello")
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })
}

func TestAPairIsImportedWhenItBeginsToBeValid(t *testing.T) {
	w := newWorld(t)
	from := func(hours int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore = w.clock.Now().Add(time.Duration(hours) * time.Hour) }
	}
	root, laterRoot := makeCA(t, "root", nil, nil), makeCA(t, "later root", nil, from(2))
	apart := makeCA(t, "intermediate", laterRoot, nil).secret()
	apart["ca.crt"] = laterRoot.certificatePEM()
	for name, c := range map[string]struct {
		pair  map[string][]byte
		waits []time.Duration
	}{
		"a-root":          {makeCA(t, "later", nil, from(1)).secret(), []time.Duration{time.Hour}},
		"an-intermediate": {makeCA(t, "later", root, from(1)).secret(root), []time.Duration{time.Hour}},
		"the-root-above":  {makeCA(t, "intermediate", laterRoot, nil).secret(laterRoot), []time.Duration{2 * time.Hour}},
		"both":            {makeCA(t, "later", laterRoot, from(1)).secret(laterRoot), []time.Duration{time.Hour, time.Hour}},
		"a-root-apart":    {apart, []time.Duration{2 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			now := w.clock.Now()
			defer w.clock.SetTime(now)
			w.putSecret(name, "", c.pair)
			authority := w.authority(name+"-ca", imports(name))
			for _, wait := range c.waits {
				again := w.reconcileAuthority(authority).RequeueAfter
				w.wantReady(authority, "False", v1alpha1.ReasonImportedInvalid, "isn't valid before|wait")
				if again != wait {
					t.Errorf("the next pass is in %s, want %s", again, wait)
				}
				w.later(again)
			}
			w.reconcileAuthority(authority)
			w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
		})
	}
}

func TestAPairThatEndedIsNotLookedAtAgain(t *testing.T) {
	w := newWorld(t)
	ended := makeCA(t, "ended", nil, func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(-time.Minute) })
	w.putSecret("ended", "", ended.secret())
	authority := w.authority("my-ca", imports("ended"))
	again := w.reconcileAuthority(authority).RequeueAfter
	w.wantReady(authority, "False", v1alpha1.ReasonImportedInvalid, "expired at")
	if again != 0 {
		t.Errorf("the next pass is in %s, want none: nothing changes with time alone", again)
	}
}

func TestAGenerationThatLosesItsLabelsGetsThemBack(t *testing.T) {
	for sentence, labels := range map[string]map[string]string{
		"both":                      nil,
		"the one that selects":      {"mtls-operator.io/authority": "my-ca"},
		"the authority":             {"mtls-operator.io/generation": "1"},
		"the number, for another":   {"mtls-operator.io/authority": "my-ca", "mtls-operator.io/generation": "7"},
		"the number, for no number": {"mtls-operator.io/authority": "my-ca", "mtls-operator.io/generation": "x"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			authority := w.authority("my-ca")
			certificate := w.issued("hello")
			before := w.secret("my-ca-ca-1")
			w.editSecret("my-ca-ca-1", func(s *corev1.Secret) { s.Labels = labels })
			w.requests.reset()

			if wait := w.reconcileAuthority(authority).RequeueAfter; wait != conflictDelay {
				t.Errorf("the next pass is in %v", wait)
			}
			w.wantWrites("PATCH secrets")
			w.reconcileAuthority(authority)

			w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			if after := w.secret("my-ca-ca-1"); !maps.Equal(after.Labels, before.Labels) || after.UID != before.UID {
				t.Errorf("labels are %v", after.Labels)
			}
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
			w.wantCertificateAtRest(certificate)
		})
	}
}
