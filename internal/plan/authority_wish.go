package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	defaultAuthorityDuration = 8760 * time.Hour
	defaultPropagationDelay  = 5 * time.Minute
	// specHashVersion begins every spec hash. A hash of another version says nothing about a change of the spec.
	specHashVersion = "v1:"
)

// AuthorityWish is the CA that an MTLSAuthority asks for, validated.
type AuthorityWish struct {
	// Fields of the certificate of an own CA; without meaning when ImportedSecret is set.
	Fields pki.AuthorityFields
	// ImportedSecret is the name of the Secret with a CA made elsewhere, empty when there is none.
	ImportedSecret string
	// SignedBy is the authority above, as namespace/name, empty when there is none.
	SignedBy types.NamespacedName
	// RenewBefore the end of a generation the next one is prepared; zero when unset.
	RenewBefore time.Duration
	// PropagationDelay is how long a write takes to be in use everywhere. It is there also when the spec is wrong.
	PropagationDelay time.Duration
	// Hash of the fields of the spec that make the CA what it is; duration isn't one of them: the next CA has it.
	Hash string
}

// NewAuthorityWish reads an authority's spec. The error is pki.FieldErrors, with everything that is wrong and fields named
// from the spec on. minDelay is the least propagation delay that is accepted, since kubelet takes as long.
func NewAuthorityWish(authority *v1alpha1.MTLSAuthority, minDelay time.Duration) (AuthorityWish, error) {
	spec := authority.Spec
	delay, delayErr := propagationDelay(spec.Rotation, minDelay)
	renewBefore, renewErr := parseDuration("renewBefore", spec.RenewBefore, 0)
	wish := AuthorityWish{PropagationDelay: delay, RenewBefore: renewBefore, Hash: specHash(authority)}
	problems := fieldErrors(checkSelector("allowedNamespaces.selector", selectorOf(spec.AllowedNamespaces)),
		checkSelector("allowedAuthorities.selector", selectorOf(spec.AllowedAuthorities)),
		checkSelector("trustBundle.configMap.namespaceSelector", bundleSelector(spec)),
		checkDuration("maxLeafDuration", spec.MaxLeafDuration), delayErr, renewErr)
	if spec.Imported != nil {
		wish.ImportedSecret = spec.Imported.SecretName
	} else {
		fields, wrong := authorityFields(authority)
		wish.Fields = fields
		problems = append(problems, wrong...)
		if len(problems) == 0 {
			problems = append(problems, wish.tooShort()...)
		}
	}
	if parent := spec.SignedBy; parent != nil {
		wish.SignedBy = types.NamespacedName{Namespace: orDefault(parent.Namespace, authority.Namespace), Name: parent.Name}
	}
	if len(problems) > 0 {
		return AuthorityWish{PropagationDelay: delay}, problems
	}
	return wish, nil
}

// propagationDelay is the one of the spec, or the default when there is none that can be taken.
func propagationDelay(settings *v1alpha1.RotationSettings, least time.Duration) (time.Duration, error) {
	const field = "rotation.propagationDelay"
	if settings == nil {
		return defaultPropagationDelay, nil
	}
	delay, err := parseDuration(field, settings.PropagationDelay, defaultPropagationDelay)
	if err == nil && delay < least {
		err = pki.FieldErrors{{Field: field, Message: fmt.Sprintf("is %s: must be at least %s, which kubelet may take to update "+
			"a mounted Secret", settings.PropagationDelay, least)}}
	}
	if err != nil {
		return defaultPropagationDelay, err
	}
	return delay, nil
}

// tooShort: a rotation needs time for each of its two gates, and for the certificates between them.
func (w AuthorityWish) tooShort() pki.FieldErrors {
	need, has, field := rotationDelays*w.PropagationDelay, w.Fields.Duration/renewFraction, "duration"
	if w.RenewBefore > 0 && w.RenewBefore < has {
		has, field = w.RenewBefore, "renewBefore"
	}
	if has >= need {
		return nil
	}
	return pki.FieldErrors{{Field: field, Message: fmt.Sprintf("leaves %s for a rotation, which needs %s, four times "+
		"rotation.propagationDelay: make it longer, or propagationDelay shorter", has, need)}}
}

