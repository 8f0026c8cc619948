package alerts

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAlertsFireInTheirCaseAndNotInTheLifeOfACA(t *testing.T) {
	for file, content := range caseFiles(t) {
		for _, test := range content.Tests {
			t.Run(filepath.Base(file)+"/"+test.Name, func(t *testing.T) {
				t.Parallel()
				var series memory
				for _, input := range test.InputSeries {
					series = append(series, record(t, input.Series, input.Values, time.Duration(test.Interval)))
				}
				for _, rule := range rules(t) {
					quiet := time.Duration(test.Quiet.Until)
					if quiet == 0 || slices.Contains(test.Quiet.But, rule.Alert) {
						quiet = -1
					}
					play(t, rule, series, time.Duration(content.EvaluationInterval), quiet, test.AlertRuleTest)
				}
			})
		}
	}
}

// play evaluates a rule from the beginning of a test to its end, and compares what fires.
func play(t *testing.T, rule rule, series memory, every, quiet time.Duration, expected []expectation) {
	t.Helper()
	last := quiet // less than nothing when the test isn't about this alert
	for _, at := range expected {
		if at.AlertName == rule.Alert {
			last = max(last, time.Duration(at.EvalTime))
		}
	}
	if last < 0 {
		return
	}
	w := watch(t, rule, series, every, last)
	for now := time.Duration(0); now <= last; now += every {
		firing := w.at(t, time.UnixMilli(now.Milliseconds()))
		if now <= quiet && len(firing) > 0 {
			t.Fatalf("after %s %s fires: %v", now, rule.Alert, firing)
		}
		for _, at := range expected {
			if at.AlertName == rule.Alert && time.Duration(at.EvalTime) == now {
				compare(t, rule, at, firing)
			}
		}
	}
}

// compare the alerts of a rule's severity with those that are expected of it.
func compare(t *testing.T, rule rule, at expectation, firing []fired) {
	t.Helper()
	var got, want []string
	for _, alert := range firing {
		got = append(got, fmt.Sprint(alert.labels, alert.annotations["summary"]))
	}
	for _, alert := range at.ExpAlerts {
		if alert.ExpLabels["severity"] == rule.Labels["severity"] {
			want = append(want, fmt.Sprint(alert.ExpLabels, alert.ExpAnnotations["summary"]))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("after %s, of %s (%s) fires\n%q, want\n%q", at.EvalTime, rule.Alert, rule.Labels["severity"], got, want)
	}
}

// firing returns the labels with which an alert of that severity fires in a test; silent, whether one says that it doesn't.
func firing(files map[string]cases, alert, severity string) (fires []map[string]string, silent bool) {
	for _, content := range files {
		for _, test := range content.Tests {
			for _, at := range test.AlertRuleTest {
				if at.AlertName != alert {
					continue
				}
				before := len(fires)
				for _, expected := range at.ExpAlerts {
					if expected.ExpLabels["severity"] == severity {
						fires = append(fires, expected.ExpLabels)
					}
				}
				silent = silent || len(fires) == before
			}
		}
	}
	return fires, silent
}

var usedLabel = regexp.MustCompile(`\$labels\.(\w+)`)

func TestEveryRuleHasATestInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	files := caseFiles(t)
	for _, rule := range rules(t) {
		severity := rule.Labels["severity"]
		fires, silent := firing(files, rule.Alert, severity)
		if len(fires) == 0 || !silent {
			t.Errorf("%s (%s) fires in %d tests, and it is %t that one says when it doesn't", rule.Alert, severity, len(fires), silent)
		}
		// What a text names must be there, or it says "MTLSAuthority /".
		for _, text := range rule.Annotations {
			for _, used := range usedLabel.FindAllStringSubmatch(text, -1) {
				has := func(labels map[string]string) bool { return labels[used[1]] != "" }
				if !slices.ContainsFunc(fires, has) {
					t.Errorf("%s (%s) tells of label %s, with which it never fires", rule.Alert, severity, used[1])
				}
			}
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, rule := range rules(t) {
		if key := rule.Alert + rule.Labels["severity"]; seen[key] {
			t.Errorf("%s is there twice with one severity", rule.Alert)
		} else {
			seen[key] = true
		}
		if !slices.Contains([]string{"info", "warning", "critical"}, rule.Labels["severity"]) {
			t.Errorf("%s has severity %q", rule.Alert, rule.Labels["severity"])
		}
		have := slices.Sorted(maps.Keys(rule.Annotations))
		if want := []string{"description", "runbook_url", "summary"}; !slices.Equal(have, want) {
			t.Errorf("%s has annotations %v, want %v", rule.Alert, have, want)
		}
		if strings.ContainsAny(rule.Annotations["summary"], "\n") || strings.Contains(rule.Annotations["summary"], "$value") {
			t.Errorf("%s: a summary is one line that stays the same while it fires", rule.Alert)
		}
		wantHeading(t, rule.Annotations["runbook_url"])
	}
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// wantHeading checks that the address is that of a heading of this repository's documentation.
func wantHeading(t *testing.T, address string) {
	t.Helper()
	path, within := strings.CutPrefix(address, "https://github.com/mtls-operator/mtls-operator/blob/main/")
	file, anchor, _ := strings.Cut(path, "#")
	if !within || anchor == "" {
		t.Errorf("%q isn't a heading of this repository", address)
		return
	}
	content, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Error(err)
		return
	}
	for line := range bytes.Lines(content) {
		heading, found := strings.CutPrefix(strings.TrimLeft(string(line), "#"), " ")
		if found && line[0] == '#' && anchor == anchorOf(heading) {
			return
		}
	}
	t.Errorf("%s has no heading #%s", file, anchor)
}

// anchorOf a heading, as GitHub makes it.
func anchorOf(heading string) string {
	plain := notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
	return strings.ReplaceAll(plain, " ", "-")
}
