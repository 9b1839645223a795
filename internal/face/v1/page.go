package v1

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

// A page selects a part of a list that is in the order of its ids. New entries don't move the pages.
type page struct {
	After string `json:"after,omitempty" doc:"The cursor next of the page before."`
	Limit *int   `json:"limit,omitempty" minimum:"1" maximum:"200" default:"50" doc:"How many."`
}

// page returns where a page begins, and how many entries it may have.
func (s *Server) page(c face.Call, in page) (after verify.ID, limit int, err error) {
	if in.After != "" {
		if after, err = verify.ParseID(in.After); err != nil {
			c.In.Wrong("after", "is no cursor of a page")
		}
	}
	limit = pageLimit(&c, in.Limit)
	if len(c.In.Problems) > 0 {
		return after, limit, s.Invalid(c.In, nil)
	}
	return after, limit, nil
}

// pageLimit is how many entries a page may have.
func pageLimit(c *face.Call, given *int) int {
	if given == nil {
		return defaultLimit
	}
	if *given < 1 || *given > maxLimit {
		c.In.Wrong("limit", "must be an integer from 1 to "+strconv.Itoa(maxLimit))
	}
	return *given
}

// cut takes a page out of a list that is in the order of its ids, as the API writes its entries.
func cut[T, W any](all []T, after verify.ID, limit int, id func(T) verify.ID, wire func(T) W) (some []W, next string) {
	if !after.IsZero() {
		from, _ := slices.BinarySearchFunc(all, after, func(v T, after verify.ID) int {
			one := id(v)
			if c := bytes.Compare(one[:], after[:]); c != 0 {
				return c
			}
			return -1 // behind it
		})
		all = all[from:]
	}
	if len(all) > limit {
		all, next = all[:limit], id(all[limit-1]).String()
	}
	some = make([]W, len(all))
	for i, v := range all {
		some[i] = wire(v)
	}
	return some, next
}
