package store_test

import (
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// Where two shards are that are schemas of Citus, and by which server each is reached.
const (
	byCoordinator  = "by the coordinator" // the schemas are on two workers
	byWorkers      = "by the workers"     // each by the one that holds it
	oneWorker      = "one worker"
	byOtherWorkers = "by the other workers" // each by the one that doesn't hold it
	halfCitus      = "half"                 // a is on Citus, and b on PostgreSQL
)

// movesOnCitus are the tests of moves that are run on Citus as well: all by the coordinator, and elsewhere those of what differs there.
var movesOnCitus = []struct {
	name       string
	test       func(*testing.T)
	everywhere bool
}{
	{"BringsAll", TestMoveProjectBringsAll, true},
	{"GoesOnAfterACrash", TestMoveProjectGoesOnAfterACrash, false},
	{"WaitsForWhatIsUnderWay", TestMoveProjectWaitsForWhatIsUnderWay, true},
	{"AReplicaMissesIt", TestAReplicaThatMissedAMoveDecidesNothing, true},
	{"KeepsWhatIsVoid", TestMoveProjectKeepsWhatIsVoid, false},
	{"TwoCommands", TestTwoCommandsMoveAProjectOnce, true},
	{"NeedsServersOfBothShards", TestMoveProjectNeedsServersOfBothShards, false},
	{"StopsWhereTheTurnIsLost", TestMoveProjectStopsWhereTheTurnIsLost, false},
	{"AShardYields", TestAShardThatLostTheFenceYields, false},
	{"LetsServersForget", TestMoveProjectLetsServersForgetWhenItGoesOn, false},
	{"LeavesAnothersFence", TestAMoveLeavesAnothersFence, false},
	{"BringsNothingIntoAnothers", TestAMoveBringsNothingIntoAnothers, false},
	{"KeepsTheLaterAnswer", TestAMoveKeepsTheLaterAnswer, false},
	{"OthersDoNotWait", TestOthersDoNotWaitForAMove, false},
	{"DeletesWhatIsFolded", TestMoveProjectDeletesWhatIsFoldedMeanwhile, false},
	{"IsOfOneMoment", TestACopyIsOfOneMoment, true},
	{"WhatItLeavesIsNotRead", TestWhatAProjectLeavesIsNotRead, false},
	{"TheSlowerOfTwo", TestTheSlowerOfTwoMovesLeavesNothing, false},
	{"StoodStill", TestAMoveThatStoodStillDeletesNothing, false},
	{"AnAbortNamesTheShard", TestAnAbortNamesTheMovesShard, false},
	{"AnAbortComesLate", TestAnAbortThatComesLateFencesNothing, false},
	{"CodesAreVoid", TestCodesAreVoidWhereTheTurnIsLost, false},
	{"ForgivesAStandby", TestAMoveForgivesAStandbyThatHadAll, false},
	{"GetsALease", TestAMessageUnderWayGetsALeaseFromTheTurnOn, false},
	{"StandsStill", TestAMoveStandsStillForAShortTime, true},
	{"BothWays", TestProjectsDoNotMoveBothWaysAtOnce, false},
}

const testMoveOnCitus = "TestMoveProjectOnCitus"

// A move keeps the same promises on Citus as on PostgreSQL.
func TestMoveProjectOnCitus(t *testing.T) {
	t.Parallel()
	pgtest.CitusURL(t)
	for _, layout := range []string{byCoordinator, byWorkers, byOtherWorkers, oneWorker, halfCitus} {
		t.Run(layout, func(t *testing.T) {
			for _, m := range movesOnCitus {
				if m.everywhere || layout == byCoordinator {
					t.Run(m.name, m.test)
				}
			}
		})
	}
}

// onCitus says where the shards of a test shall be, if it is one of TestMoveProjectOnCitus.
func onCitus(t *testing.T) (layout string, on bool) {
	parts := strings.Split(t.Name(), "/")
	if parts[0] != testMoveOnCitus {
		return "", false
	}
	return strings.ReplaceAll(parts[1], "_", " "), true
}

// placeOnCitus makes the shards there.
func (m *moveTest) placeOnCitus(layout string) {
	m.t.Helper()
	coordinator, workers := pgtest.CitusDatabase(m.t)
	for _, name := range []string{"a", "b"} {
		if layout == halfCitus && name == "b" {
			m.addShard(name, storetest.SchemaIn(m.t, "verify_"+name))
			continue
		}
		schema := "verify_" + name
		if layout == oneWorker && name == "b" { // Citus puts new schemas on each worker in turn
			execute(m.t, coordinator, "SET citus.enable_schema_based_sharding = on; CREATE SCHEMA between")
		}
		fillSchema(m.t, coordinator, schema)
		worker := holder(m.t, coordinator, schema)
		m.workers[name] = worker
		at := coordinator
		switch layout {
		case byWorkers:
			at = worker
		case byOtherWorkers:
			at = workers[0]
			if at == worker {
				at = workers[1]
			}
		}
		m.addShard(name, at)
	}
	if together := m.workers["a"] == m.workers["b"]; together != (layout == oneWorker) && layout != halfCitus {
		m.t.Fatalf("the schemas are on one worker: %t; this shows nothing", together)
	}
}

// citusMove makes two shards on two workers. It returns the ways to the shard a: by the coordinator, by its worker and by the other one.
func citusMove(t *testing.T) (m *moveTest, ways map[string]string) {
	t.Helper()
	m = &moveTest{t: t, shards: map[string]store.Shard{}, stores: map[string]*store.Store{}, workers: map[string]string{}}
	m.placeOnCitus(byCoordinator)
	m.fill("p", "a")
	m.fill("q", "a")
	return m, map[string]string{byCoordinator: m.shards["a"].URL, byWorkers: m.workers["a"], byOtherWorkers: m.workers["b"]}
}

// A move by the coordinator waits for a transaction that has read the fence before, whichever way that came. It gives up before the fence
// beside one that stands still.
func TestMoveProjectOnCitusWaitsWhicheverWayAGroupCame(t *testing.T) {
	t.Parallel()
	m, ways := citusMove(t)
	from, to := "a", "b"
	for way, url := range ways {
		if from != "a" {
			_, err := store.MoveProject(ctx, m.moving(from, to))
			m.demand(err)
			from, to = to, from
		}
		db, err := sql.Open("pgx", pgtest.InSchema(url, "verify_a"))
		m.demand(err)
		defer db.Close()
		group := func() *sql.Tx { // as a group begins
			tx, err := db.Begin()
			m.demand(err)
			_, err = tx.Exec(store.CitusStay)
			m.demand(err)
			_, err = tx.Exec(`SELECT id, xmin FROM watermark WHERE name = 'void'`)
			m.demand(err)
			return tx
		}
		still := group()
		w := m.moving(from, to)
		w.Progress = func(step string) {
			if step == "fenced" {
				t.Errorf("%s: the project is fenced for nothing", way)
			}
		}
		if _, err := store.MoveProject(ctx, w); err == nil || !strings.Contains(err.Error(), "don't end that began before") {
			t.Errorf("%s, a transaction that stands still: got %v", way, err)
		}
		m.demand(still.Rollback())
		var late *sql.Tx
		var committed atomic.Bool
		ended := make(chan error, 1)
		w = m.moving(from, to)
		w.At(func(step string) error {
			switch step {
			case "expected":
				late = group()
			case "fenced":
				time.AfterFunc(200*time.Millisecond, func() { // a move that doesn't wait is through by then
					_, err := late.Exec(`UPDATE verification SET guesses = guesses + 1 WHERE id = $1`, m.open.ID[:])
					committed.Store(true)
					ended <- errors.Join(err, late.Commit())
				})
			case "alone":
				if !committed.Load() {
					t.Errorf("%s: the move goes on before a group that hasn't seen the fence is committed", way)
				}
			}
			return nil
		})
		guesses := query[int](t, pgtest.InSchema(m.shards[from].URL, "verify_"+from), `SELECT guesses FROM verification WHERE id = $1`, m.open.ID[:])
		_, err = store.MoveProject(ctx, w)
		m.demand(err)
		m.demand(<-ended)
		if got := query[int](t, pgtest.InSchema(m.shards[to].URL, "verify_"+to), `SELECT guesses FROM verification WHERE id = $1`, m.open.ID[:]); got != guesses+1 {
			t.Errorf("%s: %d guesses have arrived, want %d", way, got, guesses+1)
		}
		from, to = to, from
	}
}

// A transaction that runs alone doesn't decide by a snapshot that is older than the fence, though its first lock is later. It fails, and is
// run again.
func TestAloneOnCitusDoesNotPassAFenceByAnOldSnapshot(t *testing.T) {
	t.Parallel()
	m, ways := citusMove(t)
	snapshots, replicas := map[string]*sql.Tx{}, map[string]*store.Store{}
	begin := func(way string, isolation sql.IsolationLevel) *sql.Tx {
		db, err := sql.Open("pgx", pgtest.InSchema(ways[way], "verify_a"))
		m.demand(err)
		t.Cleanup(func() { db.Close() })
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: isolation})
		m.demand(err)
		t.Cleanup(func() { tx.Rollback() })
		return tx
	}
	for way, url := range ways {
		replicas[way] = schemaReplica(t, url, "verify_a")
		snapshots[way] = begin(way, sql.LevelRepeatableRead)
		_, err := snapshots[way].Exec(`SELECT FROM project`) // it shows no lock of the watermarks
		m.demand(err)
	}
	_, err := store.MoveProject(ctx, m.moving("a", "b"))
	m.demand(err)
	for way, tx := range snapshots {
		if err := store.BeginOf(ctx, replicas[way], tx, "p"); !store.Raced(err) {
			t.Errorf("%s, with a snapshot from before the fence: got %v, want it run again", way, err)
		}
		for _, isolation := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelReadCommitted} {
			if err := store.BeginOf(ctx, replicas[way], begin(way, isolation), "p"); !errors.Is(err, verify.ErrMoving) {
				t.Errorf("%s, %v after the fence: got %v, want %v", way, isolation, err, verify.ErrMoving)
			}
			if err := store.BeginOf(ctx, replicas[way], begin(way, isolation), "q"); err != nil {
				t.Errorf("%s, %v, another project: got %v", way, isolation, err)
			}
		}
	}
}

