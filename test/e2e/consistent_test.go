//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// awaitConsistent waits until every certificate of the namespace is Ready and what is written about it agrees, and
// returns how many there are.
func (s *scene) awaitConsistent(t *testing.T) int {
	t.Helper()
	count := 0
	await(t, "everything Ready and right", soon, func(ctx context.Context) (err error) {
		count, err = s.consistent(ctx)
		return err
	})
	return count
}

// consistent counts the certificates and tells everything that doesn't agree.
func (s *scene) consistent(ctx context.Context) (int, error) {
	certificates, secrets := &v1alpha1.MTLSCertificateList{}, &corev1.SecretList{}
	if err := errors.Join(cluster.List(ctx, certificates, client.InNamespace(s.namespace)),
		cluster.List(ctx, secrets, client.InNamespace(s.namespace))); err != nil {
		return 0, err
	}
	leaves, authorities := map[string][]corev1.Secret{}, map[string]int{}
	for _, secret := range secrets.Items {
		if of := secret.Annotations[v1alpha1.CertificateAnnotation]; of != "" {
			leaves[of] = append(leaves[of], secret)
		} else {
			authorities[secret.Labels[v1alpha1.AuthorityLabel]]++
		}
	}
	var problems []error
	if len(authorities) != 1 || authorities["my-ca"] != 1 {
		problems = append(problems, fmt.Errorf("generation Secrets of authorities: %v, want one of my-ca", authorities))
	}
	if len(leaves) != len(certificates.Items) {
		problems = append(problems, fmt.Errorf("%d certificates have Secrets, %d exist", len(leaves), len(certificates.Items)))
	}
	for _, certificate := range certificates.Items {
		if err := agree(&certificate, leaves[certificate.Name]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", certificate.Name, err))
		}
	}
	return len(certificates.Items), errors.Join(problems...)
}

// agree compares a certificate with its Secrets, which should be one.
func agree(certificate *v1alpha1.MTLSCertificate, secrets []corev1.Secret) error {
	status := certificate.Status
	if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) ||
		status.ObservedGeneration != certificate.Generation {
		return fmt.Errorf("of generation %d it says %+v", certificate.Generation, status)
	}
	if len(secrets) != 1 {
		return fmt.Errorf("it has %d Secrets", len(secrets))
	}
	secret := &secrets[0]
	wanted, served := certificate.Annotations[v1alpha1.RenewRequestedAtAnnotation],
		secret.Annotations[v1alpha1.RenewServedAnnotation]
	if wanted != served {
		return fmt.Errorf("a renewal was asked for at %q, and the last one served was of %q", wanted, served)
	}
	leaf, err := parseLeaf(secret)
	if err != nil {
		return err
	}
	if serial := fmt.Sprintf("%x", leaf.SerialNumber.Bytes()); serial != status.Certificate.SerialNumber {
		return fmt.Errorf("serial number %s is in the Secret, %s in the status", serial, status.Certificate.SerialNumber)
	}
	return verify(leaf, secret, certificate.Spec.Usages)
}

// parseLeaf returns the certificate of a Secret whose pair fits.
func parseLeaf(secret *corev1.Secret) (*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		return nil, err
	}
	return pair.Leaf, nil
}

// verify does what the other side of a connection does, for each usage.
func verify(leaf *x509.Certificate, secret *corev1.Secret, usages []v1alpha1.Usage) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		return errors.New("ca.crt has no roots")
	}
	if _, rest := pem.Decode(secret.Data["tls.crt"]); len(rest) > 0 {
		intermediates.AppendCertsFromPEM(rest)
	}
	extended := map[v1alpha1.Usage]x509.ExtKeyUsage{
		v1alpha1.UsageServer: x509.ExtKeyUsageServerAuth, v1alpha1.UsageClient: x509.ExtKeyUsageClientAuth,
	}
	for _, usage := range usages {
		options := x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{extended[usage]},
		}
		if _, err := leaf.Verify(options); err != nil {
			return fmt.Errorf("as %s: %w", usage, err)
		}
	}
	return nil
}
