package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/countersign/countersign/internal/bench"
)

// compareFaces compares a verification by /v1 to one by SignalWire's API, on one server. The two take turns in one run.
func compareFaces(binaries string) error {
	ctx := context.Background()
	db, err := openDatabase(ctx, 0)
	if err != nil {
		return err
	}
	defer db.close(ctx)
	sinkAddr, err := freeAddress()
	if err != nil {
		return err
	}
	in, err := install(binaries, posting(sinkAddr, db.url), onOneDatabase(db.filled)...)
	if err != nil {
		return err
	}
	defer os.RemoveAll(in.dir)
	s, err := in.serve()
	if err != nil {
		return err
	}
	defer s.stop()

	t := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| concurrent\t| SignalWire's CPU µs\t| the database's\t| /v1's CPU µs\t| the database's\t| ratio of CPU\t| ratio of rates\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, c := range numbers(*atOnce) {
		var cpu, databaseCPU [2][]float64
		var cpuRatio, rateRatio []float64
		for range *rounds {
			var both [2]outcome
			for i, face := range []bench.Face{bench.SignalWire, bench.V1} {
				if both[i], err = driveFace(in, db, []*program{s}, sinkAddr, c, face); err != nil {
					return fmt.Errorf("%s, %d at once: %w", face, c, err)
				}
				cpu[i], databaseCPU[i] = append(cpu[i], both[i].cpu), append(databaseCPU[i], both[i].databaseCPU)
			}
			cpuRatio = append(cpuRatio, (both[1].cpu+both[1].databaseCPU)/(both[0].cpu+both[0].databaseCPU))
			rateRatio = append(rateRatio, both[1].PerSecond/both[0].PerSecond)
		}
		fmt.Fprintf(t, "| %d\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t| %.2f\t| %.2f\t|\n",
			c, median(cpu[0]), median(databaseCPU[0]), median(cpu[1]), median(databaseCPU[1]), median(cpuRatio), median(rateRatio))
	}
	return t.Flush()
}
