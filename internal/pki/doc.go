// Package pki is all X.509 of the operator: keys, PEM, certificate profiles, CAs, the certificates they sign, and
// bundles of roots. It uses the standard library only and knows neither Kubernetes nor a clock: the time is an
// argument.
//
// It promises:
//
//   - One function signs certificates with a CA's key: sign in authority.go. What it makes is parsed from its bytes and
//     checked by [Check] as a server and as a client would, against the very roots it is delivered with, before anybody
//     sees it. The only other use of the key is [Authority.Endorse] beside it, for text that can't be a certificate.
//   - What users write becomes a value once, in [NewRequest] and [NewAuthorityRequest], which tell everything that is
//     wrong at once, by field. Their values can't be changed afterwards, and whatever they accept can be signed.
//   - Both profiles are those of RFC 5280 as strict verifiers read it: nothing in zlint, nothing with openssl's
//     -x509_strict.
//   - Keys come from crypto/rand and leave the package only through [EncodeKey] and [Authority.Encode]. No error, no
//     String method and no JSON contains one.
//   - Same inputs, same bytes: a [Bundle] is a set, sorted and without duplicates.
//   - PEM is strict: whatever isn't understood is an error, and a private key among certificates is one above all.
package pki
