package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MTLSAuthorityStatus is what the operator last saw and did.
type MTLSAuthorityStatus struct {
	// conditions are Ready (it can sign now), Stalled (a person must act) and TrustDistributed (everybody has its roots).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// observedGeneration is the metadata.generation this status speaks of; -1 before the operator saw the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// expires is when the signing generation ends.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// generations are the CA generations that exist.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=8
	Generations []GenerationStatus `json:"generations,omitempty"`
	// trustBundleHash is the SHA-256 over the set of roots that certificates of this authority are delivered with, in hex.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TrustBundleHash string `json:"trustBundleHash,omitempty"`
	// rotation tells how far the change from one CA generation to the next is.
	// +optional
	Rotation *RotationStatus `json:"rotation,omitempty"`
	// nextRotationTime is when the next CA generation is prepared.
	// +optional
	NextRotationTime *metav1.Time `json:"nextRotationTime,omitempty"`
}

// GenerationRole is what a CA generation does.
//
// +kubebuilder:validation:Enum=Next;Signing;Retiring
type GenerationRole string

// Values of GenerationRole.
const (
	// RoleNext: it is delivered to everybody, and doesn't sign yet.
	RoleNext GenerationRole = "Next"
	// RoleSigning: it signs.
	RoleSigning GenerationRole = "Signing"
	// RoleRetiring: it is still trusted, and goes once nobody needs it.
	RoleRetiring GenerationRole = "Retiring"
)

// RotationStage is how far the change from one CA generation to the next is.
//
// +kubebuilder:validation:Enum=Stable;Distributing;Reissuing;Retiring;Lost
type RotationStage string

// Values of RotationStage.
const (
	// StageStable: one CA, and nothing to do.
	StageStable RotationStage = "Stable"
	// StageDistributing: the next CA is delivered to everybody, the present one signs.
	StageDistributing RotationStage = "Distributing"
	// StageReissuing: the new CA signs, and certificates of an older one are issued again.
	StageReissuing RotationStage = "Reissuing"
	// StageRetiring: no certificate of the older CA is left; it goes once this has reached everybody.
	StageRetiring RotationStage = "Retiring"
	// StageLost: no CA has a key. The next one is delivered; until everybody has it, nothing signs.
	StageLost RotationStage = "Lost"
)

// RotationStatus tells how far a rotation is, and what it waits for.
type RotationStatus struct {
	// stage of the rotation.
	// +required
	Stage RotationStage `json:"stage,omitempty"`
	// reason for the rotation, as generation Secrets record it in annotation mtls-operator.io/cause.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// message says what the rotation waits for, and what comes next.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// startedAt is when the newest generation was made.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// progress of the stage as "done/all": of those to whom the roots are delivered, or of the certificates.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Progress string `json:"progress,omitempty"`
	// nextStepTime is the earliest time of the next step, when only time is missing.
	// +optional
	NextStepTime *metav1.Time `json:"nextStepTime,omitempty"`
	// blockerCount is how many blockers there are; blockers names the first ones.
	// +optional
	// +kubebuilder:validation:Minimum=0
	BlockerCount *int32 `json:"blockerCount,omitempty"`
	// blockers are what the next step waits for and what doesn't go away by itself.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Blockers []RotationBlocker `json:"blockers,omitempty"`
}

// RotationBlocker is an object that holds up a rotation.
type RotationBlocker struct {
	// kind of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind,omitempty"`
	// namespace of the object, unless it has none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// message says why it holds up the rotation, and what to do.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// GenerationStatus describes one CA generation.
type GenerationStatus struct {
	// number of the generation, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number,omitempty"`
	// role is what the generation does.
	// +required
	Role GenerationRole `json:"role,omitempty"`
	// secretName is the Secret in the authority's namespace that holds its key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// serialNumber of its certificate, in hex.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SerialNumber string `json:"serialNumber,omitempty"`
	// fingerprintSHA256 of its certificate, in hex.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	FingerprintSHA256 string `json:"fingerprintSHA256,omitempty"`
	// keyID is the subject key identifier of its certificate in hex; imported CAs may have none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	KeyID string `json:"keyID,omitempty"`
	// notBefore is when it begins to be valid.
	// +required
	NotBefore metav1.Time `json:"notBefore,omitzero"`
	// notAfter is when it ends.
	// +required
	NotAfter metav1.Time `json:"notAfter,omitzero"`
}
