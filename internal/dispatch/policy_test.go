package dispatch

import (
	"context"
	"testing"
	"time"
)

// Where each look at what operators have changed takes longer than what it found may be old, messages go out all the same.
func TestSlowLooksStopNoMessages(t *testing.T) {
	t.Parallel()
	d := &Dispatcher{calls: t.Context()}
	d.Looked(time.Now().Add(-time.Hour))
	sends := make(chan bool)
	go func() { sends <- d.awaitPolicy(0) }()
	looks := time.NewTicker(20 * time.Millisecond)
	defer looks.Stop()
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		select {
		case sent := <-sends:
			if !sent {
				t.Error("the message was given up")
			}
			return
		case began := <-looks.C:
			d.Looked(began)
		case <-limit.Done():
			t.Fatal("after a minute of looks, the message still waits")
		}
	}
}
