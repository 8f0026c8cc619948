package v1alpha1

// Duration is a length of time in whole hours, minutes and seconds, in that order, each at most once: "2160h", "1h30m".
// It is a string of our own and not metav1.Duration, whose decoder fails on strings the schema would let through: one
// such object would stop the cache for everybody.
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$`
type Duration string

// Text is a piece of a distinguished name: printable, on one line.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[^\p{C}\p{Zl}\p{Zp}]+$`
type Text string

// Subject holds the parts of a distinguished name beside the common name (RFC 5280, section 4.1.2.4).
//
// +kubebuilder:validation:MinProperties=1
type Subject struct {
	// organizations are the O attributes, at most 64 characters each.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Organizations []Text `json:"organizations,omitempty"`
	// organizationalUnits are the OU attributes, at most 64 characters each.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	OrganizationalUnits []Text `json:"organizationalUnits,omitempty"`
	// countries are the C attributes: ISO 3166 codes of two letters.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Countries []Text `json:"countries,omitempty"`
	// provinces are the ST attributes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Provinces []Text `json:"provinces,omitempty"`
	// localities are the L attributes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Localities []Text `json:"localities,omitempty"`
}

// KeyType is an algorithm with its size or curve, in the words of Kubernetes' pod certificates.
//
// +kubebuilder:validation:Enum=ECDSAP256;ECDSAP384;ECDSAP521;RSA2048;RSA3072;RSA4096;ED25519
type KeyType string

// KeyTypeDefault is the type of a key for which nothing else was asked.
const KeyTypeDefault KeyType = "ECDSAP256"

// Condition types of both kinds.
const (
	// ConditionReady of a certificate: its Secret holds what the spec asks for. Of an authority: it can sign now.
	ConditionReady = "Ready"
	// ConditionStalled is True while nothing will change until a person acts.
	ConditionStalled = "Stalled"
)

// ConditionTrustDistributed of an authority: everybody whom its roots are delivered to has all of them.
const ConditionTrustDistributed = "TrustDistributed"
