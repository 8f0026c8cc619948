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
	// TrustBundleLabel is on every ConfigMap and ClusterTrustBundle that roots are published in, so that one selector finds
	// them all: the name of the MTLSAuthority.
	TrustBundleLabel = Prefix + "trust-bundle"
)

// Annotations that people set to act.
const (
	// RenewRequestedAtAnnotation on an MTLSCertificate asks for one renewal. Its value is an opaque token: a value the
	// leaf Secret doesn't carry yet is served once, whatever it says.
	RenewRequestedAtAnnotation = Prefix + "renew-requested-at"
)

// Annotations on MTLSAuthorities, by which people act on a rotation. All but the first name what they are about, so that
// one that is left behind has no effect on the next rotation.
const (
	// RotateRequestedAtAnnotation asks for one rotation. Its value is an opaque token, served once.
	RotateRequestedAtAnnotation = Prefix + "rotate-requested-at"
	// AbortAnnotation names a generation that shall not become, or not remain, the one that signs.
	AbortAnnotation = Prefix + "abort"
	// CompromisedAnnotation names generations, separated by commas, whose keys others have: they are replaced at once and
	// without regard to who can't follow.
	CompromisedAnnotation = Prefix + "compromised"
	// IgnoreBlockersAnnotation names the next generation: pods and objects that can't follow don't hold it up, nor later the
	// retirement of those before it.
	IgnoreBlockersAnnotation = Prefix + "ignore-blockers"
	// AdoptRootAnnotation names SHA-256 fingerprints, in hex and separated by commas, of roots of a CA that was lost. They
	// stay trusted while its certificates are replaced.
	AdoptRootAnnotation = Prefix + "adopt-root"
)

// Annotations on MTLSAuthorities that the operator sets.
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
	// SignedByAnnotation is the MTLSAuthority that signed the generation: namespace, name and UID, separated by slashes.
	SignedByAnnotation = Prefix + "signed-by"
	// EndorsedByAnnotation is the signature of the generation before it, in base64.
	EndorsedByAnnotation = Prefix + "endorsed-by"
)

// Annotations on generation Secrets: facts, each written once.
const (
	// ActivatedAtAnnotation is when the generation was allowed to sign (RFC 3339): in the Create of the first one, later
	// before its first signature.
	ActivatedAtAnnotation = Prefix + "activated-at"
	// WithdrawnAtAnnotation is when the generation was forbidden to sign (RFC 3339), for ever.
	WithdrawnAtAnnotation = Prefix + "withdrawn-at"
	// WithdrawnForAnnotation says why, see the Withdrawal values.
	WithdrawnForAnnotation = Prefix + "withdrawn-for"
	// RotateServedAnnotation is the value of RotateRequestedAtAnnotation that the generation serves.
	RotateServedAnnotation = Prefix + "rotate-served"
	// RetiredAnnotation is on the generation that signs: the numbers of all generations that are no more, such as "<=5,7".
	// It is written before a generation is deleted. None of them is ever trusted or made again.
	RetiredAnnotation = Prefix + "retired"
	// RetiredAtAnnotation is when RetiredAnnotation was last written (RFC 3339).
	RetiredAtAnnotation = Prefix + "retired-at"
	// AbortedCauseAnnotation is on the generation that signs: cause and cause-id, separated by a colon, a line for each rotation
	// that a person aborted and each CA that others have the key of. None of them is begun again.
	AbortedCauseAnnotation = Prefix + "aborted-cause"
)

// Causes of a CA generation.
const (
	// CauseInitial: the authority had no generation yet.
	CauseInitial = "Initial"
	// CauseDue: the end of the generation before it came near.
	CauseDue = "RenewalDue"
	// CauseSpec: the spec asks for another CA.
	CauseSpec = "SpecChanged"
	// CauseImported: the imported pair was replaced.
	CauseImported = "ImportedPairChanged"
	// CauseParent: the authority above signs with another generation.
	CauseParent = "ParentRotated"
	// CauseRequested: a person asked for it, see RotateRequestedAtAnnotation.
	CauseRequested = "RotationRequested"
	// CauseDeleted: a person deleted the Secret of the generation before it.
	CauseDeleted = "SecretDeleted"
	// CauseCompromised: a person said that others have the key, see CompromisedAnnotation.
	CauseCompromised = "Compromised"
	// CauseLost: the keys of all generations before it are lost.
	CauseLost = "Lost"
)

// Reasons for which a generation is withdrawn.
const (
	// WithdrawnAborted: a person said so.
	WithdrawnAborted = "Aborted"
	// WithdrawnSuperseded: what it was made for isn't wanted any more.
	WithdrawnSuperseded = "Superseded"
	// WithdrawnCompromised: a person said that others have its key.
	WithdrawnCompromised = "Compromised"
	// WithdrawnOutdated: a newer generation than this restored one existed.
	WithdrawnOutdated = "Outdated"
)

// Annotations on leaf Secrets: facts, written in the write they speak of.
const (
	// CertificateAnnotation is the name of the MTLSCertificate a leaf Secret was made for; with deletionPolicy Retain it
	// is what tells our Secret from a foreign one.
	CertificateAnnotation = Prefix + "certificate"
	// IssuedByAnnotation is the MTLSAuthority whose CA signed the certificate, as namespace/name. A Secret that outlives its
	// MTLSCertificate goes on getting the roots of that authority by it.
	IssuedByAnnotation = Prefix + "issued-by"
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

// ReloadAnnotation on a pod says how its programs follow changes of the roots that they mount from a ConfigMap or a
// ClusterTrustBundle: see Reload.
const ReloadAnnotation = Prefix + "reload"

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
