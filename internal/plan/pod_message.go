package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Lengths in bytes. The names are so short that the longest message has room for what to do.
const (
	longestMessage = 499
	longestName    = 63
)

func (r ConsumerRef) compare(other ConsumerRef) int {
	return cmp.Or(cmp.Compare(r.Kind, other.Kind), cmp.Compare(r.Namespace, other.Namespace), cmp.Compare(r.Name, other.Name))
}

// words name a consumer to whom the pod is known.
func (r ConsumerRef) words() string {
	if r.Kind == ConsumerTrustBundle {
		return "the ClusterTrustBundles of signer " + quote(r.Name)
	}
	return string(r.Kind) + " " + quote(r.Name)
}

// message says why the pod is stuck and what to do. It is the same for the same reasons, whatever the time, so that what is
// reported doesn't change by itself. What matters most comes first; what there is no room for is left out.
func (s *podState) message() string {
	var head, tail string
	for _, part := range []string{s.oldMessage(), s.nodeMessage(), s.endMessage()} {
		switch {
		case part == "":
		case head == "":
			head = part
		case len(head)+len(tail)+len("; ")+len(part) <= longestMessage:
			tail += "; " + part
		}
	}
	return clip(head+s.likewise(longestMessage-len(head)-len(tail))+tail, longestMessage)
}

func (s *podState) endMessage() string {
	if !s.terminating() {
		return ""
	}
	return "it is terminating, and counts until " + stamp(s.gone())
}

func (s *podState) nodeMessage() string {
	node, ready := quote(s.Pod.Spec.NodeName), !s.NodeReadySince.IsZero()
	switch {
	case len(s.followed) == 0 || s.nodeWell():
		return ""
	case len(s.old) > 0 && ready: // what there is to do was said
		return fmt.Sprintf("its node %s is Ready only since %s", node, stamp(s.NodeReadySince))
	case len(s.old) > 0:
		return fmt.Sprintf("its node %s isn't Ready", node)
	case ready:
		return fmt.Sprintf("uses %s and its node %s is Ready only since %s: kubelet has updated its files by %s",
			s.followed[0].words(), node, stamp(s.NodeReadySince), stamp(s.NodeReadySince.Add(s.delay)))
	default:
		return fmt.Sprintf("uses %s and its node %s isn't Ready: kubelet can't update its files. Repair or remove the node, "+
			"or delete the pod", s.followed[0].words(), node)
	}
}

// oldMessage tells of the first container, and what to do about all of them.
func (s *podState) oldMessage() string {
	if len(s.old) == 0 {
		return ""
	}
	first, after := s.old[0], s.after()
	if first.ByName != "" {
		return fmt.Sprintf("container %q projects ClusterTrustBundle %s by name, and this one never holds other roots: "+
			"project it by signerName %s, and replace the pod after %s", clip(first.Container, longestName), quote(first.ByName),
			quote(first.Consumer.Name), after)
	}
	started := "was started at an unknown time"
	if !first.started.IsZero() {
		started = "was started at " + stamp(first.started)
	}
	deed := fmt.Sprintf("restart it after %s, for example by deleting the pod", after)
	if slices.ContainsFunc(s.old, func(u oldUse) bool { return u.OnlyPod }) {
		deed = fmt.Sprintf("delete the pod after %s, restarting the container isn't enough", after)
	}
	return fmt.Sprintf("container %q uses %s %s and %s: %s",
		clip(first.Container, longestName), first.Consumer.words(), first.ReadOnce, started, deed)
}

// after is the time after which all containers that start have what is there now.
func (s *podState) after() string {
	latest := slices.MaxFunc(s.old, func(a, b oldUse) int { return a.renewed.Compare(b.renewed) })
	return stamp(latest.renewed)
}

// likewise names the other containers, as many as there is room for.
func (s *podState) likewise(room int) string {
	var others []string
	for _, use := range s.old {
		if name := strconv.Quote(use.Container); use.Container != s.old[0].Container && !slices.Contains(others, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	noun := "containers"
	if len(others) == 1 {
		noun = "container"
	}
	for named := len(others); named > 0; named-- {
		text := "; likewise " + noun + " " + strings.Join(others[:named], ", ")
		if named < len(others) {
			text += fmt.Sprintf(" and %d more", len(others)-named)
		}
		if len(text) <= room {
			return text
		}
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// quote a name, shortened if it is long.
func quote(name string) string { return strconv.Quote(clip(name, longestName)) }

// clip shortens a text to a number of bytes.
func clip(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
