package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// liveCodes is how many verifications are live while somebody looks for their codes.
const liveCodes = 500

// A liveCode is a verification as its owner knows it.
type liveCode struct{ id, to, code string }

// startMany starts verifications of as many numbers, the first of which is that many behind the
// first of all, and waits for their messages.
func (in *installation) startMany(p *process, first, n int, fields string) []liveCode {
	in.t.Helper()
	all := make([]liveCode, n)
	var clients sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		clients.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				to := fmt.Sprintf("+1202%07d", 2_000_000+first+int(i))
				resp, body, err := p.post("sms", with(to, fields))
				var started struct{ ID string }
				if err == nil {
					err = json.Unmarshal([]byte(body), &started)
				}
				if err != nil || resp.StatusCode != 200 {
					in.t.Errorf("start to %s: %v, %s", to, err, body)
					return
				}
				all[i] = liveCode{id: started.ID, to: to}
			}
		})
	}
	clients.Wait()
	if in.t.Failed() {
		in.t.FailNow()
	}
	codes := map[string]string{}
	read, missing := 0, all
	if !within(patience, func() bool {
		in.receiver.mu.Lock()
		got := in.receiver.got
		in.receiver.mu.Unlock()
		for _, m := range got[read:] {
			codes[m.VerificationID] = codeIn(m.Body)
		}
		read = len(got)
		for len(missing) > 0 && codes[missing[0].id] != "" {
			missing[0].code = codes[missing[0].id]
			missing = missing[1:]
		}
		return len(missing) == 0
	}) {
		in.t.Fatalf("%d of %d messages didn't arrive", len(missing), n)
	}
	return all
}

// readDatabase opens the database of an installation as somebody does who may only read it.
func (in *installation) readDatabase() *sql.DB {
	in.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(in.dir, "data", system.DatabaseFile)+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { db.Close() })
	return db
}

