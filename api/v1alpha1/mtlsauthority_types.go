package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MTLSAuthority is a certificate authority: it signs the MTLSCertificates that refer to it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mca,categories=mtls
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Stage",type=string,JSONPath=`.status.rotation.stage`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.rotation.progress`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Blockers",type=integer,priority=1,JSONPath=`.status.rotation.blockerCount`
// +kubebuilder:printcolumn:name="Stalled",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Stalled")].status`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",fieldPath=".metadata",message="name must be no more than 52 characters: the names of the authority's Secrets are made from it"
type MTLSAuthority struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec says what authority is wanted; without one it is a root CA with all defaults.
	// +optional
	Spec MTLSAuthoritySpec `json:"spec,omitempty,omitzero"`
	// status is what the operator last saw and did.
	// +optional
	// +default={"observedGeneration": -1}
	Status MTLSAuthorityStatus `json:"status,omitempty,omitzero"`
}

// MTLSAuthorityList is a list of MTLSAuthorities.
//
// +kubebuilder:object:root=true
type MTLSAuthorityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MTLSAuthority `json:"items"`
}

// MTLSAuthoritySpec says what authority is wanted. Without selfSigned, signedBy and imported it is selfSigned.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.selfSigned) && has(self.imported))",fieldPath=".imported",message="set selfSigned or imported, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.signedBy) && (has(self.selfSigned) || has(self.imported)))",fieldPath=".signedBy",message="set one of selfSigned, signedBy and imported"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.renewBefore)",fieldPath=".renewBefore",message="remove renewBefore: an imported authority is renewed by whoever made it"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.commonName)",fieldPath=".commonName",message="remove commonName: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.subject)",fieldPath=".subject",message="remove subject: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.privateKey)",fieldPath=".privateKey",message="remove privateKey: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.duration)",fieldPath=".duration",message="remove duration: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.maxPathLength)",fieldPath=".maxPathLength",message="remove maxPathLength: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.imported) || !has(self.nameConstraints)",fieldPath=".nameConstraints",message="remove nameConstraints: an imported authority has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.duration) || !self.duration.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self.duration) >= duration('1h')",fieldPath=".duration",message="must be at least 1h"
// +kubebuilder:validation:XValidation:rule="!has(self.maxLeafDuration) || !self.maxLeafDuration.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self.maxLeafDuration) >= duration('10m')",fieldPath=".maxLeafDuration",message="must be at least 10m, the least duration of a certificate"
type MTLSAuthoritySpec struct {
	// selfSigned makes a root CA with a key of its own. This is what an authority is when nothing else is set.
	// +optional
	SelfSigned *SelfSigned `json:"selfSigned,omitempty"`
	// signedBy makes an intermediate CA under another MTLSAuthority, whose maxPathLength must leave room for it.
	// +optional
	SignedBy *SignedBy `json:"signedBy,omitempty"`
	// imported takes a CA that was made elsewhere.
	// +optional
	Imported *Imported `json:"imported,omitempty"`
	// commonName is the CN of the CA certificate; metadata.name when unset. A later generation appends " G2", " G3", …
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=56
	// +kubebuilder:validation:Pattern=`^[^\p{C}\p{Zl}\p{Zp}]+$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="must not begin with system: - Kubernetes gives such names rights"
	CommonName string `json:"commonName,omitempty"`
	// subject is the rest of the CA's distinguished name.
	// +optional
	Subject *Subject `json:"subject,omitempty"`
	// privateKey says what key a CA generation gets.
	// +optional
	PrivateKey *AuthorityPrivateKey `json:"privateKey,omitempty"`
	// duration is the life of one CA generation; 8760h when unset, at least 1h.
	// +optional
	Duration Duration `json:"duration,omitempty"`
	// renewBefore is how long before the end of a CA generation the next one is prepared; a third of its life when unset,
	// and at most that. In this time the new CA is delivered to everybody, then all certificates are issued again.
	// +optional
	RenewBefore Duration `json:"renewBefore,omitempty"`
	// maxPathLength is how many CAs may stand between this one and a leaf; 0 when unset.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8
	MaxPathLength *int32 `json:"maxPathLength,omitempty"`
	// nameConstraints limits the names the CA can sign for, for every program that verifies (RFC 5280, section 4.2.1.10).
	// +optional
	NameConstraints *NameConstraints `json:"nameConstraints,omitempty"`
	// allowedNamespaces says from which namespaces MTLSCertificates may refer to this authority. Unset: its own.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`
	// allowedAuthorities says from which namespaces MTLSAuthorities may be signed by this one. Unset: its own. Whoever has a CA
	// under this one can sign for every name, whatever allowedNames says.
	// +optional
	AllowedAuthorities *AllowedNamespaces `json:"allowedAuthorities,omitempty"`
	// allowedNames are patterns for what certificates from other namespaces may carry: DNS names, IP addresses or ranges,
	// URIs, e-mail addresses, common names, and in the form "O=payments" organizations (likewise OU, C, ST and L).
	// "{namespace}" stands for the namespace of the certificate. "*" stands for one label of a DNS name, or in a URI or
	// an e-mail address for letters, digits and any of "-._~+=" (at the end of a URI also for "/"), never for nothing.
	// Unset: only names derived from the namespace: *.{namespace}, *.{namespace}.svc, *.{namespace}.svc.<cluster domain>
	// and spiffe://*/ns/{namespace}/*.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^\p{C}\p{Zl}\p{Zp}]+$`
	// +kubebuilder:validation:items:XValidation:rule="!self.replace('{namespace}', '').matches('[{}]')",message="{namespace} is the only placeholder there is"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('*') || (!self.matches('^(O|OU|C|ST|L)=') && (self.contains('@') || self.matches('^[a-z][a-z0-9+.-]*://') || self.split('.').all(label, label == '*' || !label.contains('*'))))",message="* must be a whole label of a DNS name, or be in a URI or an e-mail address"
	AllowedNames []string `json:"allowedNames,omitempty"`
	// maxLeafDuration is the longest duration a certificate may ask for. Unset: no limit but the CA's own life.
	// +optional
	MaxLeafDuration Duration `json:"maxLeafDuration,omitempty"`
	// rotation says how one CA generation is replaced by the next.
	// +optional
	Rotation *RotationSettings `json:"rotation,omitempty"`
	// trustBundle says where the roots are published, beside the Secrets of the certificates.
	// +optional
	TrustBundle *TrustBundle `json:"trustBundle,omitempty"`
}