// A schema doesn't move to another worker while a project moves, nor the other way round. One that is moved by hand holds up the move or
// stops it, and nothing is lost.
func TestASchemaStaysWhileAProjectMoves(t *testing.T) {
	t.Parallel()
	m, _ := citusMove(t)
	w := m.moving("a", "b")
	var tried []string
	w.At(func(step string) error {
		if step != "expected" && step != "alone" && step != "left" {
			return nil
		}
		for _, shard := range []string{"a", "b"} {
			if step == "expected" && shard == "a" || step == "left" && shard == "b" {
				continue
			}
			tried = append(tried, step+" "+shard)
			if _, err := store.MoveSchema(ctx, m.shards[shard].Postgres, "", "operator", func(int, int) {}); err == nil || !strings.Contains(err.Error(), "project p is being moved") {
				t.Errorf("the schema of shard %s, at %q: got %v", shard, step, err)
			}
		}
		return nil
	})
	_, err := store.MoveProject(ctx, w)
	m.demand(err)
	if len(tried) != 4 {
		t.Errorf("tried %q: this shows nothing", tried)
	}
	for _, shard := range []string{"a", "b"} {
		_, err := m.db(shard).Exec(`INSERT INTO server (name, system, timeline, incarnation) VALUES ('next', '1', '', '')`) // as the command does first
		m.demand(err)
		if _, err := store.MoveProject(ctx, m.moving("b", "a")); err == nil || !strings.Contains(err.Error(), "shard "+shard+" is being moved to another worker") {
			t.Errorf("while the schema of shard %s moves: got %v", shard, err)
		}
		if decides, key := m.here(m.stores["b"]); !decides || key != nil {
			t.Errorf("after that: decides: %t, its key: %v", decides, key)
		}
		_, err = m.db(shard).Exec(`DELETE FROM server WHERE name = 'next'`)
		m.demand(err)
	}
	want := m.rows("p", "b")
	w = m.moving("b", "a")
	w.At(func(step string) error {
		if step == "alone" {
			execute(t, m.shards["b"].URL, `SELECT citus_schema_move('verify_b', w.nodename, w.nodeport) FROM pg_dist_node w WHERE shouldhaveshards
				AND (w.nodename, w.nodeport) NOT IN (SELECT nodename, nodeport FROM citus_shards WHERE table_name = 'verify_b.verification'::regclass)`)
		}
		return nil
	})
	if _, err := store.MoveProject(ctx, w); err != nil {
		t.Logf("it stops: %v", err)
		_, err = store.MoveProject(ctx, m.moving("b", "a"))
		m.demand(err)
	}
	got := m.rows("p", "a")
	for _, table := range []string{"retry", "verification", "made_with"} { // what was pending may be void
		if table == "verification" && len(got[table]) != len(want[table]) {
			t.Errorf("%d verifications have arrived, want %d", len(got[table]), len(want[table]))
		}
		delete(got, table)
		delete(want, table)
	}
	m.same("rows that arrived", got, want)
}

