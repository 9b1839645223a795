package provider

import (
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxUsed is the number of signatures that a carrier remembers. It drops the
// oldest; all take some 10 MB.
const maxUsed = 1 << 16

// used holds the signatures that were accepted, so that nobody who has seen one can use it again. It
// holds proven signatures only, so that outsiders can't evict them. The memory isn't shared between
// replicas and doesn't survive a restart.
type used struct {
	mu   sync.Mutex // guards seen
	seen *simplelru.LRU[[sha256.Size]byte, struct{}]
}

func newUsed(most int) *used {
	seen, err := simplelru.NewLRU[[sha256.Size]byte, struct{}](most, nil)
	if err != nil {
		panic(err) // NewLRU fails only for a size below 1
	}
	return &used{seen: seen}
}

// take adds some marks. It reports false, and adds none of them, if one was
// there before.
func (u *used) take(marks []string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.ContainsFunc(marks, func(m string) bool { return u.seen.Contains(sha256.Sum256([]byte(m))) }) {
		return false
	}
	for _, m := range marks {
		u.seen.Add(sha256.Sum256([]byte(m)), struct{}{})
	}
	return true
}

// giveBack removes marks, because their request wasn't carried out.
func (u *used) giveBack(marks []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range marks {
		u.seen.Remove(sha256.Sum256([]byte(m)))
	}
}
