package controllers

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// liveGenerations are the Secrets of the same, from the API server and without their keys; also those that lost a label.
func (s shared) liveGenerations(ctx context.Context, authority types.NamespacedName) ([]corev1.Secret, error) {
	secrets := &corev1.SecretList{}
	err := s.live.List(ctx, secrets, client.InNamespace(authority.Namespace),
		client.MatchingFields{"type": v1alpha1.AuthoritySecretType})
	if err != nil {
		return nil, err
	}
	for i := range secrets.Items {
		_, _ = dropKey(&secrets.Items[i])
	}
	return slices.DeleteFunc(secrets.Items, func(secret corev1.Secret) bool {
		name, labelled := secret.Labels[v1alpha1.AuthorityLabel]
		if !labelled {
			name, _ = parseGenerationName(secret.Name)
		}
		return name != authority.Name
	}), nil
}

// relabelGeneration puts back the labels that a generation Secret was made with, and tells whether some were wrong. Its
// name is what counts: it cannot be changed.
func (s shared) relabelGeneration(ctx context.Context, secret *corev1.Secret) (relabelled bool, err error) {
	authority, number := parseGenerationName(secret.Name)
	if number == 0 {
		return false, nil
	}
	changes := difference(secret.Labels, generationLabels(authority, number), nil)
	if len(changes) == 0 {
		return false, nil
	}
	patch := mergePatch(secret, map[string]any{"labels": changes}, nil)
	return true, s.patchSecret(ctx, secret, patch)
}

// observedGeneration is a generation Secret, without its key, as the planner sees it.
func observedGeneration(secret *corev1.Secret) plan.Generation {
	facts := secret.Annotations
	generation := plan.Generation{
		Number:       generationNumber(secret),
		SecretName:   secret.Name,
		SecretUID:    secret.UID,
		Made:         secret.CreationTimestamp.Time,
		Activated:    timeOf(facts[v1alpha1.ActivatedAtAnnotation]),
		Withdrawn:    timeOf(facts[v1alpha1.WithdrawnAtAnnotation]),
		WithdrawnFor: facts[v1alpha1.WithdrawnForAnnotation],
		Cause:        facts[v1alpha1.CauseAnnotation],
		CauseID:      facts[v1alpha1.CauseIDAnnotation],
		SpecHash:     facts[v1alpha1.SpecHashAnnotation],
		RotateServed: facts[v1alpha1.RotateServedAnnotation],
		EndorsedBy:   facts[v1alpha1.EndorsedByAnnotation],
		Retired:      plan.ParseNumbers(facts[v1alpha1.RetiredAnnotation]),
		RetiredAt:    timeOf(facts[v1alpha1.RetiredAtAnnotation]),
		Deleting:     !secret.DeletionTimestamp.IsZero(),
	}
	if parts := strings.SplitN(facts[v1alpha1.SignedByAnnotation], "/", 3); len(parts) >= 2 {
		generation.SignedBy = parts[0] + "/" + parts[1]
		generation.SignedByUID = types.UID(strings.Join(parts[2:], ""))
	}
	if causes := facts[v1alpha1.AbortedCauseAnnotation]; causes != "" {
		generation.AbortedCauses = strings.Split(causes, "\n")
	}
	name := generationName(secret.Labels[v1alpha1.AuthorityLabel], generation.Number)
	issuer, err := pki.ParseIssuer(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.BundleKey])
	key := plan.KeyState(secret.StringData[keyStateField])
	_, keyFits := key.Encoding()
	generation.Keyless = key == plan.KeyMissing && generation.Cause == v1alpha1.CauseLost
	switch {
	case generation.Number == 0:
		generation.Problem = fmt.Sprintf("its label %s isn't the number of a CA", v1alpha1.GenerationLabel)
	case secret.Name != name:
		generation.Problem = fmt.Sprintf("its name isn't the one its labels say, %q", name)
	case err != nil:
		generation.Problem = err.Error()
	case !keyFits && !generation.Keyless:
		generation.Problem = fmt.Sprintf("%s is not the key of %s", v1alpha1.PrivateKeyKey, v1alpha1.CertificateKey)
	}
	generation.Issuer = issuer
	return generation
}

// generationInfix stands between the name of an authority and the number of its generation.
const generationInfix = "-ca-"

func generationName(authority string, number int64) string {
	return fmt.Sprintf("%s%s%d", authority, generationInfix, number)
}