// The worker's limits, which a session's settings don't reach, don't end the move either.
func TestMoveProjectHasNoTimeLimitOnCitus(t *testing.T) {
	t.Parallel()
	m, _ := citusMove(t)
	for _, worker := range m.workers {
		execute(t, worker, `SET citus.enable_ddl_propagation = off; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = 200', current_database()); END $$`)
	}
	m.stands("a", "b")
}

// Servers name a schema alike whichever way they are connected, and not as one of another cluster.
func TestCitusNamesASchemaAmongAllClusters(t *testing.T) {
	t.Parallel()
	m, ways := citusMove(t)
	want := m.stores["a"].Database()
	if system := query[string](t, m.workers["a"], `SELECT system_identifier::text FROM pg_control_system()`); !strings.HasPrefix(want, system+".") {
		t.Errorf("got name %s, want one with the worker's identifier %s", want, system)
	}
	for way, url := range ways {
		if got := schemaReplica(t, url, "verify_a").Database(); got != want {
			t.Errorf("%s: got name %s, want %s", way, got, want)
		}
	}
	if m.stores["b"].Database() == want {
		t.Error("two schemas have one name")
	}
}

// A move looks at the standbys of the worker that holds the schema, whichever server it asks.
func TestMoveProjectLooksAtTheWorkersStandby(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCitus(t)
	fillSchema(t, c.URL(), "verify_a")
	worker := c.Holder(t, "verify_a")
	behind := func(by *pgtest.Cluster) string {
		return query[string](t, pgtest.InSchema(c.URLBy(by), "verify_a"), store.StandbysBehind, "FFFFFFFF/FFFFFFFF")
	}
	if got := behind(c.Coordinator); got != "" {
		t.Errorf("without a standby: got %q", got)
	}
	c.Standby(t, worker)
	for name, by := range map[string]*pgtest.Cluster{"the coordinator": c.Coordinator, "the worker": c.Workers[worker], "the other worker": c.Workers[1-worker]} {
		await(t, "no standby is seen by "+name, func() bool { return behind(by) != "" })
	}
}

