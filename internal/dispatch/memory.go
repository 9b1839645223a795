package dispatch

import (
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/internal/verify"
)

// maxRemembered is how many messages are remembered.
const maxRemembered = 8192

// A memory keeps the messages whose attempts failed here, as they were committed, until they are due. Most are due again
// in this process, and reading them back costs a fifth of a retry. What has happened to one meanwhile doesn't matter:
// its claim decides on the row.
type memory struct {
	mu  sync.Mutex // guards all
	all *simplelru.LRU[verify.ID, verify.Overdue]
}

func newMemory() *memory {
	all, err := simplelru.NewLRU[verify.ID, verify.Overdue](maxRemembered, nil)
	if err != nil { // of a size below 1
		panic(err)
	}
	return &memory{all: all}
}

// keep remembers a message after an attempt, if it waits for the next one. One that called is read again: only the
// row says exactly when its phone last rang.
func (m *memory) keep(end *verify.Delivery, v *verify.Verification, j *job) {
	if v.Delivery != verify.DeliveryQueued {
		return
	}
	history := append(slices.Clip(j.history), *end)
	if slices.ContainsFunc(history, func(d verify.Delivery) bool { return d.Channel == "" || d.Channel.IsCall() }) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.Add(v.ID, verify.Overdue{Verification: v, Deliveries: history})
}

// take returns the message of a hint, once: a message that stays due is read again. A hint that isn't for when it was
// put off to was left since.
func (m *memory) take(h verify.Hint) (verify.Overdue, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.all.Peek(h.ID)
	if !ok || !o.Verification.DueAt.Equal(h.Due) {
		return verify.Overdue{}, false
	}
	m.all.Remove(h.ID)
	return o, true
}