// databaseFiles is all that stands in the folder of the database.
func (in *installation) databaseFiles() string {
	in.t.Helper()
	files, err := filepath.Glob(filepath.Join(in.dir, "data", "*"))
	if err != nil {
		in.t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			in.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func spaced(code string) string { return strings.Join(strings.Split(code, ""), " ") }

func percented(code string) string {
	var b strings.Builder
	for i := range len(code) {
		fmt.Fprintf(&b, "%%%02x", code[i])
	}
	return b.String()
}

// A codeSearch finds many codes in one pass, in each of the forms of a searcher and in some more. A
// searcher's own pass for each form of each secret would take minutes.
type codeSearch map[uint64][]written // by the form's first eight bytes

type written struct{ code, form, text string }

func searchFor(codes []string) codeSearch {
	s := codeSearch{}
	add := func(w written) {
		w.text = strings.ToLower(w.text)
		begin := binary.LittleEndian.Uint64([]byte(w.text))
		s[begin] = append(s[begin], w)
	}
	for _, code := range codes {
		// The case of a letter in hex or base64 says nothing of the case that was encoded.
		for _, as := range [...]string{code, strings.ToLower(code)} {
			for form, text := range forms(as) {
				add(written{code, form, text})
				if b := bare(text); b != strings.ToLower(text) {
					add(written{code, form + ", with something in between", b})
				}
			}
			for form, text := range forms(spaced(as)) {
				add(written{code, "spaced, " + form, text})
			}
			add(written{code, "percented", percented(as)})
		}
	}
	return s
}

// find returns which codes a text holds, in any case, with or without something in between.
func (s codeSearch) find(text string) map[string]string {
	found := map[string]string{} // the form, by code
	for _, in := range [...]string{strings.ToLower(text), bare(text)} {
		b := []byte(in)
		for i := 0; i+8 <= len(b); i++ {
			for _, w := range s[binary.LittleEndian.Uint64(b[i:])] {
				if bytes.HasPrefix(b[i:], []byte(w.text)) {
					found[w.code] = w.form
				}
			}
		}
	}
	return found
}

// plant puts each of the codes behind a text in a form of its own, written without the help of what
// searches for it, and returns the forms' names in the order of the codes.
func plant(text string, codes []string) (planted string, names []string) {
	ways := []struct {
		name  string
		write func(string) string
	}{
		{"raw", func(c string) string { return c }},
		{"raw, in small letters", strings.ToLower},
		{"raw, in a sentence", func(c string) string { return "the code is " + c + "." }},
		{"base64", func(c string) string { return base64.StdEncoding.EncodeToString([]byte(c)) }},
		{"base64 of small letters", func(c string) string { return base64.StdEncoding.EncodeToString([]byte(strings.ToLower(c))) }},
		{"base64, 1 from its start", func(c string) string { return base64.StdEncoding.EncodeToString([]byte("=" + c + "&")) }},
		{"base64, 2 from its start", func(c string) string { return base64.RawURLEncoding.EncodeToString([]byte("a=" + c + "&and so on")) }},
		{"hex", func(c string) string { return hex.EncodeToString([]byte(c)) }},
		{"capital hex", func(c string) string { return strings.ToUpper(hex.EncodeToString([]byte(c))) }},
		{"hex of small letters", func(c string) string { return hex.EncodeToString([]byte(strings.ToLower(c))) }},
		{"hex in bytes", func(c string) string { return fmt.Sprintf("% x", c) }},
		{"in a URL", func(c string) string { return "https://h.example/?" + url.Values{"code": {c}}.Encode() }},
		{"percented", func(c string) string { return strings.ToUpper(percented(c)) }},
		{"percented small letters", func(c string) string { return percented(strings.ToLower(c)) }},
		{"spaced", spaced},
		{"spaced, in small letters", func(c string) string { return strings.ToLower(spaced(c)) }},
		{"spaced, in a query", func(c string) string { return url.QueryEscape(spaced(c)) }},
		{"spaced, in a path", func(c string) string { return url.PathEscape(spaced(c)) }},
		{"spaced, in base64", func(c string) string { return base64.StdEncoding.EncodeToString([]byte(spaced(c))) }},
		{"spaced, in hex", func(c string) string { return hex.EncodeToString([]byte(spaced(c))) }},
		{"in groups", func(c string) string { return c[:4] + "-" + c[4:8] + "-" + c[8:] }},
	}
	var b strings.Builder
	b.WriteString(text)
	for i, way := range ways {
		b.WriteString("\x00\n" + way.write(codes[i]))
		names = append(names, way.name)
	}
	return b.String(), names
}

// Whoever gets at everything that a server leaves behind, while its codes are worth something, has
// none of them. The codes are long: six digits may stand anywhere by chance.
func TestNoLiveCodeIsLeftAnywhere(t *testing.T) {
	t.Parallel()
	traces := new(exported)
	collector := httptest.NewServer(traces)
	t.Cleanup(collector.Close)
	in := install(t, theProgram(t), func(config string) string {
		return strings.NewReplacer(`level: "info"`, `level: "debug"`, `endpoint: ""`, `endpoint: "`+collector.URL+`"`, "sample: 0.01", "sample: 1").Replace(config)
	})
	p := in.serve()
	live := in.startMany(p, 0, liveCodes, `"token_length":12,"allow_alphas":true,"max_attempts":2`)
	var codes []string
	for _, v := range live {
		if len(v.code) != 12 {
			t.Fatalf("got the code %q, want 12 characters", v.code)
		}
		codes = append(codes, v.code)
	}
	if !within(patience, func() bool { return strings.Count(p.stderr.String(), `"msg":"attempt settled"`) >= liveCodes }) {
		t.Fatalf("not all messages were settled, or the log isn't at debug level")
	}
	db := in.readDatabase()
	sealed := func() (ids map[string]string) {
		t.Helper()
		rows, err := db.Query(`SELECT lower(hex(id)), code_sealed FROM verification WHERE code_sealed IS NOT NULL`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		ids = map[string]string{}
		for rows.Next() {
			var id, bytes string
			if err := rows.Scan(&id, &bytes); err != nil {
				t.Fatal(err)
			}
			ids[id] = bytes
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	before := sealed()
	if len(before) != liveCodes {
		t.Errorf("%d verifications have a sealed code, want all %d", len(before), liveCodes)
	}
	in.run("backup", "--config", "countersign.yaml", "copy.db")
	backup, err := os.ReadFile(filepath.Join(in.dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	metrics := get(t, p.Ops+"/metrics")
	database := in.databaseFiles()
	if wal, err := os.Stat(filepath.Join(in.dir, "data", system.DatabaseFile+"-wal")); err != nil || wal.Size() == 0 {
		t.Errorf("there is no write-ahead log to look at: %v", err)
	}
	if !strings.Contains(database, live[0].to) || !strings.Contains(string(backup), live[liveCodes-1].to) {
		t.Error("the database or its backup doesn't hold the numbers in clear: this isn't where the codes would be")
	}

	// Half of these are approved, half run out of guesses. Each answer comes after the write that
	// ended the verification, and that write has wiped the sealed copy from the row. It doesn't say
	// so of the file: SQLite leaves freed bytes where they are until it uses the page again, and so
	// does the log until it starts over. What may be left there is sealed, and bound to its row.
	wiped := map[string]string{}
	key := func(v liveCode) string { return strings.ReplaceAll(v.id, "-", "") }
	want := before
	for i, v := range live[:50] {
		if i%2 == 0 {
			p.want(p.check(v.id, v.code), 200, approvedBody)
		} else {
			for range 2 {
				p.want(p.check(v.id, otherThan(v.code)), 200, wrongBody)
			}
		}
		wiped[key(v)] = want[key(v)]
		delete(want, key(v))
		var kept bool
		var status verify.Status
		id, err := hex.DecodeString(key(v))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow(`SELECT code_sealed IS NOT NULL, status FROM verification WHERE id = ?`, id).Scan(&kept, &status); err != nil {
			t.Fatal(err)
		}
		if ended := [...]verify.Status{verify.StatusApproved, verify.StatusExhausted}[i%2]; kept || status != ended {
			t.Errorf("verification %s: %v, with a sealed code: %v; want %v, without", v.id, status, kept, ended)
		}
	}
	if diff := cmp.Diff(want, sealed()); diff != "" {
		t.Errorf("sealed codes of the others (-want +got):\n%s", diff)
	}
	db.Close()
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}

	// It was looked at while it said all it can say.
	if log := p.stderr.String(); !strings.Contains(log, `"level":"DEBUG"`) || strings.Count(log, `"msg":"request"`) < liveCodes {
		t.Error("the log isn't at debug level, or lacks requests")
	}
	if n := strings.Count(traces.text(), "http.response.status_code"); n < liveCodes {
		t.Errorf("%d requests were traced, want at least the %d starts", n, liveCodes)
	}

	stopped, left := in.databaseFiles(), 0
	for _, bytes := range wiped {
		if strings.Contains(stopped, bytes) {
			left++
		}
	}
	t.Logf("the sealed bytes of %d of %d ended verifications are still in the file of a stopped server", left, len(wiped))

	search := searchFor(codes)
	began, size := time.Now(), 0
	for where, text := range map[string]string{
		"the database":                     database,
		"the database of a stopped server": stopped,
		"a backup":                         string(backup),
		"the log":                          p.stderr.String(),
		"/metrics":                         metrics,
		"the traces":                       traces.text(),
		"the audit log":                    in.run("audit", "list", "--config", "countersign.yaml"),
	} {
		size += len(text)
		if text == "" {
			t.Errorf("%s: there is nothing to search", where)
		}
		for code, form := range search.find(text) {
			t.Errorf("%s: holds the code %s, %s", where, code, form)
		}
		planted, names := plant(text, codes)
		found := search.find(planted)
		for i, name := range names {
			if found[codes[i]] == "" {
				t.Errorf("%s: a code was planted %s, and not found", where, name)
			}
		}
		if len(found) != len(names) {
			t.Errorf("%s: %d codes were found, %d planted", where, len(found), len(names))
		}
	}
	t.Logf("%d codes, each in %d forms, weren't in %d kB; searched twice in %v", len(codes), 2*(len(forms(codes[0]))+len(forms(spaced(codes[0])))+1), size>>10, time.Since(began).Round(time.Millisecond))
}

// A dumpedRow is what a thief of the database has of a verification.
type dumpedRow struct {
	id                   [16]byte
	project, destination string
	purpose              string
	mac                  []byte
}

// An attack says what would be stored for a code, if codes were stored as the attack supposes:
// a hash, or a MAC under a key that a thief can guess, of a text with the code behind it.
type attack struct {
	name string
	key  func(dumpedRow) []byte // nil: SHA-256 without one
	text func(dumpedRow) []byte
}

// bindingText is what our MACs are made of: that is in the source, and no secret.
func bindingText(r dumpedRow) (text []byte) {
	for _, part := range []string{"countersign code mac v1", r.project, string(r.id[:]), r.destination, r.purpose} {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
		text = append(text, part...)
	}
	return append(text, 0, 0, 0, 6) // the code's length
}

var (
	// unkeyed is how other servers store codes.
	unkeyed = attack{name: "SHA-256(number, code)", text: func(r dumpedRow) []byte { return []byte(r.destination) }}
	attacks = []attack{
		{name: "SHA-256(id, code)", text: func(r dumpedRow) []byte { return r.id[:] }},
		{name: "SHA-256(binding)", text: bindingText},
		{name: "HMAC(zero key, binding)", key: func(dumpedRow) []byte { return make([]byte, 32) }, text: bindingText},
		{name: "HMAC(id, code)", key: func(r dumpedRow) []byte { return r.id[:] }, text: func(dumpedRow) []byte { return nil }},
		{name: "HMAC(project, binding)", key: func(r dumpedRow) []byte { return []byte(r.project) }, text: bindingText},
	}
)

// allCodes is how many codes there are to try.
const allCodes = 1_000_000

// on tries all codes of six digits at every row, until one fits, and returns what it found.
func (a attack) on(rows []dumpedRow) (codes []string) {
	codes = make([]string, len(rows))
	var next atomic.Int64
	var cores sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		cores.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rows)); i = next.Add(1) - 1 {
				codes[i] = a.try(rows[i])
			}
		})
	}
	cores.Wait()
	return codes
}

func (a attack) try(r dumpedRow) string {
	input := append(a.text(r), "000000"...)
	code := input[len(input)-6:]
	var sum [sha256.Size]byte
	compute := func() { sum = sha256.Sum256(input) }
	if a.key != nil {
		h := hmac.New(sha256.New, a.key(r))
		compute = func() {
			h.Reset()
			h.Write(input)
			h.Sum(sum[:0])
		}
	}
	for range allCodes {
		compute()
		if bytes.Equal(sum[:], r.mac) {
			return string(code)
		}
		for i := 5; i >= 0; i-- { // the next one
			if code[i]++; code[i] <= '9' {
				break
			}
			code[i] = '0'
		}
	}
	return ""
}

// The database without its key gives no code away, though every code of six digits can be tried: a
// thief's attack on it finds none, and the same attack finds every code where they are only hashed.
//
// By itself it takes a row or two. Among the slow tests, the attack that works elsewhere takes all of
// them, and each of the others 20, which COUNTERSIGN_TEST_LONG multiplies.
func TestAnOfflineAttackFindsNoCode(t *testing.T) {
	testsize.Alone(t, "computes")
	attacked, others := 2, 1 // rows
	if os.Getenv("COUNTERSIGN_TEST_SLOW") != "" {
		attacked, others = liveCodes, min(testsize.Times(20), liveCodes)
	} else {
		t.Parallel()
	}
	in := install(t, theProgram(t), nil)
	p := in.serve()
	live := in.startMany(p, 0, liveCodes, "")
	codes := make([]string, len(live)) // in the order of the rows
	var rows []dumpedRow
	all, err := in.readDatabase().Query(`SELECT id, project, destination, purpose, code_mac FROM verification ORDER BY destination`)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for all.Next() {
		var r dumpedRow
		var id []byte
		if err := all.Scan(&id, &r.project, &r.destination, &r.purpose, &r.mac); err != nil {
			t.Fatal(err)
		}
		r.id = [16]byte(id)
		rows = append(rows, r)
	}
	if err := all.Err(); err != nil || len(rows) != liveCodes {
		t.Fatalf("%d rows, %v; want %d", len(rows), err, liveCodes)
	}
	sixes := regexp.MustCompile(`^\d{6}$`)
	for i, v := range live { // startMany's numbers ascend
		codes[i] = v.code
		if !sixes.MatchString(v.code) || rows[i].destination != v.to {
			t.Fatalf("row %d is to %s, with the code %q; want %s and six digits", i, rows[i].destination, v.code, v.to)
		}
	}
	count := func(found []string) (right int) {
		for i, code := range found {
			if code != "" && code == codes[i] {
				right++
			}
		}
		return right
	}

	// What no row changes is hashed once for all of them.
	macs := map[[sha256.Size]byte]bool{}
	for _, r := range rows {
		macs[[sha256.Size]byte(r.mac)] = true
	}
	for n := range allCodes {
		if code := fmt.Appendf(nil, "%06d", n); macs[sha256.Sum256(code)] {
			t.Errorf("SHA-256 of %s is in the dump", code)
		}
	}
	report := func(what string, n int, found []string, began time.Time) (right int) {
		t.Helper()
		right = count(found)
		t.Logf("%s: %d of %d recovered in %v", what, right, n, time.Since(began).Round(time.Millisecond))
		return right
	}
	for i, a := range append([]attack{unkeyed}, attacks...) {
		n := others
		if i == 0 {
			n = attacked
		}
		began := time.Now()
		if right := report(a.name, n, a.on(rows[:n]), began); right > 0 {
			t.Errorf("%s recovers %d of %d codes, want none", a.name, right, n)
		}
	}

	// The attack is able: where codes are only hashed, it finds all of them.
	control := slices.Clone(rows[:attacked])
	for i := range control {
		sum := sha256.Sum256([]byte(control[i].destination + codes[i]))
		control[i].mac = sum[:]
	}
	began := time.Now()
	if right := report("control, "+unkeyed.name, attacked, unkeyed.on(control), began); right != attacked {
		t.Errorf("control: %d of %d codes recovered, want all", right, attacked)
	}

	// And it is the key alone that it lacks.
	keys := ofKeyset(t, filepath.Join(in.dir, "keyset.json"))
	keyed := attack{key: func(dumpedRow) []byte { return []byte(keys[0]) }, text: bindingText}
	const some = 2
	if right := count(keyed.on(rows[:some])); right != some {
		t.Errorf("with the key, %d of %d codes are recovered, want all: is this how MACs are made?", right, some)
	}
}
