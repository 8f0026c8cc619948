package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MTLSCertificate is a certificate with its key and the roots to trust, kept in a Secret and renewed in time.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mcert,categories=mtls
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Authority",type=string,JSONPath=`.spec.authorityRef.name`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Renews",type=string,JSONPath=`.status.certificate.renewalTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Serial",type=string,priority=1,JSONPath=`.status.certificate.serialNumber`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Stalled",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Stalled")].status`
// +kubebuilder:validation:XValidation:rule="!(has(self.spec.secretName) ? self.spec.secretName : self.metadata.name).matches('-ca-[0-9]+$')",fieldPath=".spec.secretName",message="must not end in -ca-<number>: such names belong to the Secrets of authorities; set another secretName"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.secretName) ? self.spec.secretName : self.metadata.name) == (has(oldSelf.spec.secretName) ? oldSelf.spec.secretName : oldSelf.metadata.name)",fieldPath=".spec.secretName",message="cannot be changed, since pods mount the Secret by this name; make another MTLSCertificate"
type MTLSCertificate struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec says what certificate is wanted.
	// +required
	Spec MTLSCertificateSpec `json:"spec,omitzero"`
	// status is what the operator last saw and did.
	// +optional
	// +default={"observedGeneration": -1}
	Status MTLSCertificateStatus `json:"status,omitempty,omitzero"`
}

// MTLSCertificateList is a list of MTLSCertificates.
//
// +kubebuilder:object:root=true
type MTLSCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MTLSCertificate `json:"items"`
}

