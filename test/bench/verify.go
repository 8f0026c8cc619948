package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// page is how many Secrets are read at a time.
const page = 500

// verify that each object has a Secret with which a TLS client that trusts its roots would talk to it.
func (l *load) verify(ctx context.Context) error {
	sound := 0
	for _, namespace := range l.namespaces {
		options := metav1.ListOptions{Limit: page}
		for {
			secrets, err := l.server.typed.CoreV1().Secrets(namespace).List(ctx, options)
			if err != nil {
				return err
			}
			for i := range secrets.Items {
				if err := verify(&secrets.Items[i]); err != nil {
					return fmt.Errorf("secret %s/%s: %w", namespace, secrets.Items[i].Name, err)
				}
				sound++
			}
			if options.Continue = secrets.Continue; options.Continue == "" {
				break
			}
		}
	}
	if sound != l.made {
		return fmt.Errorf("there are %d Secrets for %d certificates", sound, l.made)
	}
	return nil
}

func verify(secret *corev1.Secret) error {
	pair, err := tls.X509KeyPair(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.PrivateKeyKey])
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data[v1alpha1.BundleKey]) {
		return fmt.Errorf("no root in %s", v1alpha1.BundleKey)
	}
	for _, der := range pair.Certificate[1:] {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(certificate)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		DNSName: secret.Name + "." + secret.Namespace + ".svc", Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
