package syniverse

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

var start = time.Date(2026, 5, 4, 13, 0, 0, 0, time.UTC)

// some returns applications in the order of their ids, as the service lists
// them.
func some() []verify.Application {
	return []verify.Application{
		{ID: verify.NewID(start), Name: "b", Length: 6, Life: 600 * time.Second, Format: code.Numeric, Channels: []verify.Channel{verify.ChannelSMS}, CreatedAt: start, UpdatedAt: start.Add(3 * time.Second)},
		{ID: verify.NewID(start), Name: "a", Length: 8, Life: 600 * time.Second, Format: code.Complex, Prefix: "G-", Channels: []verify.Channel{verify.ChannelVoice, verify.ChannelSMS}, CreatedAt: start, UpdatedAt: start},
		{ID: verify.NewID(start), Name: "a", Length: 6, Life: 30 * time.Second, Format: code.Numeric, From: "channel:x", Channels: []verify.Channel{verify.ChannelSMS}, CreatedAt: start.Add(time.Second), UpdatedAt: start.Add(time.Second)},
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	all := some()
	for raw, want := range map[string]struct {
		List  []int // their places in all
		Total int
	}{
		"":          {[]int{0, 1, 2}, 3},
		"limit=2":   {[]int{0, 1}, 3},
		"offset=1":  {[]int{1, 2}, 3},
		"offset=3":  {nil, 3},
		"offset=99": {nil, 3},
		"offset=99999999999999999999&limit=99999999999999999999": {nil, 3},
		"limit=1&offset=1": {[]int{1}, 3},
		"limit=&offset=&sort=&name=&auth_code_length=": {[]int{0, 1, 2}, 3},

		"sort=name":                 {[]int{1, 2, 0}, 3}, // equal ones stay in the order of their ids
		"sort=-name":                {[]int{0, 1, 2}, 3},
		"sort=auth_code_length":     {[]int{0, 2, 1}, 3},
		"sort=last_updated_date":    {[]int{1, 2, 0}, 3},
		"sort=-last_updated_date":   {[]int{0, 2, 1}, 3},
		"sort=-id":                  {newestFirst(all), 3},
		"sort=name&limit=1":         {[]int{1}, 3},
		"sort=-created_date&name=a": {[]int{2, 1}, 2},

		"name=a":                                        {[]int{1, 2}, 2},
		"name=A":                                        {nil, 0},
		"name=a&auth_code_length=6":                     {[]int{2}, 1},
		"name=a&limit=1":                                {[]int{1}, 2},
		"auth_code_length=06":                           {[]int{0, 2}, 2},
		"auth_code_length=99999999999999999999":         {nil, 0},
		"auth_token_type=COMPLEX":                       {[]int{1}, 1},
		"auth_token_type=numeric":                       {[]int{0, 2}, 2},
		"auth_token_validity_duration=30":               {[]int{2}, 1},
		"auth_token_prefix=G-":                          {[]int{1}, 1},
		"auth_token_delivery_methods=SMS":               {[]int{0, 2}, 2},
		"auth_token_delivery_methods=voice,+sms":        {[]int{1}, 1},
		"auth_token_delivery_methods=SMS,VOICE":         {nil, 0},
		"message_from=channel%3Ax":                      {[]int{2}, 1},
		"message_from=%20channel:x":                     {[]int{2}, 1},
		"created_date=" + fmt.Sprint(start.UnixMilli()): {[]int{0, 1}, 2},
		"created_date=2026-05-04T13:00:01.000Z":         {[]int{2}, 1},
		"created_date=2026-05-04T15:00:01%2B02:00":      {[]int{2}, 1},
		"last_updated_date=1":                           {nil, 0},
		"id=" + all[1].ID.Base62():                      {[]int{1}, 1},
		"id=nobody":                                     {nil, 0},

		// Only the published filters filter.
		"description=x&display_name=x&version_number=9&login_template=x&status=x&Name=x&anything": {[]int{0, 1, 2}, 3},
	} {
		got, _, total, err := page(raw, applicationFields, slices.Clone(all))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		var list []verify.Application
		for _, i := range want.List {
			list = append(list, all[i])
		}
		if diff := cmp.Diff(list, slices.Clone(got), cmp.Transformer("id", func(a verify.Application) string { return a.ID.Base62() })); diff != "" && len(list)+len(got) > 0 || total != want.Total {
			t.Errorf("%s: got total %d, want %d, list (-want +got):\n%s", raw, total, want.Total, diff)
		}
	}
}

// newestFirst returns the indexes of three applications, the greatest id first.
func newestFirst(all []verify.Application) []int {
	places := []int{0, 1, 2}
	slices.SortFunc(places, func(a, b int) int { return strings.Compare(all[b].ID.Base62(), all[a].ID.Base62()) })
	return places
}

func TestRefusedQueries(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"limit=0":                             "limit must be greater than or equal to 1",
		"limit=-1":                            "limit must be greater than or equal to 1",
		"limit=x":                             "limit must be an integer",
		"limit=1.5":                           "limit must be an integer",
		"offset=-1":                           "offset must be greater than or equal to 0",
		"limit=1&limit=1":                     "limit is there twice",
		"name=a&name=a":                       "name is there twice",
		"name=%ff":                            "name is not a text",
		"name=%00":                            "name is not a text",
		"name=%zz":                            "the query can't be read",
		"limit=1;offset=1":                    "the query can't be read",
		"auth_code_length=six":                "auth_code_length must be an integer",
		"created_date=yesterday":              "created_date must be a date, as milliseconds since 1970 or as 2026-11-21T21:27:02.500Z",
		"offset=x&auth_code_length=y&limit=0": "limit must be greater than or equal to 1; offset must be an integer",
	} {
		_, _, _, err := page(raw, applicationFields, some())
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", raw, err, want)
		}
	}
	for _, by := range []string{"description", "Name", "-", "--name", "name,id", "+name"} {
		_, _, _, err := page("sort="+url.QueryEscape(by), applicationFields, some())
		if err == nil || !strings.HasPrefix(err.Error(), "sort must be one of id, name, auth_code_length, ") {
			t.Errorf("sort=%s: got %v", by, err)
		}
	}
}