// SelfSigned has no settings of its own.
type SelfSigned struct{}

// SignedBy names the MTLSAuthority that signs a CA.
type SignedBy struct {
	// name of the MTLSAuthority.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of an MTLSAuthority"
	Name string `json:"name,omitempty"`
	// namespace of the MTLSAuthority; this one's own when unset. It must permit this one by allowedAuthorities.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be the name of a namespace"
	Namespace string `json:"namespace,omitempty"`
}

// RotationSettings say how one CA generation is replaced by the next.
//
// +kubebuilder:validation:MinProperties=1
type RotationSettings struct {
	// propagationDelay is how long a write takes to be in use everywhere; 5m when unset. It covers kubelet, which takes 60 s
	// to 90 s to update a mounted Secret, and the time in which programs read their files again.
	// +optional
	PropagationDelay Duration `json:"propagationDelay,omitempty"`
}

// TrustBundle says where the roots of an authority are published.
//
// +kubebuilder:validation:MinProperties=1
type TrustBundle struct {
	// configMap writes the roots into a ConfigMap of each selected namespace.
	// +optional
	ConfigMap *TrustBundleConfigMap `json:"configMap,omitempty"`
	// clusterTrustBundle publishes the roots as ClusterTrustBundles of signer
	// "mtls-operator.io/<namespace>.<name of the authority>". Project them by this signerName: the names of the objects
	// change with their content.
	// +optional
	ClusterTrustBundle *TrustBundleObject `json:"clusterTrustBundle,omitempty"`
}

// TrustBundleConfigMap says which ConfigMaps hold the roots, as ca.crt.
type TrustBundleConfigMap struct {
	// name of the ConfigMaps. One that exists and isn't the authority's is left alone.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be a name that a ConfigMap can have: lower-case letters, digits, '-' and '.'"
	Name string `json:"name,omitempty"`
	// namespaceSelector selects namespaces by their labels; an empty one selects all.
	// +required
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
}

// TrustBundleObject has no settings of its own.
type TrustBundleObject struct{}

// Imported names a CA that was made elsewhere.
type Imported struct {
	// secretName is a Secret in the authority's namespace with tls.crt (the CA's certificate, then the intermediates
	// above it), tls.key and, when the chain doesn't end in a self-signed root, ca.crt. Its pair is copied.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret"
	SecretName string `json:"secretName,omitempty"`
}

// AuthorityPrivateKey says what key a CA generation gets.
type AuthorityPrivateKey struct {
	// type of the key; ECDSAP256 when unset.
	// +required
	Type KeyType `json:"type,omitempty"`
}

// NameConstraints limits the names a CA can sign for.
//
// +kubebuilder:validation:MinProperties=1
type NameConstraints struct {
	// permitted names: when a kind of name is listed here, every name of that kind must fall under one of them.
	// +optional
	Permitted *NameConstraintSet `json:"permitted,omitempty"`
	// excluded names: no name may fall under one of them.
	// +optional
	Excluded *NameConstraintSet `json:"excluded,omitempty"`
}

// NameConstraintSet is a set of subtrees.
//
// +kubebuilder:validation:MinProperties=1
type NameConstraintSet struct {
	// dnsDomains cover the domain and everything under it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue() && !isIP(self)",message="must be a lower-case DNS name such as example.com, without a leading dot"
	DNSDomains []string `json:"dnsDomains,omitempty"`
	// ipRanges are networks in CIDR notation.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a network such as 10.0.0.0/8, with no bits set behind its prefix"
	IPRanges []string `json:"ipRanges,omitempty"`
	// emailAddresses are whole addresses, hosts, or domains with a leading dot.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^[^\p{C}\p{Z}]+$`
	EmailAddresses []string `json:"emailAddresses,omitempty"`
	// uriDomains are hosts of URIs, or domains with a leading dot.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[^\p{C}\p{Z}]+$`
	URIDomains []string `json:"uriDomains,omitempty"`
}

// FromNamespaces says from which namespaces something may be used.
//
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

// Values of FromNamespaces.
const (
	FromSame     FromNamespaces = "Same"
	FromAll      FromNamespaces = "All"
	FromSelector FromNamespaces = "Selector"
)

// AllowedNamespaces says from which namespaces MTLSCertificates may refer to an authority.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",fieldPath=".selector",message="set selector together with from: Selector, and only then"
type AllowedNamespaces struct {
	// from is Same (the authority's own namespace), All, or Selector.
	// +optional
	// +default="Same"
	From FromNamespaces `json:"from,omitempty"`
	// selector selects namespaces by their labels beside the authority's own; an empty selector selects all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}
