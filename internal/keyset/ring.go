package keyset

import (
	"cmp"
	"slices"

	"github.com/tink-crypto/tink-go/v2/prf"
)

// printSize is enough for two keys never to have the same print.
const printSize = 16

// A Print names a key, also to servers that don't have it. It is the key's PRF of a fixed label that
// nothing else is made with, so it tells nothing about the key or about what the key has made.
type Print struct {
	ID  uint32
	Sum [printSize]byte
}

// labelPrint keeps prints apart from the other uses of a key.
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

// A Holder is a server, and the keys that it has.
type Holder struct {
	Server  [16]byte
	Prints  []Print
	Primary uint32 // makes its new rows; 0: none does
}

// Has reports whether a server has a key.
func (h Holder) Has(p Print) bool { return slices.Contains(h.Prints, p) }

// Choose decides which key makes a server's new rows. It is the wanted one as soon as all other servers that
// make rows have it; until then it is the current one, or another that all have. primary is 0 if there is no
// such key. It is also 0 if the server lacks a key that another server makes rows with; lacks names that key.
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
