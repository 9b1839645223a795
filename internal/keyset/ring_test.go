package keyset

import "testing"

// key returns a key with a print. A second letter makes it another key with the
// same id.
func key(name string) Print {
	p := Print{ID: uint32(name[0])}
	copy(p.Sum[:], name)
	return p
}

func keysNamed(names ...string) (all []Print) {
	for _, n := range names {
		all = append(all, key(n))
	}
	return all
}

// server makes rows with the first of its keys, unless a "-" precedes it.
func server(names ...string) Holder {
	if names[0] == "-" {
		return Holder{Prints: keysNamed(names[1:]...)}
	}
	return Holder{Prints: keysNamed(names...), Primary: uint32(names[0][0])}
}

func TestWhichKeyMakesRows(t *testing.T) {
	t.Parallel()
	type servers []Holder
	for name, test := range map[string]struct {
		mine            []Print
		wanted, current byte
		others          servers
		primary, lacks  byte
	}{
		"alone":                          {keysNamed("a", "b"), 'b', 'a', nil, 'b', 0},
		"the others have it":             {keysNamed("a", "b"), 'b', 'a', servers{server("a", "b"), server("b", "a")}, 'b', 0},
		"one lacks it":                   {keysNamed("a", "b"), 'b', 'a', servers{server("a", "b"), server("a")}, 'a', 0},
		"one lacks it, and we just came": {keysNamed("a", "b"), 'b', 'b', servers{server("a")}, 'a', 0},
		"we lack theirs":                 {keysNamed("b"), 'b', 'b', servers{server("a", "b")}, 0, 'a'},
		"strangers":                      {keysNamed("b"), 'b', 'b', servers{server("a")}, 0, 'a'},
		"they lack ours":                 {keysNamed("a", "b"), 'b', 'b', servers{server("a"), server("-", "c")}, 'a', 0},
		"who makes none doesn't count":   {keysNamed("b"), 'b', 'b', servers{server("-", "a")}, 'b', 0},
		"another key by the same id":     {keysNamed("ax"), 'a', 'a', servers{server("ay")}, 0, 'a'},
		"none that all have":             {keysNamed("a", "b", "c"), 'c', 'c', servers{server("a"), server("b")}, 0, 0},
		"the wanted one isn't there":     {keysNamed("a"), 'b', 'a', nil, 'a', 0},
	} {
		primary, lacks := Choose(test.mine, uint32(test.wanted), uint32(test.current), test.others)
		if primary != uint32(test.primary) || lacks != uint32(test.lacks) {
			t.Errorf("%s: got %q, lacking %q; want %q, lacking %q", name, rune(primary), rune(lacks), test.primary, test.lacks)
		}
	}
}

func TestAPrintNamesAKeyAndTellsNothingElse(t *testing.T) {
	t.Parallel()
	a, b := newSet(t), newSet(t)
	first, wanted := a.Prints()
	if len(first) != 1 || first[0].ID != wanted || wanted != a.Primary() {
		t.Fatalf("got the prints %v, primary %d", first, wanted)
	}
	again, err := fromPRFs(a.now.Load().Set)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := again.Prints(); second[0] != first[0] {
		t.Error("the same key has another print")
	}
	if other, _ := b.Prints(); other[0].Sum == first[0].Sum {
		t.Error("another key has the same print")
	}
	for _, label := range []string{labelMAC, labelSeal} {
		made, err := a.compute(wanted, Binding{}.encode(label, ""))
		if err != nil {
			t.Fatal(err)
		}
		if [printSize]byte(made) == first[0].Sum {
			t.Errorf("the print is what %q gives", label)
		}
	}
}

func TestAKeyIsUsedAsChosen(t *testing.T) {
	t.Parallel()
	set, other := newSet(t), newSet(t)
	old := set.Primary()
	set.Use(old + 1)
	if got := set.Primary(); got != old {
		t.Errorf("a key that isn't there is used: %d", got)
	}
	set.Replace(other)
	if got := set.Primary(); got != 0 {
		t.Errorf("without the chosen key, %d makes rows; want none", got)
	}
	if _, wanted := other.Prints(); !set.Has(wanted) || set.Has(old) {
		t.Error("it has other keys than those that replaced it")
	}
	set.Use(other.Primary())
	if got := set.Primary(); got != other.Primary() {
		t.Errorf("the chosen key isn't used: %d", got)
	}
	set.Use(0)
	if got := set.Primary(); got != 0 {
		t.Errorf("none was chosen, and %d makes rows", got)
	}
}
