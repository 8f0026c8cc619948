package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	defaultAuthorityDuration = 8760 * time.Hour
	// specHashVersion begins every spec hash. A hash of another version says nothing about a change of the spec.
	specHashVersion = "v1:"
)

// AuthorityWish is the CA that an MTLSAuthority asks for, validated.
type AuthorityWish struct {
	// Fields of the certificate of an own CA; without meaning when ImportedSecret is set.
	Fields pki.AuthorityFields
	// ImportedSecret is the name of the Secret with a CA made elsewhere, empty when there is none.
	ImportedSecret string
	// Hash of the fields of the spec that make the CA what it is; duration isn't one of them: the next CA has it.
	Hash string
}

// NewAuthorityWish reads an authority's spec. The error is pki.FieldErrors, with everything that is wrong and fields
// named from the spec on.
func NewAuthorityWish(authority *v1alpha1.MTLSAuthority) (AuthorityWish, error) {
	spec := authority.Spec
	problems := fieldErrors(checkSelector(spec.AllowedNamespaces), checkDuration("maxLeafDuration", spec.MaxLeafDuration))
	wish := AuthorityWish{Hash: specHash(spec)}
	if spec.Imported != nil {
		wish.ImportedSecret = spec.Imported.SecretName
	} else {
		fields, wrong := authorityFields(authority)
		wish.Fields = fields
		problems = append(problems, wrong...)
	}
	if len(problems) > 0 {
		return AuthorityWish{}, problems
	}
	return wish, nil
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
func checkSelector(allowed *v1alpha1.AllowedNamespaces) error {
	if allowed == nil {
		return nil
	}
	if _, err := metav1.LabelSelectorAsSelector(allowed.Selector); err != nil {
		return pki.FieldErrors{{Field: "allowedNamespaces.selector", Message: err.Error()}}
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
func specHash(spec v1alpha1.MTLSAuthoritySpec) string {
	text, err := json.Marshal(struct {
		Imported        bool                          `json:"imported,omitempty"`
		CommonName      string                        `json:"commonName,omitempty"`
		Subject         *v1alpha1.Subject             `json:"subject,omitempty"`
		PrivateKey      *v1alpha1.AuthorityPrivateKey `json:"privateKey,omitempty"`
		MaxPathLength   *int32                        `json:"maxPathLength,omitempty"`
		NameConstraints *v1alpha1.NameConstraints     `json:"nameConstraints,omitempty"`
	}{spec.Imported != nil, spec.CommonName, spec.Subject, spec.PrivateKey, spec.MaxPathLength, spec.NameConstraints})
	if err != nil {
		panic(err) // strings, numbers and lists of them can be marshalled
	}
	hash := sha256.Sum256(text)
	return specHashVersion + hex.EncodeToString(hash[:])
}
