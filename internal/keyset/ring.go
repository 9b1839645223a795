package keyset

import (
	"cmp"
	"slices"

	"github.com/tink-crypto/tink-go/v2/prf"
)

// printSize is large enough that two keys never have the same print.
const printSize = 16

// A Print identifies a key, even to servers that don't hold it. It is the key's PRF of a label with
// no other use, so it reveals nothing about the key or the rows it made.
type Print struct {
	ID  uint32
	Sum [printSize]byte
}

// labelPrint separates prints from the other uses of a key.
const labelPrint = "countersign key print v1"

// printsOf returns the prints of keys, sorted by the keys' ids.
func printsOf(prfs *prf.Set) ([]Print, error) {
	var all []Print
	for id := range prfs.PRFs {
		sum, err := compute(prfs, id, Binding{}.encode(labelPrint, ""))
		if err != nil {
			return nil, err
		}
		all = append(all, Print{id, [printSize]byte(sum)})
	}
	slices.SortFunc(all, func(a, b Print) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// A Holder is a server and the keys that it holds.
type Holder struct {
	Server  [16]byte
	Prints  []Print
	Primary uint32   // makes its new rows; 0 if no key does
	Serves  []string // the names of the databases that it serves; none: it is of a version that doesn't know that projects move
	Host    string   // the machine that it is on
}

// Has reports whether the server holds a key.
func (h Holder) Has(p Print) bool { return slices.Contains(h.Prints, p) }

// Lacks returns those of some keys that the server doesn't hold.
func (h Holder) Lacks(some []Print) []Print {
	return slices.DeleteFunc(slices.Clone(some), h.Has)
}

// Choose returns the id of the key that makes a server's new rows. It is wanted, once all other servers that
// make rows hold that key. Until then it is current, or another server's primary key that all of them hold.
// primary is 0 if there is no such key, or if the server lacks another server's primary key; lacks is the id
// of that key.
func Choose(mine []Print, wanted, current uint32, others []Holder) (primary, lacks uint32) {
	candidates := []uint32{wanted, current}
	for _, o := range others {
		if o.Primary == 0 {
			continue
		}
		if theirs, ok := find(o.Prints, o.Primary); !ok || !slices.Contains(mine, theirs) {
			return 0, o.Primary
		}
		candidates = append(candidates, o.Primary)
	}
	for _, id := range candidates {
		p, ok := find(mine, id)
		lacked := func(o Holder) bool { return o.Primary != 0 && !o.Has(p) }
		if ok && !slices.ContainsFunc(others, lacked) {
			return id, 0
		}
	}
	return 0, 0
}

func find(all []Print, id uint32) (Print, bool) {
	i := slices.IndexFunc(all, func(p Print) bool { return p.ID == id })
	if i < 0 {
		return Print{}, false
	}
	return all[i], true
}
