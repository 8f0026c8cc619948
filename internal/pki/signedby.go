package pki

// SignedBy tells whether parent is the CA right above the issuer: this very certificate, not one with the same key,
// unless both are among the issuer's roots. Nothing is above a root.
func (i Issuer) SignedBy(parent Issuer) bool {
	switch {
	case parent.certificate == nil || len(i.sent) == 0:
		return false
	case len(i.sent) > 1:
		return i.sent[1].Equal(parent.certificate)
	}
	return i.roots.Contains(parent.certificate)
}
