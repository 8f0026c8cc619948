package alerts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// targetLabels are what Prometheus adds to each series; with honorLabels the operator's own namespace wins.
var targetLabels = []string{"namespace", "pod"}

// selectors of an expression, as text too.
func selectors(t *testing.T, expr string) []*parser.VectorSelector {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var all []*parser.VectorSelector
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			all = append(all, selector)
		}
		return nil
	})
	return all
}

// A metric, a label or a value that was renamed here and not there makes an alert that never fires.
func TestRulesLookAtWhatTheOperatorExports(t *testing.T) {
	series := exported(t)
	for _, rule := range rules(t) {
		found := selectors(t, rule.Expr)
		if len(found) == 0 {
			t.Errorf("%s looks at nothing", rule.Alert)
		}
		for _, selector := range found {
			if !slices.ContainsFunc(series, func(s labels.Labels) bool { return matches(selector, s) }) {
				t.Errorf("%s: the operator exports nothing like %s", rule.Alert, selector)
			}
		}
	}
}

// matches tells whether a selector takes the series, which must have each label that it asks for, also one that must not
// have some value.
func matches(selector *parser.VectorSelector, series labels.Labels) bool {
	for _, matcher := range selector.LabelMatchers {
		excludes := matcher.Type == labels.MatchNotEqual || matcher.Type == labels.MatchNotRegexp
		if !series.Has(matcher.Name) || !excludes && !matcher.Matches(series.Get(matcher.Name)) {
			return false
		}
	}
	return true
}

// Tests on series that don't exist would prove nothing.
func TestTheTestsHaveSeriesAsTheOperatorExportsThem(t *testing.T) {
	names := map[string][]string{}
	for _, series := range exported(t) {
		names[series.Get(model.MetricNameLabel)] = labelNames(series)
	}
	for file, content := range caseFiles(t) {
		for _, test := range content.Tests {
			for _, input := range test.InputSeries {
				series := parseSeries(t, input.Series)
				want, exists := names[series.Get(model.MetricNameLabel)]
				if !exists || !slices.Equal(want, labelNames(series)) {
					t.Errorf("%s: %s, exported are labels %v, or nothing of that name", file, input.Series, want)
				}
			}
		}
	}
}

// labelNames of a series, in order, without those that Prometheus adds.
func labelNames(series labels.Labels) []string {
	var names []string
	series.Range(func(label labels.Label) {
		if !slices.Contains(targetLabels, label.Name) {
			names = append(names, label.Name)
		}
	})
	return slices.Sorted(slices.Values(names))
}

// A life in which a rule has nothing to look at says nothing about it.
func TestTheLifeHasEverythingThatRulesLookAt(t *testing.T) {
	parts := strings.Builder{}
	for _, test := range caseFiles(t)[filepath.Join("testdata", "life.yaml")].Tests {
		for _, input := range test.InputSeries {
			parts.WriteString(input.Series + "\n")
		}
	}
	for _, rule := range rules(t) {
		for _, selector := range selectors(t, rule.Expr) {
			if !strings.Contains(parts.String(), selector.Name+"{") {
				t.Errorf("%s looks at %s, which no series of life.yaml has", rule.Alert, selector.Name)
			}
		}
	}
}

// The file of series names the Lease as cmd/manager does, which is a program and can't be imported.
func TestTheLeaseIsTheManagers(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "cmd", "manager", "manager.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\bleaseName += "([^"]+)"`).FindSubmatch(content)
	named := func(s labels.Labels) bool {
		return s.Get(model.MetricNameLabel) == "leader_election_master_status" && s.Get("name") == string(found[1])
	}
	if found == nil || !slices.ContainsFunc(exported(t), named) {
		t.Errorf("cmd/manager has the leader's Lease %q", found)
	}
}
