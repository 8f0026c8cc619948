package v1alpha1

// Prefix begins every label, annotation and finalizer of the operator.
const Prefix = "mtls-operator.io/"

// Labels.
const (
	// GenerationLabel is on every Secret the operator makes, so that one selector finds them all. On a generation Secret
	// its value is the number of that CA generation, on a leaf Secret the number of the generation that signed it.
	GenerationLabel = Prefix + "generation"
	// AuthorityLabel is on generation Secrets: the name of the MTLSAuthority in the same namespace.
	AuthorityLabel = Prefix + "authority"
)

// Annotations that people set to act.
const (
	// RenewRequestedAtAnnotation on an MTLSCertificate asks for one renewal. Its value is an opaque token: a value the
	// leaf Secret doesn't carry yet is served once, whatever it says.
	RenewRequestedAtAnnotation = Prefix + "renew-requested-at"
)

// Annotations on MTLSAuthorities.
const (
	// MadeForAnnotation says which object a CA was made for, or is about to be: namespace, name and UID, separated by
	// slashes. A backup carries it along, so an authority that has its own namespace and name but another UID there was
	// restored, and waits for the Secret of its CA. People remove it to have a new CA made instead.
	MadeForAnnotation = Prefix + "made-for"
)

// Annotations on generation Secrets: facts, written in the Create.
const (
	// CauseAnnotation says why the generation was made, see the Cause values.
	CauseAnnotation = Prefix + "cause"
	// CauseIDAnnotation identifies the wish that was served: for an imported CA the SHA-256 of its certificate, in hex.
	CauseIDAnnotation = Prefix + "cause-id"
	// SpecHashAnnotation is the versioned hash of the spec fields the generation was made from.
	SpecHashAnnotation = Prefix + "spec-hash"
	// ActivatedAtAnnotation is when the generation was allowed to sign (RFC 3339).
	ActivatedAtAnnotation = Prefix + "activated-at"
)

// Causes of a CA generation.
const (
	// CauseInitial: the authority had no generation yet.
	CauseInitial = "Initial"
)

// Annotations on leaf Secrets: facts, written in the write they speak of.
const (
	// CertificateAnnotation is the name of the MTLSCertificate a leaf Secret was made for; with deletionPolicy Retain it
	// is what tells our Secret from a foreign one.
	CertificateAnnotation = Prefix + "certificate"
	// PairHashAnnotation is the SHA-256 over tls.crt and tls.key as written, in hex; it tells an edited pair from ours
	// without parsing the key.
	PairHashAnnotation = Prefix + "pair-hash"
	// BundleHashAnnotation is the hash of the set of roots in ca.crt.
	BundleHashAnnotation = Prefix + "bundle-hash"
	// BundleSinceAnnotation is when the set of roots last changed (RFC 3339).
	BundleSinceAnnotation = Prefix + "bundle-since"
	// IssuerSinceAnnotation is when the issuer of the leaf last changed (RFC 3339).
	IssuerSinceAnnotation = Prefix + "issuer-since"
	// RenewServedAnnotation is the last value of RenewRequestedAtAnnotation that was served.
	RenewServedAnnotation = Prefix + "renew-served"
	// TemplateKeysAnnotation names the labels and annotations that came from secretTemplate, so that removed ones can be
	// taken away again: a JSON object with the lists "labels" and "annotations".
	TemplateKeysAnnotation = Prefix + "template-keys"
)

// Finalizers.
const (
	// AuthorityFinalizer holds an MTLSAuthority while certificates refer to it.
	AuthorityFinalizer = Prefix + "in-use"
	// KeyFinalizer holds a generation Secret: deleting it by hand is a request, not the loss of a CA key.
	KeyFinalizer = Prefix + "ca-key"
)

// AuthoritySecretType is the type of generation Secrets. Only who may "issue" on MTLSAuthorities may create it, see the
// ValidatingAdmissionPolicy in config/admission.
const AuthoritySecretType = "mtls-operator.io/ca"

// Keys of a Secret's data. The first two are those of type kubernetes.io/tls.
const (
	// CertificateKey holds the certificate, then its intermediates, in PEM.
	CertificateKey = "tls.crt"
	// PrivateKeyKey holds the private key in PEM.
	PrivateKeyKey = "tls.key"
	// BundleKey holds the roots to trust in PEM.
	BundleKey = "ca.crt"
)
