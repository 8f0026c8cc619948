package v1alpha1

// Reasons of condition Ready=True.
const (
	// ReasonIssued: the Secret holds what the spec asks for.
	ReasonIssued = "Issued"
	// ReasonSigning: the authority can sign.
	ReasonSigning = "Signing"
)

// Reasons of condition Ready=False on an MTLSCertificate.
const (
	// ReasonInvalidSpec: the spec asks for something that cannot be; the message names the fields. Also on authorities.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonAuthorityNotFound: no such MTLSAuthority in the certificate's own namespace.
	ReasonAuthorityNotFound = "AuthorityNotFound"
	// ReasonAuthorityNotPermitted: the authority in the other namespace doesn't exist or doesn't allow this namespace.
	// Which of the two isn't told: it would tell what exists elsewhere.
	ReasonAuthorityNotPermitted = "AuthorityNotPermitted"
	// ReasonAuthorityNotReady: the authority cannot sign now.
	ReasonAuthorityNotReady = "AuthorityNotReady"
	// ReasonAuthorityExpiring: the authority's own end is so near that a new certificate would be useless.
	ReasonAuthorityExpiring = "AuthorityExpiring"
	// ReasonDenied: the authority's allowedNames or maxLeafDuration don't allow the request.
	ReasonDenied = "Denied"
	// ReasonNameConstraintViolation: the name constraints of a CA in the chain exclude a name.
	ReasonNameConstraintViolation = "NameConstraintViolation"
	// ReasonSecretConflict: a Secret of that name exists and is not this certificate's.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretRejected: the API server refuses the Secret as we would write it.
	ReasonSecretRejected = "SecretRejected"
	// ReasonIssuanceFailed: signing failed, or the signed certificate didn't pass the check before it was written.
	ReasonIssuanceFailed = "IssuanceFailed"
)

// Reasons of condition Ready=False on an MTLSAuthority, beside ReasonInvalidSpec.
const (
	// ReasonImportedSecretNotFound: the Secret named in imported.secretName doesn't exist.
	ReasonImportedSecretNotFound = "ImportedSecretNotFound"
	// ReasonImportedInvalid: the imported pair cannot be a CA; the message says why.
	ReasonImportedInvalid = "ImportedInvalid"
	// ReasonCAExpired: the signing generation has ended.
	ReasonCAExpired = "CAExpired"
	// ReasonCANotYetValid: the signing generation begins later.
	ReasonCANotYetValid = "CANotYetValid"
	// ReasonCALost: generation Secrets that existed are gone, or weren't restored with their authority. No unrelated root is
	// made in their place.
	ReasonCALost = "CALost"
	// ReasonCASecretConflict: a Secret that isn't the authority's has the name of its generation.
	ReasonCASecretConflict = "CASecretConflict"
	// ReasonCASecretRejected: the API server refuses the generation Secret.
	ReasonCASecretRejected = "CASecretRejected"
)

// Reasons of condition Stalled.
const (
	// ReasonProgressing: nobody needs to act.
	ReasonProgressing = "Progressing"
	// ReasonInUse: the authority is being deleted while certificates refer to it.
	ReasonInUse = "InUse"
	// ReasonRotationBlocked: half of the time is over in which a rotation waits for those who can't follow.
	ReasonRotationBlocked = "RotationBlocked"
	// ReasonImportedTooShort: the imported pair would end before the CA that it is to replace.
	ReasonImportedTooShort = "ImportedTooShort"
	// ReasonImportedClash: programs couldn't tell the imported CA from one that is in use.
	ReasonImportedClash = "ImportedClash"
	// ReasonTooManyGenerations: older generations are still needed, and the next has to wait for them.
	ReasonTooManyGenerations = "TooManyGenerations"
	// ReasonInvalidAnnotation: an annotation asks for something that can't be read, or can't be done.
	ReasonInvalidAnnotation = "InvalidAnnotation"
)

// Reasons of condition Ready=False of an authority that is signed by another one.
const (
	// ReasonParentNotReady: the authority above cannot sign now, or isn't there, or doesn't permit this one.
	ReasonParentNotReady = "ParentNotReady"
	// ReasonParentRefuses: the CA above may not sign this one: its path length or its name constraints forbid it.
	ReasonParentRefuses = "ParentRefuses"
)

// Reasons of events about a rotation, beside the causes that generation Secrets record.
const (
	// ReasonGenerationMade: the next CA generation was made and is delivered to everybody.
	ReasonGenerationMade = "GenerationMade"
	// ReasonGenerationSigns: the next CA generation signs from now on.
	ReasonGenerationSigns = "GenerationSigns"
	// ReasonGenerationWithdrawn: a CA generation doesn't sign any more, or never will.
	ReasonGenerationWithdrawn = "GenerationWithdrawn"
	// ReasonGenerationRetired: a CA generation isn't needed any more and isn't trusted from now on.
	ReasonGenerationRetired = "GenerationRetired"
	// ReasonRanOver: a rotation didn't wait for some who can't follow.
	ReasonRanOver = "RanOver"
)

// Reasons of condition TrustDistributed.
const (
	// ReasonDistributed: everybody has all roots.
	ReasonDistributed = "Distributed"
	// ReasonDistributing: the roots are being delivered.
	ReasonDistributing = "Distributing"
	// ReasonConfigMapConflict: a ConfigMap of that name exists and isn't the authority's.
	ReasonConfigMapConflict = "ConfigMapConflict"
	// ReasonTrustBundleRejected: the API server refuses what would be published.
	ReasonTrustBundleRejected = "TrustBundleRejected"
)

// Reasons to issue a certificate, in the order in which they are looked for. They are reasons of events and labels of
// metrics.
const (
	ReasonSecretMissing    = "SecretMissing"
	ReasonSecretMalformed  = "SecretMalformed"
	ReasonKeyMismatch      = "KeyMismatch"
	ReasonIssuerChanged    = "IssuerChanged"
	ReasonSpecChanged      = "SpecChanged"
	ReasonRenewalDue       = "RenewalDue"
	ReasonRenewalRequested = "RenewalRequested"
)
