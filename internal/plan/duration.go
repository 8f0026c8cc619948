package plan

import (
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// parseDuration reads a duration of the API, or returns unset where there is none. The schema's pattern keeps out what
// cannot be parsed; objects stored before the pattern may still have it.
func parseDuration(field string, text v1alpha1.Duration, unset time.Duration) (time.Duration, error) {
	if text == "" {
		return unset, nil
	}
	duration, err := time.ParseDuration(string(text))
	if err != nil || duration < 0 {
		return 0, pki.FieldErrors{{Field: field, Message: "must be hours, minutes and seconds such as 2160h or 1h30m"}}
	}
	return duration, nil
}
