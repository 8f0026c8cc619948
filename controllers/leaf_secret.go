package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// observedLeaf is a cached leaf Secret as the planner sees it, nil for none.
func observedLeaf(secret *corev1.Secret) *plan.LeafSecret {
	if secret == nil {
		return nil
	}
	return &plan.LeafSecret{
		Certificate: secret.Data[v1alpha1.CertificateKey],
		Bundle:      secret.Data[v1alpha1.BundleKey],
		Key:         plan.KeyState(secret.StringData[keyStateField]),
		RenewServed: secret.Annotations[v1alpha1.RenewServedAnnotation],
		BundleSince: timeOf(secret.Annotations[v1alpha1.BundleSinceAnnotation]),
		IssuerSince: timeOf(secret.Annotations[v1alpha1.IssuerSinceAnnotation]),
	}
}

// timeOf reads a recorded time; zero when there is none that can be read.
func timeOf(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// leafTarget is what a leaf Secret is to be. What it doesn't name is left as it is.
type leafTarget struct {
	labels, annotations map[string]string
	owners              []metav1.OwnerReference
	data                map[string][]byte
}

// issuedTarget is the Secret with a new certificate.
func issuedTarget(pass *leafPass, decision plan.LeafPlan, data map[string][]byte) leafTarget {
	target := commonTarget(pass)
	target.deliver(pass, decision, pass.signer)
	target.data = data
	target.annotations[v1alpha1.PairHashAnnotation] = pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey])
	if pass.wish.RenewToken != "" {
		target.annotations[v1alpha1.RenewServedAnnotation] = pass.wish.RenewToken
	}
	return target
}

// keptTarget is the Secret with the certificate it has. One that another CA signed keeps that one's roots too: with those
// of the signer it would be refused everywhere.
func keptTarget(pass *leafPass, decision plan.LeafPlan) leafTarget {
	target := commonTarget(pass)
	if since := timeOf(pass.secret.Annotations[v1alpha1.IssuerSinceAnnotation]); !since.IsZero() {
		decision.IssuerSince = since // also when another CA would have issued it now, had it been allowed
	}
	if on, known := decision.Generation(pass.signer); known {
		target.deliver(pass, decision, on)
	}
	return target
}

// deliver the roots there are, with the facts about them and about the generation that signed.
func (t *leafTarget) deliver(pass *leafPass, decision plan.LeafPlan, on plan.Generation) {
	bundle := pass.trust.roots
	t.labels[v1alpha1.GenerationLabel] = strconv.FormatInt(on.Number, 10)
	t.annotations[v1alpha1.IssuedByAnnotation] = authorityKey(pass.certificate).String()
	t.annotations[v1alpha1.BundleHashAnnotation] = bundle.Hash()
	t.annotations[v1alpha1.BundleSinceAnnotation] = decision.BundleSince.UTC().Format(time.RFC3339)
	t.annotations[v1alpha1.IssuerSinceAnnotation] = decision.IssuerSince.UTC().Format(time.RFC3339)
	t.data = map[string][]byte{v1alpha1.BundleKey: bundle.PEM()}
}

// trustPatch brings the roots in a Secret up to date, and leaves all else as it is.
func trustPatch(secret *corev1.Secret, roots pki.Bundle, now time.Time) []byte {
	facts := map[string]any{
		v1alpha1.BundleHashAnnotation:  roots.Hash(),
		v1alpha1.BundleSinceAnnotation: now.UTC().Format(time.RFC3339),
	}
	return mergePatch(secret, map[string]any{"annotations": facts}, map[string]any{v1alpha1.BundleKey: roots.PEM()})
}

// commonTarget is what a Secret is to be whatever certificate it has.
func commonTarget(pass *leafPass) leafTarget {
	certificate := pass.certificate
	target := leafTarget{
		labels:      map[string]string{},
		annotations: map[string]string{v1alpha1.CertificateAnnotation: certificate.Name},
		owners:      owners(pass.secret, certificate),
	}
	if template := certificate.Spec.SecretTemplate; template != nil {
		for key, value := range template.Labels {
			target.labels[key] = string(value)
		}
		for key, value := range template.Annotations {
			target.annotations[key] = string(value)
		}
		target.annotations[v1alpha1.TemplateKeysAnnotation] = templateKeysOf(template).String()
	}
	return target
}

// owners of the Secret: the certificate, unless it is to be retained, and whoever else there is.
func owners(secret *corev1.Secret, certificate *v1alpha1.MTLSCertificate) []metav1.OwnerReference {
	var all []metav1.OwnerReference
	if secret != nil {
		all = slices.DeleteFunc(slices.Clone(secret.OwnerReferences), func(owner metav1.OwnerReference) bool {
			return ptr.Deref(owner.Controller, false)
		})
	}
	if certificate.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return all
	}
	// Without blockOwnerDeletion, which would want one more right where the API server checks it, and which helps nobody
	// here: nothing waits for the Secret to go before the certificate.
	return append(all, metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(),
		Kind:       "MTLSCertificate",
		Name:       certificate.Name,
		UID:        certificate.UID,
		Controller: new(true),
	})
}

// templateKeys are the keys that came from secretTemplate, as they are recorded.
type templateKeys struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

func templateKeysOf(template *v1alpha1.SecretTemplate) templateKeys {
	return templateKeys{
		Labels:      slices.Sorted(maps.Keys(template.Labels)),
		Annotations: slices.Sorted(maps.Keys(template.Annotations)),
	}
}