// While somebody writes a fence and stands still, what runs alone for other projects fails soon, holds up nobody, and the database isn't taken
// for away.
func TestAloneOnCitusDoesNotWaitForAFence(t *testing.T) {
	t.Parallel()
	m, ways := citusMove(t)
	for way, url := range ways {
		s := schemaReplica(t, url, "verify_a")
		still, err := m.db("a").Begin()
		m.demand(err)
		_, err = still.Exec(`UPDATE watermark SET id = id WHERE name = 'void'`)
		m.demand(err)
		app := verify.Application{ID: verify.NewID(time.Now()), Project: "q", Name: "shop", Version: 1}
		alone := make(chan error, 8)
		for range cap(alone) { // behind them are all others
			go func() { alone <- s.CreateApplication(ctx, app, false, 10) }()
		}
		for range cap(alone) {
			if err := <-alone; !store.Raced(err) || !errors.Is(err, verify.ErrBusy) {
				t.Errorf("%s: what runs alone: got %v, want that others were faster", way, err)
			}
		}
		v := pending(time.Now(), number(1))
		v.Project = "q"
		if err := s.Start(ctx, v, verify.Limits{}, time.Hour); err != nil {
			t.Errorf("%s: a start of another project meanwhile: got %v", way, err)
		}
		m.demand(still.Rollback())
		m.demand(s.CreateApplication(ctx, app, false, 10))
		m.demand(s.DeleteApplication(ctx, "q", app.ID, 0))
	}
}

