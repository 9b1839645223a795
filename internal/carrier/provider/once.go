package provider

import (
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxUsed is how many signatures a carrier remembers, the latest ones: some 10 MB.
const maxUsed = 1 << 16

// Used are signatures that have been taken, so that who has seen one can't use it again. Only proven ones
// come here: nobody without the key makes it forget. A server that was restarted, or another one, knows
// nothing of them.
type used struct {
	mu   sync.Mutex // guards seen
	seen *simplelru.LRU[[sha256.Size]byte, struct{}]
}

func newUsed(most int) *used {
	seen, err := simplelru.NewLRU[[sha256.Size]byte, struct{}](most, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &used{seen: seen}
}

// take reports whether none of some marks has been taken before, and takes them.
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

// giveBack lets marks be taken again, because what they came with wasn't carried out.
func (u *used) giveBack(marks []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range marks {
		u.seen.Remove(sha256.Sum256([]byte(m)))
	}
}
