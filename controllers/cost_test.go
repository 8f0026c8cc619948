package controllers

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

func TestANewCertificateCostsOneSecretWriteAndOneStatusWrite(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	w.issued("first") // reads the key of the CA, once

	certificate := w.certificate("second")
	w.requests.reset()
	w.reconcileCertificate(certificate)
	want := []string{"POST secrets", "PATCH mtlscertificates/status"}
	if diff := cmp.Diff(want, w.requests.all()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "second")
	if events := w.told.take(); events != nil {
		t.Errorf("the condition tells of a first certificate, an event costs: %q", events)
	}
	w.wantQuiet(certificate)
}

func TestARestartWritesNothing(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	var certificates []*v1alpha1.MTLSCertificate
	for i := range 200 {
		certificates = append(certificates, w.issued(fmt.Sprintf("c%d", i)))
	}
	w.restart()
	w.reconcileAuthority(authority)
	for _, certificate := range certificates {
		w.reconcileCertificate(certificate)
	}
	if all := w.requests.all(); len(all) > 0 {
		t.Errorf("requests after a restart: %v", all)
	}
}