func TestUserFilter(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]verify.UserFilter{
		"":                             {},
		"id=kola":                      {Name: "kola"},
		"status=VALIDATION%20PENDING":  {Status: verify.UserPending},
		"status=VALIDATION+PENDING":    {Status: verify.UserPending},
		"status=VALIDATION_PENDING":    {Status: verify.UserPending},
		"status=validated&id=x":        {Status: verify.UserValidated, Name: "x"},
		"status=INITIAL":               {Status: verify.UserInitial},
		"created_date=1000":            {CreatedAt: time.UnixMilli(1000)},
		"created_date=0":               {CreatedAt: time.UnixMilli(0)},
		"created_date=-62135596800000": {CreatedAt: time.UnixMilli(0)}, // the zero time would be no filter
		"created_date=0001-01-01T00:00:00Z&last_updated_date=-1":                 {CreatedAt: time.UnixMilli(0), UpdatedAt: time.UnixMilli(0)},
		"last_updated_date=1970-01-01T00:00:01Z&user_address=x&version_number=x": {UpdatedAt: time.UnixMilli(1000)},
	} {
		q, err := parse(raw, userFilters, nil)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		got, err := userFilter(q)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", raw, err, diff)
		}
	}
	q, _ := parse("status=GONE&created_date=x", userFilters, nil)
	const want = "created_date must be a date, as milliseconds since 1970 or as 2026-11-21T21:27:02.500Z; status must be INITIAL, VALIDATION PENDING or VALIDATED"
	if _, err := userFilter(q); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// For any query, a page is a part of the entries that match its filters, or there is an error that
// the client can read.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "limit=1&offset=1", "limit=101", "sort=-name", "sort=id&name=a", "name=a&name=b", "status=VALIDATION+PENDING", "name=%zz", "name=%ff", "a;b", "%",
		"created_date=1777899600000", "created_date=2026-05-04T13:00:00Z", "auth_token_delivery_methods=,,", "limit=-9223372036854775808", "offset=1e3",
		"auth_code_length=6&auth_token_type=numeric&auth_token_validity_duration=600&auth_token_prefix=&message_from=", "sort=", "sort=-", "=", "&&", "id",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		all := some()
		got, q, total, err := page(raw, applicationFields, slices.Clone(all))
		if err != nil {
			var bad *face.Invalid
			if errors.As(err, &bad) && (len(bad.Problems) == 0 || err.Error() == "") {
				t.Fatalf("%q: an error without a problem", raw)
			}
			return
		}
		if q.limit < 1 || q.limit > maxLimit || q.offset < 0 || total > len(all) || len(got) > q.limit || len(got) != min(q.limit, max(0, total-q.offset)) {
			t.Fatalf("%q: got %d of %d with %+v", raw, len(got), total, q)
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q is accepted: %v", raw, err)
		}
		for _, a := range got {
			if !slices.ContainsFunc(all, func(b verify.Application) bool { return a.ID == b.ID }) {
				t.Fatalf("%q: got one that isn't there", raw)
			}
			if name := values.Get("name"); name != "" && a.Name != name {
				t.Fatalf("%q: got one with the name %q", raw, a.Name)
			}
			if prefix := values.Get("auth_token_prefix"); prefix != "" && a.Prefix != prefix {
				t.Fatalf("%q: got one with the prefix %q", raw, a.Prefix)
			}
		}
		if u, err := parse(raw, userFilters, []string{"id"}); err == nil {
			userFilter(u) // doesn't panic
		}
	})
}
