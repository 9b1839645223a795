package store_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
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
	{"WhatItLeavesIsNotRead", TestWhatAProjectLeavesIsNotRead, false},
	{"TheSlowerOfTwo", TestTheSlowerOfTwoMovesLeavesNothing, false},
}

const testMoveOnCitus = "TestMoveProjectOnCitus"

// What a move promises on PostgreSQL, on Citus.
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
			m.place(name)
			continue
		}
		schema := "verify_" + name
		if layout == oneWorker && name == "b" { // Citus puts new schemas on each worker in turn
			execute(m.t, coordinator, "CREATE SCHEMA between")
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