// parseGenerationName is the reverse of generationName; nothing and 0 for other names.
func parseGenerationName(secretName string) (authority string, number int64) {
	at := strings.LastIndex(secretName, generationInfix)
	if at < 0 {
		return "", 0
	}
	authority = secretName[:at]
	number, err := strconv.ParseInt(secretName[at+len(generationInfix):], 10, 64)
	if err != nil || number < 1 || number > plan.MaxNumber || generationName(authority, number) != secretName {
		return "", 0
	}
	return authority, number
}

func generationLabels(authority string, number int64) map[string]string {
	return map[string]string{
		v1alpha1.AuthorityLabel:  authority,
		v1alpha1.GenerationLabel: strconv.FormatInt(number, 10),
	}
}

// newGenerationSecret holds a CA for ever: its data is immutable, a finalizer makes deleting it a request, and nobody owns
// it, since the garbage collector would take the key of a CA that is in use from under the finalizer. The data of a CA whose
// key was lost has no key.
func newGenerationSecret(authority types.NamespacedName, number int64, data map[string][]byte, facts map[string]string,
) *corev1.Secret {
	facts[v1alpha1.PairHashAnnotation] = pki.PairHash(data[v1alpha1.CertificateKey], data[v1alpha1.PrivateKeyKey])
	maps.DeleteFunc(facts, func(_, fact string) bool { return fact == "" })
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   authority.Namespace,
			Name:        generationName(authority.Name, number),
			Labels:      generationLabels(authority.Name, number),
			Annotations: facts,
			Finalizers:  []string{v1alpha1.KeyFinalizer},
		},
		Type:      v1alpha1.AuthoritySecretType,
		Immutable: new(true),
		Data:      data,
	}
}

// generationData is a CA as the data of its Secret.
func generationData(ca *pki.Authority) (map[string][]byte, error) {
	certificates, key, roots, err := ca.Encode()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		v1alpha1.CertificateKey: certificates,
		v1alpha1.PrivateKeyKey:  key,
		v1alpha1.BundleKey:      roots,
	}, nil
}

// recordFacts writes facts on the Secret of a generation, if nobody wrote it since it was read: of two processes that decide
// about a generation at a time, one succeeds.
func (s shared) recordFacts(ctx context.Context, secret *corev1.Secret, facts map[string]string) error {
	patch := mergePatch(secret, map[string]any{"annotations": facts}, nil)
	return s.patchSecret(ctx, secret, patch)
}

// destroyGeneration deletes the Secret of a generation and lets it go. It is the one that was seen, and no other of its name.
func (s shared) destroyGeneration(ctx context.Context, secret *corev1.Secret) error {
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
	uid := client.Preconditions{UID: new(secret.UID)}
	if err := client.IgnoreNotFound(s.Delete(ctx, object, uid)); err != nil {
		return err
	}
	patch := mergePatch(&metav1.ObjectMeta{UID: secret.UID}, map[string]any{"finalizers": nil}, nil)
	return client.IgnoreNotFound(s.patchSecret(ctx, secret, patch))
}

// generationsStatus lists the generations that are trusted.
func generationsStatus(lineage plan.Lineage) []v1alpha1.GenerationStatus {
	signer, _ := lineage.Signer()
	next, _ := lineage.Next()
	all := make([]v1alpha1.GenerationStatus, len(lineage.Live))
	for i, generation := range lineage.Live {
		role := v1alpha1.RoleRetiring
		switch generation.Number {
		case signer.Number:
			role = v1alpha1.RoleSigning
		case next.Number:
			role = v1alpha1.RoleNext
		}
		all[i] = generationStatus(generation, role)
	}
	return all
}

func generationStatus(generation plan.Generation, role v1alpha1.GenerationRole) v1alpha1.GenerationStatus {
	certificate := generation.Issuer.Certificate()
	return v1alpha1.GenerationStatus{
		Number:            generation.Number,
		Role:              role,
		SecretName:        generation.SecretName,
		SerialNumber:      pki.SerialNumber(certificate),
		FingerprintSHA256: generation.Issuer.Fingerprint(),
		KeyID:             hex.EncodeToString(certificate.SubjectKeyId),
		NotBefore:         metav1.NewTime(certificate.NotBefore),
		NotAfter:          metav1.NewTime(certificate.NotAfter),
	}
}