// The turn is in doubt when a server fails between the phases of its commit. The command ends it, and other projects go on meanwhile.
func TestATurnInDoubtIsEnded(t *testing.T) {
	t.Parallel()
	for _, failed := range []string{"worker", "coordinator"} {
		t.Run(failed, func(t *testing.T) {
			t.Parallel()
			c := pgtest.NewCitus(t)
			m := &moveTest{t: t, shards: map[string]store.Shard{}, stores: map[string]*store.Store{}, workers: map[string]string{}}
			for project, shard := range map[verify.ProjectID]string{"p": "a", "r": "b"} {
				fillSchema(t, c.URL(), "verify_"+shard)
				m.workers[shard] = c.URLBy(c.Workers[c.Holder(t, "verify_"+shard)])
				m.addShard(shard, c.URL())
				m.fill(project, shard)
			}
			set := func(text string) {
				c.Coordinator.Exec(t, "postgres", "ALTER SYSTEM "+text)
				c.Coordinator.Exec(t, "postgres", "SELECT pg_reload_conf()")
			}
			set("SET citus.recover_2pc_interval = -1") // the command has to ask for it
			worker := c.Workers[c.Holder(t, "verify_b")]
			prepared := func() bool { return query[bool](t, c.URLBy(worker), `SELECT EXISTS (SELECT FROM pg_prepared_xacts)`) }
			want := m.rows("p", "a")

			w := m.moving("a", "b")
			w.At(func(step string) error {
				switch step {
				case "fitted":
					set("SET synchronous_standby_names = 'nobody'") // the coordinator waits between the phases
				case "turned":
					if failed == "worker" && !prepared() {
						t.Error("the turn isn't in doubt: this shows nothing")
					}
					m.othersGoOn("b", "r")
					if err := m.stores["b"].CreateText(ctx, verify.TextTemplate{ID: verify.NewID(time.Now()), Project: "r", Name: "x", Texts: []verify.Text{{Text: "{code}"}}, Version: 1}, 9); failed == "worker" && !errors.Is(err, verify.ErrBusy) {
						t.Errorf("what runs alone meanwhile: got %v, want %v", err, verify.ErrBusy)
					}
				}
				return nil
			})
			moved := make(chan error, 1)
			go func() {
				_, err := store.MoveProject(ctx, w)
				moved <- err
			}()
			await(t, "the coordinator doesn't wait between the phases", func() bool {
				return prepared() && query[bool](t, c.URL(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')`)
			})
			if failed == "worker" {
				worker.Kill(t)
				worker.Start(t)
				set("RESET synchronous_standby_names")
				m.demand(<-moved)
			} else {
				c.Coordinator.Kill(t)
				c.Coordinator.Start(t)
				set("RESET synchronous_standby_names")
				if err := <-moved; err == nil || !strings.Contains(err.Error(), "run the command again") {
					t.Errorf("got %v, want that the command is to be run again", err)
				}
				done, err := store.MoveProject(ctx, m.moving("a", "b"))
				m.demand(err)
				if done.Rows != 0 {
					t.Errorf("%d rows were copied once more", done.Rows)
				}
			}
			if prepared() {
				t.Error("the turn is still in doubt")
			}
			got := m.rows("p", "b")
			delete(got, "retry")
			delete(want, "retry")
			m.same("rows that arrived", got, want)
			left := m.rows("p", "a")
			delete(left, "audit")
			m.same("rows that are left", left, map[string][]string{})
		})
	}
}

// othersGoOn checks that a project's verifications are started while the turn of another one is in doubt.
func (m *moveTest) othersGoOn(shard string, p verify.ProjectID) {
	m.t.Helper()
	v := pending(time.Now(), number(60))
	v.Project = p
	if err := answered(m.t, func() error { return m.stores[shard].Start(ctx, v, verify.Limits{}, time.Hour) }); err != nil {
		m.t.Errorf("a start of project %s: %v", p, err)
	}
}