func (k templateKeys) String() string {
	text, err := json.Marshal(k)
	if err != nil {
		panic(err) // lists of strings can be marshalled
	}
	return string(text)
}

// write brings the Secret to its target with one write, or none when it is there. A pass that was held up writes nothing: what
// it saw may be long gone, and other processes count on what they saw since.
func (r *CertificateReconciler) write(ctx context.Context, pass *leafPass, target leafTarget) error {
	if r.clock.Since(pass.began) > passTimeout {
		return stale(secretName(pass.certificate))
	}
	if pass.secret == nil {
		return r.createSecret(ctx, pass.certificate, target)
	}
	patch := secretPatch(pass.secret, target)
	if patch == nil {
		return nil
	}
	written, err := r.patchedSecret(ctx, pass.secret, patch)
	if err == nil {
		r.echoes.wrote(written, target)
	}
	if apierrors.IsInvalid(err) && ptr.Deref(pass.secret.Immutable, false) {
		return mustAct(v1alpha1.ReasonSecretRejected, "the API server refuses Secret %q, since somebody made it immutable: "+
			"delete it, and it is made anew", pass.secret.Name)
	}
	return rejected(err, v1alpha1.ReasonSecretRejected, pass.secret.Name)
}

func (r *CertificateReconciler) createSecret(ctx context.Context, certificate *v1alpha1.MTLSCertificate,
	target leafTarget,
) error {
	key := types.NamespacedName{Namespace: certificate.Namespace, Name: secretName(certificate)}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       key.Namespace,
			Name:            key.Name,
			Labels:          target.labels,
			Annotations:     target.annotations,
			OwnerReferences: target.owners,
		},
		Type: corev1.SecretTypeTLS,
		Data: target.data,
	}
	err := r.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return r.classify(ctx, certificate, key)
	}
	if err == nil {
		r.echoes.wrote(secret, target)
	}
	return rejected(err, v1alpha1.ReasonSecretRejected, key.Name)
}

// relabel puts our label back on a Secret of ours, with the number 1: the next pass sees the Secret and puts it right.
func (r *CertificateReconciler) relabel(ctx context.Context, secret *metav1.PartialObjectMetadata) error {
	patch := mergePatch(secret, map[string]any{"labels": map[string]any{v1alpha1.GenerationLabel: "1"}}, nil)
	return r.patchSecret(ctx, secret, patch)
}

// patchSecret sends a merge patch for a Secret.
func (s shared) patchSecret(ctx context.Context, secret metav1.Object, patch []byte) error {
	_, err := s.patchedSecret(ctx, secret, patch)
	return err
}

// patchedSecret is a Secret after a patch. It has the private key in it: it goes nowhere.
func (s shared) patchedSecret(ctx context.Context, secret metav1.Object, patch []byte) (*corev1.Secret, error) {
	answer := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.GetNamespace(), Name: secret.GetName()}}
	err := s.Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch))
	return answer, err
}

// secretPatch is a JSON merge patch (RFC 7386) from what was observed to the target, nil when there is no difference. It
// is built from nothing, never from a cached Secret, whose key was dropped.
func secretPatch(secret *corev1.Secret, target leafTarget) []byte {
	var before templateKeys
	_ = json.Unmarshal([]byte(secret.Annotations[v1alpha1.TemplateKeysAnnotation]), &before) // ours, or a person's: then none
	metadata := map[string]any{}
	put(metadata, "labels", difference(secret.Labels, target.labels, before.Labels))
	annotationsBefore := before.Annotations
	if _, templated := target.annotations[v1alpha1.TemplateKeysAnnotation]; !templated {
		annotationsBefore = append(annotationsBefore, v1alpha1.TemplateKeysAnnotation)
	}
	put(metadata, "annotations", difference(secret.Annotations, target.annotations, annotationsBefore))
	if !equal(secret.OwnerReferences, target.owners) {
		metadata["ownerReferences"] = target.owners
	}
	data := map[string]any{}
	for key, value := range target.data {
		if !bytes.Equal(secret.Data[key], value) {
			data[key] = value
		}
	}
	if len(metadata)+len(data) == 0 {
		return nil
	}
	return mergePatch(secret, metadata, data)
}

// mergePatch holds only for the object that was seen, and only for its version if that is known.
func mergePatch(seen metav1.Object, metadata, data map[string]any) []byte {
	metadata["uid"] = seen.GetUID()
	if version := seen.GetResourceVersion(); version != "" {
		metadata["resourceVersion"] = version
	}
	patch := map[string]any{"metadata": metadata}
	put(patch, "data", data)
	text, err := json.Marshal(patch)
	if err != nil {
		panic(fmt.Sprintf("a patch of strings cannot be marshalled: %v", err))
	}
	return text
}

// difference is what changes the map into one with all of wanted and, of the keys before, no others.
func difference(existing, wanted map[string]string, before []string) map[string]any {
	changes := map[string]any{}
	for key, value := range wanted {
		if found, ok := existing[key]; !ok || found != value {
			changes[key] = value
		}
	}
	for _, key := range before {
		_, keep := wanted[key]
		if _, ok := existing[key]; ok && !keep {
			changes[key] = nil
		}
	}
	return changes
}

func put(object map[string]any, key string, changes map[string]any) {
	if len(changes) > 0 {
		object[key] = changes
	}
}