func selectorOf(allowed *v1alpha1.AllowedNamespaces) *metav1.LabelSelector {
	if allowed == nil {
		return nil
	}
	return allowed.Selector
}

func bundleSelector(spec v1alpha1.MTLSAuthoritySpec) *metav1.LabelSelector {
	if spec.TrustBundle == nil || spec.TrustBundle.ConfigMap == nil {
		return nil
	}
	return spec.TrustBundle.ConfigMap.NamespaceSelector
}

func authorityFields(authority *v1alpha1.MTLSAuthority) (pki.AuthorityFields, pki.FieldErrors) {
	spec := authority.Spec
	duration, durationErr := parseDuration("duration", spec.Duration, defaultAuthorityDuration)
	fields := pki.AuthorityFields{
		Subject:         subject(orDefault(spec.CommonName, authority.Name), spec.Subject),
		KeyType:         pki.KeyType(v1alpha1.KeyTypeDefault),
		Duration:        duration,
		NameConstraints: nameConstraints(spec.NameConstraints),
		Generation:      1,
	}
	if spec.PrivateKey != nil {
		fields.KeyType = pki.KeyType(spec.PrivateKey.Type)
	}
	if spec.MaxPathLength != nil {
		fields.MaxPathLength = int(*spec.MaxPathLength)
	}
	if durationErr != nil {
		fields.Duration = defaultAuthorityDuration // told already: the rest is looked at as well
	}
	_, err := pki.NewAuthorityRequest(fields)
	return fields, fieldErrors(durationErr, err)
}

func checkDuration(field string, text v1alpha1.Duration) error {
	_, err := parseDuration(field, text, 0)
	return err
}

// checkSelector: the schema takes any operator in a label selector.
func checkSelector(field string, selector *metav1.LabelSelector) error {
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return pki.FieldErrors{{Field: field, Message: err.Error()}}
	}
	return nil
}

func nameConstraints(constraints *v1alpha1.NameConstraints) pki.NameConstraints {
	if constraints == nil {
		return pki.NameConstraints{}
	}
	return pki.NameConstraints{
		Permitted: nameConstraintSet(constraints.Permitted),
		Excluded:  nameConstraintSet(constraints.Excluded),
	}
}

func nameConstraintSet(set *v1alpha1.NameConstraintSet) pki.NameConstraintSet {
	if set == nil {
		return pki.NameConstraintSet{}
	}
	return pki.NameConstraintSet{
		DNSDomains:     set.DNSDomains,
		IPRanges:       set.IPRanges,
		EmailAddresses: set.EmailAddresses,
		URIDomains:     set.URIDomains,
	}
}

// specHash is recorded with each generation. An unset field is absent and not its default, so that a version of the
// operator with another default doesn't ask for new CAs all over the cluster.
func specHash(authority *v1alpha1.MTLSAuthority) string {
	spec := authority.Spec
	if parent := spec.SignedBy; parent != nil && parent.Namespace == authority.Namespace { // which it is when unset
		spec.SignedBy = &v1alpha1.SignedBy{Name: parent.Name}
	}
	text, err := json.Marshal(struct {
		Imported        bool                          `json:"imported,omitempty"`
		SignedBy        *v1alpha1.SignedBy            `json:"signedBy,omitempty"`
		CommonName      string                        `json:"commonName,omitempty"`
		Subject         *v1alpha1.Subject             `json:"subject,omitempty"`
		PrivateKey      *v1alpha1.AuthorityPrivateKey `json:"privateKey,omitempty"`
		MaxPathLength   *int32                        `json:"maxPathLength,omitempty"`
		NameConstraints *v1alpha1.NameConstraints     `json:"nameConstraints,omitempty"`
	}{
		spec.Imported != nil, spec.SignedBy, spec.CommonName, spec.Subject, spec.PrivateKey, spec.MaxPathLength,
		spec.NameConstraints,
	})
	if err != nil {
		panic(err) // strings, numbers and lists of them can be marshalled
	}
	hash := sha256.Sum256(text)
	return specHashVersion + hex.EncodeToString(hash[:])
}
