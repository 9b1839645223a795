package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
)

// A tried is a try with what came of it.
type tried struct {
	config.Try
	config.Finding
}

// connect tries all that a configuration relies on, concurrently. Each try ends after the limit.
func connect(ctx context.Context, conf *config.Loaded, limit time.Duration, progress func(done, all int)) []tried {
	tries := append(tryDatabases(conf), conf.Tries(time.Now())...)
	all := make([]tried, len(tries))
	ended := make(chan struct{}, len(tries))
	var running sync.WaitGroup
	for i, t := range tries {
		running.Go(func() {
			all[i] = tried{t, runTry(ctx, t, limit)}
			ended <- struct{}{}
		})
	}
	progress(0, len(tries))
	for done := range tries {
		<-ended
		progress(done+1, len(tries))
	}
	running.Wait()
	return all
}

// runTry runs a try, and leaves it behind if it doesn't end with its time.
func runTry(ctx context.Context, t config.Try, limit time.Duration) config.Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make(chan config.Finding, 1)
	go func() { found <- t.Run(ctx) }()
	select {
	case f := <-found:
		return f
	case <-time.After(limit + closing):
		return config.Finding{Status: config.Broken, Result: fmt.Sprintf("no answer within %v", limit), Advice: "check address and port, and whether a firewall lets this machine through"}
	}
}

// closing is how long a try may take to close its connections.
const closing = 2 * time.Second

// tryDatabases tries the database, or each shard.
func tryDatabases(conf *config.Loaded) (all []config.Try) {
	for _, s := range conf.Shards {
		all = append(all, tryDatabase(conf, "shard "+s.Name, s.Postgres))
	}
	if len(all) == 0 {
		all = append(all, tryDatabase(conf, "database", conf.Postgres))
	}
	return all
}

// tryDatabase tries a database, without changing it.
func tryDatabase(conf *config.Loaded, what string, pg *store.Postgres) config.Try {
	return config.Try{What: what, Run: func(ctx context.Context) config.Finding {
		t, err := store.Try(ctx, store.Options{Path: filepath.Join(conf.Folder(), system.DatabaseFile), Postgres: pg})
		if err != nil {
			advice := "data: check the folder and who owns it"
			if pg != nil {
				advice = cmp.Or(store.Remedy(err), "database.url: check it")
			}
			return config.Finding{Status: config.Broken, Result: config.OneLine(fmt.Sprintf("%s: %v", t.Name, err)), Advice: advice}
		}
		f := config.Finding{Status: config.Fine, Result: fmt.Sprintf("%s: %s, schema %d", t.Name, t.Engine, t.Schema)}
		switch {
		case t.Schema == 0:
			f.Result = t.Name + ": new; serve makes the tables"
		case t.Schema < t.Wanted:
			f.Result += fmt.Sprintf("; serve brings it to %d", t.Wanted)
		}
		return f
	}}
}

// printConnections prints what came of the tries, and fails if the server couldn't work.
func printConnections(w world, all []tried) error {
	if err := printRows(w, false, all, triedRow); err != nil {
		return err
	}
	return failedTries(all)
}

func triedRow(t tried) row {
	return row{{"WHAT", "what", t.What}, {"STATUS", "status", t.Status}, {"RESULT", "result", t.Result}, {"WHAT TO DO", "advice", t.Advice}}
}

// failedTries is an error that counts the tries that failed.
func failedTries(all []tried) error {
	failed := 0
	for _, t := range all {
		if t.Status == config.Broken {
			failed++
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 of these failed: the last column says what to do")
	}
	return fmt.Errorf("%d of these failed: the last column says what to do", failed)
}
