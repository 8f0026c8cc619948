package controllers

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// generations are the CA generations of an authority, oldest first, from the cache.
func (s shared) generations(ctx context.Context, authority types.NamespacedName) ([]plan.Generation, error) {
	secrets := &corev1.SecretList{}
	err := s.List(ctx, secrets, client.InNamespace(authority.Namespace),
		client.MatchingFields{byAuthority: authority.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	return observedGenerations(secrets.Items), nil
}

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

func observedGenerations(secrets []corev1.Secret) []plan.Generation {
	generations := make([]plan.Generation, len(secrets))
	for i := range secrets {
		generations[i] = observedGeneration(&secrets[i])
	}
	slices.SortFunc(generations, func(a, b plan.Generation) int { return cmp.Compare(a.Number, b.Number) })
	refuseUnendorsed(generations)
	return generations
}

// refuseUnendorsed leaves only the first usable generation. Whoever may create Secrets can make one with a later number; to
// be the authority's it would need the endorsement of the one before it, and nothing makes endorsements.
func refuseUnendorsed(generations []plan.Generation) {
	first := slices.IndexFunc(generations, func(g plan.Generation) bool { return g.Problem == "" && g.Activated })
	for i := first + 1; i < len(generations) && first >= 0; i++ {
		if generations[i].Problem == "" {
			generations[i].Problem = fmt.Sprintf("generation %d didn't endorse it", generations[first].Number)
		}
	}
}

// observedGeneration is a generation Secret, without its key, as the planner sees it.
func observedGeneration(secret *corev1.Secret) plan.Generation {
	generation := plan.Generation{
		Number:     generationNumber(secret),
		SecretName: secret.Name,
		SecretUID:  secret.UID,
		Activated:  secret.Annotations[v1alpha1.ActivatedAtAnnotation] != "",
		SpecHash:   secret.Annotations[v1alpha1.SpecHashAnnotation],
		Deleting:   !secret.DeletionTimestamp.IsZero(),
	}
	name := generationName(secret.Labels[v1alpha1.AuthorityLabel], generation.Number)
	issuer, err := pki.ParseIssuer(secret.Data[v1alpha1.CertificateKey], secret.Data[v1alpha1.BundleKey])
	_, keyFits := plan.KeyState(secret.StringData[keyStateField]).Encoding()
	switch {
	case secret.Name != name:
		generation.Problem = fmt.Sprintf("its name isn't the one its labels say, %q", name)
	case err != nil:
		generation.Problem = err.Error()
	case !keyFits:
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
	if err != nil || number < 1 || generationName(authority, number) != secretName {
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
// it, since the garbage collector would take the key of a CA that is in use from under the finalizer.
func newGenerationSecret(authority *v1alpha1.MTLSAuthority, number int64, ca *pki.Authority, specHash string, now time.Time,
) (*corev1.Secret, error) {
	certificates, key, roots, err := ca.Encode()
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: authority.Namespace,
			Name:      generationName(authority.Name, number),
			Labels:    generationLabels(authority.Name, number),
			Annotations: map[string]string{
				v1alpha1.CauseAnnotation:       v1alpha1.CauseInitial,
				v1alpha1.SpecHashAnnotation:    specHash,
				v1alpha1.ActivatedAtAnnotation: now.UTC().Format(time.RFC3339),
				v1alpha1.PairHashAnnotation:    pki.PairHash(certificates, key),
			},
			Finalizers: []string{v1alpha1.KeyFinalizer},
		},
		Type:      v1alpha1.AuthoritySecretType,
		Immutable: new(true),
		Data: map[string][]byte{
			v1alpha1.CertificateKey: certificates,
			v1alpha1.PrivateKeyKey:  key,
			v1alpha1.BundleKey:      roots,
		},
	}
	if authority.Spec.Imported != nil {
		secret.Annotations[v1alpha1.CauseIDAnnotation] = ca.Issuer().Fingerprint()
	}
	return secret, nil
}

// generationsStatus lists the generations that do something: the one that signs.
func generationsStatus(generations []plan.Generation) []v1alpha1.GenerationStatus {
	signer, found := plan.Signer(generations)
	if !found {
		return nil
	}
	certificate := signer.Issuer.Certificate()
	return []v1alpha1.GenerationStatus{{
		Number:            signer.Number,
		Role:              v1alpha1.RoleSigning,
		SecretName:        signer.SecretName,
		SerialNumber:      pki.SerialNumber(certificate),
		FingerprintSHA256: signer.Issuer.Fingerprint(),
		KeyID:             hex.EncodeToString(certificate.SubjectKeyId),
		NotBefore:         metav1.NewTime(certificate.NotBefore),
		NotAfter:          metav1.NewTime(certificate.NotAfter),
	}}
}
