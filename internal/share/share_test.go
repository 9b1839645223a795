package share

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// takeAll takes places until none is left, and returns their number and the
// final answer.
func takeAll(p *Places, who string, now time.Time) (n int, why Answer) {
	for ; ; n++ {
		if why = p.Take(who, now); why != Taken {
			return n, why
		}
	}
}

func TestWhoeverIsAloneHasAllPlaces(t *testing.T) {
	t.Parallel()
	p := New(80, 80)
	if n, why := takeAll(p, "a", start); n != 80 || why != Full || p.Taken() != 80 {
		t.Errorf("got %d places, then %v", n, why)
	}
}

func TestOneThatComesFindsPlacesWhileAnotherHasManyOfThem(t *testing.T) {
	t.Parallel()
	p := New(80, 80)
	p.Take("b", start)
	p.Give("b")
	now := start.Add(10 * time.Second) // b wants nothing, but is known
	if n, why := takeAll(p, "a", now); n != 70 || why != Full {
		t.Errorf("beside one that is known: got %d places, then %v, want all but an eighth", n, why)
	}
	if n, _ := takeAll(p, "b", now); n != 10 {
		t.Errorf("the one that comes got %d places, want those that were kept", n)
	}
	if got := p.Take("a", now); got != Spent {
		t.Errorf("one that has more than its share: got %v, want Spent", got)
	}
	for range 31 { // one more than what is above its share
		p.Give("a")
	}
	if n, why := takeAll(p, "a", now); n != 1 || why != Spent {
		t.Errorf("one that has nearly its share: got %d more, then %v", n, why)
	}
	if n, why := takeAll(p, "b", now); n != 30 || why != Spent {
		t.Errorf("the other got %d more, then %v, want its share", n, why)
	}
	for range 40 {
		p.Give("a")
	}
	later := now.Add(known)
	for range 40 {
		p.Give("b")
	}
	p.Take("a", later)
	if n, _ := takeAll(p, "a", later.Add(counting)); n != 79 {
		t.Errorf("an hour later: got %d more, want all", n)
	}
}

// Places that nobody wants aren't reserved for holders that want few.
func TestMoreThanAShareWhileHalfIsFree(t *testing.T) {
	t.Parallel()
	p := New(80, 80)
	for i := range 20 {
		p.Take(fmt.Sprint(i), start)
	}
	if n, why := takeAll(p, "a", start); n != 20 || why != Spent {
		t.Errorf("beside twenty that have one each: got %d, then %v, want half of all places taken", n, why)
	}
}

func TestFewerPlacesWhileSeveralWantSome(t *testing.T) {
	t.Parallel()
	p := New(800, 80)
	p.Take("b", start)
	if n, _ := takeAll(p, "a", start); n != 40 {
		t.Errorf("got %d, want a half of those that are shared", n)
	}
	if n, _ := takeAll(p, "a", start.Add(time.Second)); n != 0 {
		t.Errorf("got %d more", n)
	}
}

// There are never more places taken than exist. A holder with less than its share always finds a place
// while one is free.
func TestPlacesAreNeverMoreThanThereAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.IntRange(1, 40).Draw(t, "all")
		p, now, held := New(all, rapid.IntRange(1, 40).Draw(t, "shared")), start, map[string]int{}
		sum := func() (n int) {
			for _, h := range held {
				n += h
			}
			return n
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			who := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "who")
			now = now.Add(time.Duration(rapid.IntRange(-100, 3000).Draw(t, "ms")) * time.Millisecond)
			if held[who] > 0 && rapid.Bool().Draw(t, "give") {
				p.Give(who)
				held[who]--
				continue
			}
			before := sum()
			got := p.Take(who, now)
			if got == Taken {
				held[who]++
			}
			if before < all && held[who] < min(all, p.shared)/4 && before < all-all/8 && got != Taken {
				t.Fatalf("%s with %d of %d places, %d taken: %v", who, held[who], all, before, got)
			}
		}
		if n := sum(); n > all || p.Taken() != n {
			t.Fatalf("%d of %d places are taken, it says %d", n, all, p.Taken())
		}
	})
}

func TestAQueueServesHoldersInTurn(t *testing.T) {
	t.Parallel()
	var q Queue[string]
	for _, s := range strings.Fields("a1 a2 a3 a4 b1 b2 c1") {
		q.Add(s[:1], s)
	}
	var got []string
	for range 4 {
		s, _ := q.Next()
		got = append(got, s)
	}
	q.Add("c", "c2")
	q.Add("b", "b3")
	for s, ok := q.Next(); ok; s, ok = q.Next() {
		got = append(got, s)
	}
	if want := strings.Fields("a1 b1 c1 a2 b2 a3 c2 b3 a4"); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Taking a place costs a request only the lock.
func TestTakingAPlaceAllocatesNothing(t *testing.T) {
	p := New(100, 100)
	p.Take("b", start)
	if n := testing.AllocsPerRun(1000, func() { p.Take("a", start); p.Give("a") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	var q Queue[int]
	for i := range 10 {
		q.Add("b", i)
	}
	if n := testing.AllocsPerRun(1000, func() { q.Add("a", 1); q.Add("b", 2); q.Next(); q.Next() }); n > 0 {
		t.Errorf("%v allocations of a queue", n)
	}
}
