package plan

import "time"

// times is when the last of several changes will be in use everywhere.
type times struct {
	delay   time.Duration
	at      time.Time
	unknown bool // of one it isn't known when it happened
}

func newTimes(delay time.Duration) times { return times{delay: delay} }

// always is the time of a change for those who never had anything else.
var always = time.Unix(0, 0)

// add a change at a time. One that isn't known, or is ahead of the clock, is counted from when this process saw it first.
func (t *times) add(since, now time.Time) {
	if since.IsZero() || since.After(now.Add(clockSkew)) {
		t.unknown = true
		return
	}
	t.at = latest(t.at, since.Add(t.delay))
}

// held is for how long this process must have seen the changes: on its own clock, which no step of the machine's clock and
// no other leader's clock can shorten.
func (t *times) held() time.Duration {
	if t.unknown {
		return t.delay
	}
	return min(t.delay, kubeletLag)
}