// MTLSCertificateSpec says what certificate is wanted.
//
// +kubebuilder:validation:XValidation:rule="has(self.commonName) || has(self.dnsNames) || has(self.ipAddresses) || has(self.uris) || has(self.emailAddresses) || has(self.serviceName)",fieldPath=".dnsNames",message="set at least one of dnsNames, serviceName, ipAddresses, uris, emailAddresses or commonName"
// +kubebuilder:validation:XValidation:rule="!has(self.duration) || !self.duration.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self.duration) >= duration('10m')",fieldPath=".duration",message="must be at least 10m"
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || !self.renewBefore.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self.renewBefore) >= duration('1m')",fieldPath=".renewBefore",message="must be at least 1m: a renewed certificate has to reach its users before the old one ends"
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || !self.renewBefore.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || !has(self.duration) || !self.duration.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self.renewBefore).getSeconds()*10 < duration(self.duration).getSeconds()*9",fieldPath=".renewBefore",message="must be less than 90 % of duration: a certificate that is renewed as soon as it is made is renewed for ever"
type MTLSCertificateSpec struct {
	// authorityRef names the MTLSAuthority that signs.
	// +required
	AuthorityRef AuthorityRef `json:"authorityRef,omitzero"`
	// secretName is the Secret that is made in this namespace; metadata.name when unset. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be a name that a Secret can have: lower-case letters, digits, '-' and '.'"
	SecretName string `json:"secretName,omitempty"`
	// usages say as what the certificate may be used: Server, Client or both.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Usages []Usage `json:"usages,omitempty"`
	// commonName is the CN. A commonName that is a DNS name is added to the DNS names when usages has Server: programs
	// don't look for a server's name in the CN.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[^\p{C}\p{Zl}\p{Zp}]+$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="must not begin with system: - Kubernetes gives such names rights"
	CommonName string `json:"commonName,omitempty"`
	// subject is the rest of the distinguished name.
	// +optional
	Subject *Subject `json:"subject,omitempty"`
	// dnsNames are DNS names, lower case; "*" may stand for the whole first label.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!format.dns1123Subdomain().validate(self.startsWith('*.') ? self.substring(2) : self).hasValue() && !isIP(self)",message="must be a lower-case DNS name such as hello.example.com or *.example.com; write IP addresses into ipAddresses and non-ASCII names in their xn-- form"
	DNSNames []string `json:"dnsNames,omitempty"`
	// ipAddresses are IPv4 and IPv6 addresses in their canonical form.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) && ip.isCanonical(self)",message="must be an IP address in its canonical form, such as 10.0.0.1 or fd00::1"
	IPAddresses []string `json:"ipAddresses,omitempty"`
	// uris are absolute URIs, for example SPIFFE IDs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:XValidation:rule="isURL(self) && !self.startsWith('/')",message="must be an absolute URI such as spiffe://example.com/ns/shop/sa/cart"
	URIs []string `json:"uris,omitempty"`
	// emailAddresses are addresses of the form local@domain.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[!-~]+@[!-~]+$')",message="must be an ASCII address of the form local@domain"
	EmailAddresses []string `json:"emailAddresses,omitempty"`
	// serviceName adds the DNS names of this Service of the namespace: <name>.<namespace>, <name>.<namespace>.svc,
	// <name>.<namespace>.svc.<cluster domain>, and <name> alone where the authority is in the same namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be the name of a Service: lower-case letters, digits and '-'"
	ServiceName string `json:"serviceName,omitempty"`
	// duration is the life of the certificate; 2160h when unset, at least 10m. A change alone doesn't re-issue.
	// +optional
	// +default="2160h"
	Duration Duration `json:"duration,omitempty"`
	// renewBefore is how long before its end the certificate is renewed, at least 1m; a third of its life when unset or
	// larger than that. A change alone doesn't re-issue.
	// +optional
	RenewBefore Duration `json:"renewBefore,omitempty"`
	// privateKey says what key the certificate gets; when unset ECDSAP256, a new one with every renewal.
	// +optional
	// +default={}
	PrivateKey PrivateKey `json:"privateKey,omitempty,omitzero"`
	// secretTemplate is added to the Secret.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`
	// reload says whether the programs that mount the Secret read it again when it changes: Watch (when unset) or Restart.
	// With Restart a change of CA waits until their containers were restarted.
	// +optional
	// +default="Watch"
	Reload Reload `json:"reload,omitempty"`
	// deletionPolicy says what happens to the Secret when this object is deleted: Delete (when unset) or Retain.
	// +optional
	// +default="Delete"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// Reload says how programs follow a change of their files.
//
// +kubebuilder:validation:Enum=Watch;Restart
type Reload string

// Values of Reload.
const (
	// ReloadWatch: they read the files again when these change, or every now and then.
	ReloadWatch Reload = "Watch"
	// ReloadRestart: they read them once, when they start.
	ReloadRestart Reload = "Restart"
)

// AuthorityRef names an MTLSAuthority.
type AuthorityRef struct {
	// name of the MTLSAuthority.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of an MTLSAuthority"
	Name string `json:"name,omitempty"`
	// namespace of the MTLSAuthority; this object's own when unset.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be the name of a namespace"
	Namespace string `json:"namespace,omitempty"`
}

// Usage is what a certificate may be used as; it sets the extended key usage (RFC 5280, section 4.2.1.12).
//
// +kubebuilder:validation:Enum=Server;Client
type Usage string

// Values of Usage.
const (
	UsageServer Usage = "Server"
	UsageClient Usage = "Client"
)

// PrivateKey says what key a certificate gets.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.type) && self.type == 'ED25519' && has(self.encoding) && self.encoding == 'PKCS1')",fieldPath=".encoding",message="must be PKCS8 for ED25519, which has no traditional form"
type PrivateKey struct {
	// type of the key.
	// +optional
	// +default="ECDSAP256"
	Type KeyType `json:"type,omitempty"`
	// rotationPolicy is Always (a new key with every certificate) or Never (the key is kept as long as it fits).
	// +optional
	// +default="Always"
	RotationPolicy RotationPolicy `json:"rotationPolicy,omitempty"`
	// encoding of the key: PKCS8, or PKCS1 for the traditional form of its algorithm (PKCS #1 or SEC 1).
	// +optional
	// +default="PKCS8"
	Encoding KeyEncoding `json:"encoding,omitempty"`
}

// RotationPolicy says whether a re-issued certificate gets a new key.
//
// +kubebuilder:validation:Enum=Always;Never
type RotationPolicy string

// Values of RotationPolicy.
const (
	RotationAlways RotationPolicy = "Always"
	RotationNever  RotationPolicy = "Never"
)

// KeyEncoding is a form of a private key.
//
// +kubebuilder:validation:Enum=PKCS8;PKCS1
type KeyEncoding string

// Values of KeyEncoding.
const (
	EncodingPKCS8 KeyEncoding = "PKCS8"
	EncodingPKCS1 KeyEncoding = "PKCS1"
)

// DeletionPolicy says what happens to a Secret when its MTLSCertificate is deleted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

// Values of DeletionPolicy.
const (
	DeletionDelete DeletionPolicy = "Delete"
	DeletionRetain DeletionPolicy = "Retain"
)

// SecretTemplate is added to a Secret.
//
// +kubebuilder:validation:MinProperties=1
type SecretTemplate struct {
	// labels are added to the Secret's own.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="every key must be a qualified name such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('app.kubernetes.io/') || !k.matches('^([^/]*[.])?(mtls-operator[.]io|kubernetes[.]io|k8s[.]io)/'))",message="keys under mtls-operator.io/, kubernetes.io/ and k8s.io/ are reserved (app.kubernetes.io/ is allowed)"
	Labels map[string]LabelValue `json:"labels,omitempty"`
	// annotations are added to the Secret's own.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="every key must be a qualified name such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.startsWith('app.kubernetes.io/') || !k.matches('^([^/]*[.])?(mtls-operator[.]io|kubernetes[.]io|k8s[.]io)/'))",message="keys under mtls-operator.io/, kubernetes.io/ and k8s.io/ are reserved (app.kubernetes.io/ is allowed)"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="must be a label value: letters, digits, '-', '_' and '.'"
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// MTLSCertificateStatus is what the operator last saw and did.
type MTLSCertificateStatus struct {
	// conditions are Ready and Stalled.
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
	// secretName is the Secret that holds the certificate, its key and the roots.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// expires is when the certificate ends.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// certificate describes the certificate in the Secret.
	// +optional
	Certificate *CertificateStatus `json:"certificate,omitempty"`
}

// CertificateStatus describes an issued certificate.
type CertificateStatus struct {
	// serialNumber in hex.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SerialNumber string `json:"serialNumber,omitempty"`
	// fingerprintSHA256 of the certificate, in hex.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	FingerprintSHA256 string `json:"fingerprintSHA256,omitempty"`
	// subject is the distinguished name as text (RFC 4514).
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Subject *string `json:"subject,omitempty"`
	// dnsNames in the certificate.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=253
	DNSNames []string `json:"dnsNames,omitempty"`
	// uris in the certificate.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=2048
	URIs []string `json:"uris,omitempty"`
	// notBefore is when it begins to be valid.
	// +required
	NotBefore metav1.Time `json:"notBefore,omitzero"`
	// notAfter is when it ends.
	// +required
	NotAfter metav1.Time `json:"notAfter,omitzero"`
	// renewalTime is when it will be renewed.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
	// authorityGeneration is the number of the CA generation that signed it.
	// +required
	// +kubebuilder:validation:Minimum=1
	AuthorityGeneration int64 `json:"authorityGeneration,omitempty"`
	// authorityUID is the UID of the MTLSAuthority whose generation that is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AuthorityUID string `json:"authorityUID,omitempty"`
}
