package main

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plot how many certificates a second were made by each contender, by how many there were, into an SVG file.
func (r *results) plot(path string) error {
	p := plot.New()
	p.Title.Text = "Certificates per second, from the first create to all Ready"
	p.X.Label.Text = "number of certificates"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min = 0
	p.Legend.Top = false
	lines, names := map[string]plotter.XYs{}, []string{}
	for _, m := range r.order {
		n := r.median(m, plotted)
		if math.IsNaN(n) {
			continue
		}
		if !slices.Contains(names, m.who) {
			names = append(names, m.who)
		}
		lines[m.who] = append(lines[m.who], plotter.XY{X: n, Y: r.median(m, rate)})
	}
	var all []any
	for _, name := range names {
		all = append(all, name, lines[name])
	}
	if err := plotutil.AddLinePoints(p, all...); err != nil {
		return err
	}
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, path)
}
