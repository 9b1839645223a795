package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes the tables of docs/performance.md.
func (r *report) print() {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| rows\t| replicas\t| concurrent\t| verifications/s\t| floor's\t| ratio\t| CPU µs\t| database's\t| floor's\t| ratio\t| start p99 ms\t| message p99 ms\t| check p99 ms\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, p := range r.Points {
		fmt.Fprintf(t, "| %d\t| %d\t| %d\t| %.0f\t| %.0f\t| %.2f\t| %.0f\t| %.0f\t| %.0f\t| %.2f\t| %.1f\t| %.1f\t| %.1f\t|\n",
			p.Rows, p.Replicas, p.Concurrency, p.PerSecond, p.FloorRate, p.RateRatio, p.CPU, p.DatabaseCPU, p.FloorCPU, p.CPURatio, p.StartP99, p.MessageP99, p.CheckP99)
	}
	fmt.Fprintln(t, "\n| pending rows\t| resident memory\t| for each idle connection\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|")
	for _, m := range r.Memory {
		fmt.Fprintf(t, "| %d\t| %.1f MiB\t| %.1f KiB\t|\n", m.Rows, float64(m.Resident)/(1<<20), m.PerConnection/(1<<10))
	}
	t.Flush()
}

// The plot's dimensions, in pixels.
const (
	plotWidth, plotHeight = 360, 240
	plotLeft, plotTop     = 60, 40
	plotGap               = 100
	plotColumns, plotLine = 2, 16 // of the legend below
)

// plot draws two charts: verifications a second and CPU for one, over the number of concurrent
// verifications, or over the number of rows if the run has more sizes of the database.
func (r *report) plot() string {
	var b strings.Builder
	over := axis{"concurrent", "concurrent verifications", func(p point) int { return p.Concurrency }, r.Points}
	other := axis{"rows", "verifications in the database before", func(p point) int { return p.Rows }, r.Points}
	if len(other.marks()) > len(over.marks()) {
		over, other = other, over
	}
	all := r.series(other)
	height := plotTop + plotHeight + 80 + len(all)/plotColumns*plotLine
	width := 2*(plotLeft+plotWidth) + plotGap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`+"\n", width, height)
	chart(&b, plotLeft, "verifications/s", over, all, func(p point) float64 { return p.PerSecond }, func(p point) float64 { return p.FloorRate })
	chart(&b, 2*plotLeft+plotWidth+plotGap/2, "CPU with the database's, µs a verification", over, all, func(p point) float64 { return p.CPU + p.DatabaseCPU }, func(p point) float64 { return p.FloorCPU })
	b.WriteString("</svg>\n")
	return b.String()
}

// An axis is the horizontal axis, or the property that distinguishes the lines.
type axis struct {
	short, title string
	of           func(point) int
	points       []point
}

// marks returns the distinct values, in the order of the run.
func (a axis) marks() (all []int) {
	for _, p := range a.points {
		if !slices.Contains(all, a.of(p)) {
			all = append(all, a.of(p))
		}
	}
	return all
}

// A series holds the points of one line.
type series struct {
	name   string
	points []point
}

func (r *report) series(by axis) (all []series) {
	for _, p := range r.Points {
		name := fmt.Sprintf("%d %s", by.of(p), by.short)
		if p.Replicas > 1 {
			name += fmt.Sprintf(", %d replicas", p.Replicas)
		}
		i := slices.IndexFunc(all, func(s series) bool { return s.name == name })
		if i < 0 {
			i, all = len(all), append(all, series{name: name})
		}
		all[i].points = append(all[i].points, p)
	}
	return all
}

var colors = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#ff7f0e"}

func chart(b *strings.Builder, left int, title string, over axis, all []series, server, floor func(point) float64) {
	marks, top := over.marks(), 0.0
	for _, p := range over.points {
		top = max(top, server(p), floor(p))
	}
	top *= 1.1
	x := func(mark int) int { return left + plotWidth*slices.Index(marks, mark)/max(len(marks)-1, 1) }
	y := func(v float64) int { return plotTop + plotHeight - int(v/top*plotHeight) }
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", left, title)
	for i := range 5 {
		v := top / 4 * float64(i)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#ddd"/><text x="%d" y="%d" text-anchor="end">%.0f</text>`+"\n", left, left+plotWidth, y(v), y(v), left-6, y(v)+4, v)
	}
	for _, m := range marks {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%d</text>`+"\n", x(m), plotTop+plotHeight+18, m)
	}
	line := func(n int, name, dash string, points []point, value func(point) float64) {
		var path strings.Builder
		for _, p := range points {
			fmt.Fprintf(&path, "%d,%d ", x(over.of(p)), y(value(p)))
		}
		color := colors[n%len(colors)]
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
			path.String(), color, dash, left+n%plotColumns*plotWidth/plotColumns, plotTop+plotHeight+40+n/plotColumns*plotLine, color, name)
	}
	for i, s := range all {
		line(i, s.name, "", s.points, server)
	}
	line(len(all), "floor", ` stroke-dasharray="5 4"`, all[0].points, floor)
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555">%s</text>`+"\n", left, plotTop+plotHeight+40+len(all)/plotColumns*plotLine+24, over.title)
}
