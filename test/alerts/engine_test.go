package alerts

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// The queries are evaluated by Prometheus's engine, on series in Prometheus's notation for tests. What is done here is what
// is simple: keeping the series, and waiting for as long as "for" says. Prometheus's own promtool would do all of it, and
// takes a thousand packages with it, of every cloud there is.

// fired is an alert that fires: its labels, and its annotations with their templates expanded.
type fired struct {
	labels, annotations map[string]string
}

// watcher evaluates a rule again and again, as Prometheus does.
type watcher struct {
	rule    rule
	wait    time.Duration
	results map[int64][]promql.Sample // of the expression, by time in milliseconds
	pending map[string]time.Time      // since when, by labels
}

// watch evaluates the rule's expression from the beginning to the end.
func watch(t *testing.T, rule rule, series memory, every, until time.Duration) *watcher {
	t.Helper()
	wait := model.Duration(0)
	if rule.For != "" {
		var err error
		if wait, err = model.ParseDuration(rule.For); err != nil {
			t.Fatal(err)
		}
	}
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	defer func() { _ = engine.Close() }()
	begin := time.UnixMilli(0)
	query, err := engine.NewRangeQuery(t.Context(), series, nil, rule.Expr, begin, begin.Add(until), every)
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	w := &watcher{rule, time.Duration(wait), map[int64][]promql.Sample{}, map[string]time.Time{}}
	for _, series := range matrix {
		for _, point := range series.Floats {
			w.results[point.T] = append(w.results[point.T], promql.Sample{T: point.T, F: point.F, Metric: series.Metric})
		}
	}
	return w
}

// at returns what fires at a time. It must be asked for each time, one after the other.
func (w *watcher) at(t *testing.T, now time.Time) []fired {
	t.Helper()
	var firing []fired
	pending := map[string]time.Time{}
	for _, sample := range w.results[now.UnixMilli()] {
		key := sample.Metric.String()
		since, known := w.pending[key]
		if !known {
			since = now
		}
		pending[key] = since
		if now.Sub(since) >= w.wait {
			firing = append(firing, w.fire(t, sample, now))
		}
	}
	w.pending = pending
	return firing
}

func (w *watcher) fire(t *testing.T, sample promql.Sample, now time.Time) fired {
	t.Helper()
	found := fired{sample.Metric.Map(), map[string]string{}}
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
	definitions := "{{$labels := .Labels}}{{$value := .Value}}"
	for name, text := range w.rule.Annotations {
		expanded, err := template.NewTemplateExpander(t.Context(), definitions+text, w.rule.Alert, data,
			model.TimeFromUnixNano(now.UnixNano()), nil, nil, nil).Expand()
		if err != nil {
			t.Errorf("%s: annotation %s: %v", w.rule.Alert, name, err)
		}
		found.annotations[name] = expanded
	}
	maps.Copy(found.labels, w.rule.Labels)
	return found
}

// memory holds the series of a test.
type memory []recorded

type recorded struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// record reads a series in Prometheus's notation for tests.
func record(t *testing.T, series, values string, interval time.Duration) recorded {
	t.Helper()
	metric, sequence, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(series + " " + values)
	if err != nil {
		t.Fatalf("%s: %v", series, err)
	}
	read := recorded{labels: metric}
	for i, value := range sequence {
		if !value.Omitted {
			read.samples = append(read.samples, sample{int64(i) * interval.Milliseconds(), value.Value})
		}
	}
	return read
}

// Querier implements storage.Queryable.
func (m memory) Querier(from, to int64) (storage.Querier, error) {
	return querier{storage.NoopQuerier(), m, from, to}, nil
}

type querier struct {
	storage.Querier

	memory   memory
	from, to int64
}

// Select implements storage.Querier.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, series := range q.memory {
		differs := func(m *labels.Matcher) bool { return !m.Matches(series.labels.Get(m.Name)) }
		if slices.ContainsFunc(matchers, differs) {
			continue
		}
		first, last := q.within(series.samples)
		found = append(found, storage.NewListSeries(series.labels, series.samples[first:last]))
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &seriesSet{SeriesSet: storage.EmptySeriesSet(), all: found}
}

// within returns where the samples of the querier's time begin and end.
func (q querier) within(samples []chunks.Sample) (first, last int) {
	compare := func(s chunks.Sample, at int64) int { return int(s.T() - at) }
	first, _ = slices.BinarySearchFunc(samples, q.from, compare)
	last, _ = slices.BinarySearchFunc(samples, q.to+1, compare)
	return first, max(first, last)
}

// seriesSet is the simplest storage.SeriesSet.
type seriesSet struct {
	storage.SeriesSet // that is empty: no error, no warnings

	all []storage.Series
	n   int
}

func (s *seriesSet) Next() bool {
	s.n++
	return s.n <= len(s.all)
}

func (s *seriesSet) At() storage.Series { return s.all[s.n-1] }

// sample is a float at a time, in milliseconds.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
