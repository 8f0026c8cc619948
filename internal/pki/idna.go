package pki

import (
	"math"
	"strings"
	"unicode"
)

// Parameters of Punycode (RFC 3492, section 5).
const (
	punyBase        = 36
	punyTMin        = 1
	punyTMax        = 26
	punySkew        = 38
	punyDamp        = 700
	punyInitialBias = 72
	punyInitialN    = 128
)

// isPunycodeLabel tells whether what follows "xn--" is a name at all: verifiers decode it to show it, and not all are
// careful.
func isPunycodeLabel(encoded string) bool {
	decoded, ok := decodePunycode(encoded)
	if !ok {
		return false
	}
	ascii := true
	for _, r := range decoded {
		ascii = ascii && r <= unicode.MaxASCII
		if !mayBeInLabel(r) {
			return false
		}
	}
	return !ascii
}

// contextual are the characters that IDNA allows by exception (RFC 5892, sections 2.6 and 2.7).
const contextual = "-·͵׳״・\u200c\u200d"

// mayBeInLabel allows lower-case letters, marks and digits (roughly PVALID of RFC 5892), without the blocks of
// characters that normalization replaces.
func mayBeInLabel(r rune) bool {
	if unicode.IsUpper(r) || unicode.IsTitle(r) || unicode.Is(replaced, r) {
		return false
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd) || strings.ContainsRune(contextual, r)
}

// replaced are blocks whose characters NFC composes or replaces: they can't be in a label (RFC 5891, section 4.2.1).
var replaced = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0300, Hi: 0x036f, Stride: 1}, // combining diacritical marks
		{Lo: 0x1100, Hi: 0x11ff, Stride: 1}, // Hangul Jamo
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, // CJK compatibility ideographs
		{Lo: 0xfb00, Hi: 0xfb4f, Stride: 1}, // alphabetic presentation forms
	},
	R32: []unicode.Range32{{Lo: 0x2f800, Hi: 0x2fa1f, Stride: 1}}, // CJK compatibility ideographs supplement
}

// decodePunycode is the decoder of RFC 3492, section 6.2.
func decodePunycode(encoded string) ([]rune, bool) {
	var out []rune
	switch delimiter := strings.LastIndexByte(encoded, '-'); {
	case delimiter == 0:
		return nil, false
	case delimiter > 0:
		out = []rune(encoded[:delimiter])
		encoded = encoded[delimiter+1:]
	}
	n, i, bias := int32(punyInitialN), int32(0), int32(punyInitialBias)
	for encoded != "" {
		delta, rest, ok := punyInteger(encoded, bias)
		if !ok || delta > math.MaxInt32-i {
			return nil, false
		}
		length := int32(len(out)) + 1 //nolint:gosec // A label has no more than 63 characters.
		bias = punyAdapt(delta, length, i == 0)
		i += delta
		if i/length > unicode.MaxRune-n {
			return nil, false
		}
		n += i / length
		i %= length
		out = append(out[:i], append([]rune{n}, out[i:]...)...)
		i++
		encoded = rest
	}
	return out, true
}

// punyInteger reads one number of variable length.
func punyInteger(encoded string, bias int32) (value int32, rest string, ok bool) {
	weight := int32(1)
	for k := int32(punyBase); encoded != ""; k += punyBase {
		digit, valid := punyDigit(encoded[0])
		encoded = encoded[1:]
		if !valid || digit > (math.MaxInt32-value)/weight {
			return 0, "", false
		}
		value += digit * weight
		threshold := min(max(k-bias, punyTMin), punyTMax)
		if digit < threshold {
			return value, encoded, true
		}
		if weight > math.MaxInt32/(punyBase-threshold) {
			return 0, "", false
		}
		weight *= punyBase - threshold
	}
	return 0, "", false
}

func punyDigit(c byte) (int32, bool) {
	switch {
	case c >= 'a' && c <= 'z':
		return int32(c - 'a'), true
	case c >= '0' && c <= '9':
		return int32(c-'0') + 26, true
	}
	return 0, false
}

func punyAdapt(delta, length int32, first bool) int32 {
	if delta /= 2; first {
		delta /= punyDamp / 2
	}
	delta += delta / length
	k := int32(0)
	for delta > (punyBase-punyTMin)*punyTMax/2 {
		delta /= punyBase - punyTMin
		k += punyBase
	}
	return k + (punyBase-punyTMin+1)*delta/(delta+punySkew)
}
