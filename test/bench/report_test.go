package main

import (
	"math"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.all); got != c.want {
			t.Errorf("of %v it is %v, want %v", c.all, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for percent, want := range map[float64]float64{50: 50, 99: 99, 100: 100, 0: 1} {
		if got := percentile(hundred, percent); got != want {
			t.Errorf("%v%%: %v, want %v", percent, got, want)
		}
	}
	if got := percentile([]float64{1, 2, 3}, 50); got != 2 {
		t.Errorf("the middle of three is %v", got)
	}
}

// The ratio is taken in each run, before the median is: what the machine did in one run hit both.
func TestARatioIsThatOfTheSameRun(t *testing.T) {
	all := &results{}
	for _, pair := range [][2]float64{{100, 90}, {10, 9}, {1000, 500}} {
		all.add("issuing", "floor", figures{rate: pair[0], plotted: 7})
		all.add("issuing", "operator", figures{rate: pair[1], plotted: 7})
	}
	if got := all.ratio(measurement{"issuing", "operator"}, rate); math.Abs(got-0.9) > 1e-9 {
		t.Errorf("it is %v, want 0.9", got)
	}
	var table strings.Builder
	all.table(&table)
	for _, want := range []string{"| issuing | floor | 100 |", "| issuing | operator | 90.0 (×0.90) |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	path := t.TempDir() + "/plot.svg"
	if err := all.plot(path); err != nil {
		t.Error(err)
	}
}

func TestWhatTheKernelTellsOfAProcess(t *testing.T) {
	line := "77 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0"
	pid, command, fields := parseStat([]byte(line))
	if pid != 77 || command != "a (b) c" || fields[4-3] != "1" || fields[14-3] != "250" {
		t.Errorf("it is read as %d, %q, %q", pid, command, fields)
	}
}

func TestRequestsOfAMeasurement(t *testing.T) {
	after := counts{"POST secrets": 5, "GET secrets": 2, "POST mtlscertificates": 9, "LIST pods": 1}
	got := after.since(counts{"POST secrets": 2, "GET secrets": 2})
	if got.writes() != 3 || got.reads() != 1 || len(got) != 2 {
		t.Errorf("they are %v", got)
	}
}
