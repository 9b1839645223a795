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
	fmt.Fprintln(t, "| rows\t| replicas\t| at once\t| verifications/s\t| floor's\t| ratio\t| CPU µs\t| database's\t| floor's\t| ratio\t| start p99 ms\t| message p99 ms\t| check p99 ms\t|")
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

// The plot's measures, in pixels.
const (
	plotWidth, plotHeight = 360, 240
	plotLeft, plotTop     = 60, 40
	plotGap               = 100
)

// plot draws two charts: verifications a second and CPU for one, over how many at once.
func (r *report) plot() string {
	var b strings.Builder
	width := 2*(plotLeft+plotWidth) + plotGap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`+"\n", width, plotTop+plotHeight+120)
	r.chart(&b, plotLeft, "verifications/s", func(p point) float64 { return p.PerSecond }, func(p point) float64 { return p.FloorRate })
	r.chart(&b, 2*plotLeft+plotWidth+plotGap/2, "CPU with the database's, µs a verification", func(p point) float64 { return p.CPU + p.DatabaseCPU }, func(p point) float64 { return p.FloorCPU })
	b.WriteString("</svg>\n")
	return b.String()
}

var colors = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#ff7f0e"}

func (r *report) chart(b *strings.Builder, left int, title string, server, floor func(point) float64) {
	type series struct{ rows, replicas int }
	var all []series
	var atOnce []int
	top := 0.0
	for _, p := range r.Points {
		top = max(top, server(p), floor(p))
		if of := (series{p.Rows, p.Replicas}); !slices.Contains(all, of) {
			all = append(all, of)
		}
		if !slices.Contains(atOnce, p.Concurrency) {
			atOnce = append(atOnce, p.Concurrency)
		}
	}
	top *= 1.1
	x := func(concurrency int) int {
		return left + plotWidth*slices.Index(atOnce, concurrency)/max(len(atOnce)-1, 1)
	}
	y := func(v float64) int { return plotTop + plotHeight - int(v/top*plotHeight) }
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", left, title)
	for i := range 5 {
		v := top / 4 * float64(i)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#ddd"/><text x="%d" y="%d" text-anchor="end">%.0f</text>`+"\n", left, left+plotWidth, y(v), y(v), left-6, y(v)+4, v)
	}
	for _, n := range atOnce {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%d</text>`+"\n", x(n), plotTop+plotHeight+18, n)
	}
	line := func(n int, name, dash string, points []point, value func(point) float64) {
		var path strings.Builder
		for _, p := range points {
			fmt.Fprintf(&path, "%d,%d ", x(p.Concurrency), y(value(p)))
		}
		color := colors[n%len(colors)]
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", path.String(), color, dash, left+n%3*plotWidth/3, plotTop+plotHeight+40+n/3*16, color, name)
	}
	for i, n := range all {
		of := slices.DeleteFunc(slices.Clone(r.Points), func(p point) bool { return n != series{p.Rows, p.Replicas} })
		name := fmt.Sprintf("%d rows", n.rows)
		if n.replicas > 1 {
			name += fmt.Sprintf(", %d replicas", n.replicas)
		}
		line(i, name, "", of, server)
		if i == 0 {
			line(len(all), "floor", ` stroke-dasharray="5 4"`, of, floor)
		}
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555">verifications at once</text>`+"\n", left, plotTop+plotHeight+110)
}
