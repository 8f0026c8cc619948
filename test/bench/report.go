package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Names of figures. Those of requests are the request after requestPrefix.
const (
	rate          = "certs/s"
	p50           = "p50 s"
	p99           = "p99 s"
	seconds       = "took s"
	writes        = "writes"
	reads         = "reads"
	cpuOwn        = "CPU ms"
	cpuAPI        = "API server ms"
	cpuEtcd       = "etcd ms"
	idleCPU       = "% of a core"
	peak          = "RSS peak MiB"
	settled       = "RSS MiB"
	bytesDirty    = "etcd bytes"
	bytesClean    = "compacted"
	plotted       = "plotted at" // a number of certificates
	requestPrefix = "request "
)

// columns of the table, in their order.
var columns = []string{
	rate, p50, p99, seconds, writes, reads, cpuOwn, cpuAPI, cpuEtcd, idleCPU, peak, settled, bytesDirty, bytesClean,
}

// measurement is what was measured: of whom, and at what.
type measurement struct{ what, who string }

// results are the figures of all runs, in the order in which they were first measured.
type results struct {
	order []measurement
	runs  map[measurement][]figures
}

func (r *results) add(what, who string, f figures) {
	m := measurement{what, who}
	if r.runs == nil {
		r.runs = map[measurement][]figures{}
	}
	if _, known := r.runs[m]; !known {
		r.order = append(r.order, m)
	}
	r.runs[m] = append(r.runs[m], f)
}

// median of a figure, NaN where it wasn't measured.
func (r *results) median(m measurement, name string) float64 {
	var all []float64
	for _, f := range r.runs[m] {
		if value, measured := f[name]; measured {
			all = append(all, value)
		}
	}
	return median(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return all[middle]
	}
	return (all[middle-1] + all[middle]) / 2
}

// ratio to the floor in the same run, as the median of the runs.
func (r *results) ratio(m measurement, name string) float64 {
	floor := r.runs[measurement{m.what, "floor"}]
	var all []float64
	for i, f := range r.runs[m] {
		value, measured := f[name]
		if i < len(floor) && measured && floor[i][name] != 0 {
			all = append(all, value/floor[i][name])
		}
	}
	return median(all)
}

// table writes everything in Markdown: the medians, and behind a × the ratio to the floor.
func (r *results) table(w io.Writer) {
	fmt.Fprintln(w, "| what | who | "+strings.Join(columns, " | ")+" |")
	fmt.Fprintln(w, "| --- | --- |"+strings.Repeat(" ---: |", len(columns)))
	for _, m := range r.order {
		fmt.Fprintf(w, "| %s | %s |", m.what, m.who)
		for _, column := range columns {
			fmt.Fprintf(w, " %s |", r.cell(m, column))
		}
		fmt.Fprintln(w)
	}
}

func (r *results) cell(m measurement, column string) string {
	value := r.median(m, column)
	if math.IsNaN(value) {
		return ""
	}
	text := short(value)
	if ratio := r.ratio(m, column); m.who != "floor" && !math.IsNaN(ratio) {
		text += fmt.Sprintf(" (×%.2f)", ratio)
	}
	return text
}

// short writes a number with three digits.
func short(value float64) string {
	switch magnitude := math.Abs(value); {
	case value == 0:
		return "0"
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", value)
	case magnitude >= 10:
		return fmt.Sprintf("%.1f", value)
	case magnitude >= 1:
		return fmt.Sprintf("%.2f", value)
	default:
		return fmt.Sprintf("%.4f", value)
	}
}

// requests writes what each certificate cost in requests, by verb and resource.
func (r *results) requests(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range r.order {
		names := map[string]bool{}
		for _, f := range r.runs[m] {
			for name := range f {
				if strings.HasPrefix(name, requestPrefix) {
					names[name] = true
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.what, m.who, strings.TrimPrefix(name, requestPrefix), short(r.median(m, name)))
		}
	}
	_ = table.Flush()
}
