package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign/"

// pure are the algorithms: they know nothing of us, and little of each other.
const pure = "internal/typed internal/code internal/phone internal/sms internal/limit internal/share internal/keyset internal/wording internal/outage internal/record internal/money internal/shard"

// parts are what the program is wired from.
const parts = "internal/store internal/route internal/dispatch internal/carrier internal/carrier/* internal/face internal/face/* " +
	"internal/metric internal/manual internal/speech internal/admin internal/account internal/operator internal/notice internal/verify " + pure + " internal/web internal/request internal/yamlconf internal/geo"

// may says which packages of ours each package may import, tests aside. Imports point one way: to
// what stands above. x/* are the packages right below x that have no line of their own. A package
// without a line is an error, so that whoever makes one decides where it stands.
var may = []struct{ packages, imports string }{
	{"internal/code internal/phone", "internal/typed"},
	{"internal/wording", "internal/sms internal/code"},
	{"internal/filelock", ""},
	{"internal/keyset", "internal/filelock"},
	{pure, ""},
	{"internal/request internal/yamlconf internal/geo", ""},
	{"sdk/web", ""}, // files for browsers
	{"internal/intake", "internal/request"},
	{"internal/web", "internal/record"},
	{"internal/speech", "internal/share"},
	{"internal/verify", pure},
	{"internal/notice", "internal/verify internal/wording"},
	{"internal/account", "internal/verify internal/record"},
	{"internal/operator", "internal/verify internal/keyset"},

	// Siblings don't import each other: two databases, two ways out, two APIs know nothing of one
	// another, and what two of them need is in verify.
	{"internal/store", "internal/store/pool internal/account internal/operator internal/verify " + pure},
	{"internal/store/pool", ""},
	{"internal/metric", "internal/verify " + pure},
	{"internal/carrier", "internal/verify " + pure},
	{"internal/carrier/*", "internal/carrier internal/web internal/verify " + pure},
	{"internal/carrier/sip internal/carrier/sim", "internal/carrier internal/speech internal/web internal/verify " + pure},
	{"internal/carrier/exchange", "internal/carrier internal/web internal/verify"},                  // is no way out, but how two of them go
	{"internal/carrier/push", "internal/carrier internal/carrier/exchange internal/verify " + pure}, // one carrier of three kinds of services
	{"internal/carrier/webpush internal/carrier/fcm internal/carrier/apns", "internal/carrier internal/carrier/exchange internal/carrier/push internal/notice internal/verify " + pure},
	{"internal/carrier/http", "internal/carrier internal/carrier/exchange internal/verify " + pure},
	{"internal/carrier/provider", "internal/carrier internal/carrier/exchange internal/web internal/yamlconf internal/verify " + pure},
	{"internal/route", "internal/verify " + pure},
	{"internal/dispatch", "internal/route internal/carrier internal/verify " + pure},
	{"internal/face", "internal/web internal/request internal/account internal/verify " + pure},
	{"internal/face/device", "sdk/web internal/face internal/web internal/request internal/account internal/notice internal/verify " + pure},
	{"internal/face/*", "internal/face internal/web internal/request internal/account internal/verify " + pure},
	{"api docs", ""},
	{"internal/manual", "docs internal/web"},
	{"internal/face/v1", "api internal/face internal/request internal/outage internal/account internal/verify " + pure},

	// What people see in a browser.
	{"internal/console", "internal/system internal/dispatch internal/route internal/carrier/sim internal/admin internal/store internal/operator internal/web internal/verify " + pure},

	// What operators do. The commands call it, and so can a face.
	{"internal/admin", "internal/store internal/speech internal/account internal/operator internal/verify " + pure},

	{"internal/config", parts},
	{"internal/system", parts},
	{"cmd/*", "internal/filelock internal/intake internal/config internal/console internal/system internal/bench api " + parts},

	// They look at a server from outside.
	{"internal/bench internal/bench/floor", ""},
	{"internal/bench/compare", "internal/bench"},
	{"internal/mutant internal/testrun", ""}, // at the tree, rather

	// It makes what is embedded in the package above it.
	{"internal/speech/render", "internal/speech"},

	// For tests only: no line but those of storetest and countersigntest allows these, nor any of cmd.
	{"internal/logtest internal/pgtest internal/porttest internal/smsctest internal/testsize", ""},
	{"internal/store/storetest", "internal/store internal/logtest internal/pgtest internal/account internal/operator internal/verify " + pure},
	{"internal/countersigntest", "internal/system internal/store/storetest internal/logtest " + parts},
	{"internal/carrier/sip/siptest", "internal/speech internal/porttest"},
}

// never says which packages of others ours must do without. x/... is x and all that is below.
var never = []struct{ packages, except, imports string }{
	// The rules are pure functions of the rows and the time.
	{"internal/verify internal/account internal/operator " + pure, "", "database/sql/... net/http/..."},
	// Codes, ids and keys come from crypto/rand. Only jitter, and random tests, may be guessed.
	{"internal/... cmd/...", "", "math/rand"},
	{"internal/... cmd/...", "internal/dispatch internal/carrier/smpp internal/bench internal/bench/compare internal/store/storetest", "math/rand/v2"},
}

// has reports whether a list of packages and patterns holds one.
func has(list, name string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(p string) bool {
		if root, below := strings.CutSuffix(p, "/..."); below {
			return name == root || strings.HasPrefix(name, root+"/")
		}
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// line finds what a package may import: by its own name if that stands in the table.
func line(name string) (imports string, ok bool) {
	for _, m := range may {
		if slices.Contains(strings.Fields(m.packages), name) {
			return m.imports, true
		}
		if has(m.packages, name) {
			imports, ok = m.imports, true
		}
	}
	return imports, ok
}

// check names all that is wrong with the imports of packages, sorted.
func check(packages map[string][]string) (problems []string) {
	for from, imports := range packages {
		allowed, ok := line(from)
		if !ok {
			problems = append(problems, from+" has no line in the table")
			continue
		}
		for _, imported := range imports {
			if to, ours := strings.CutPrefix(imported, module); ours && !has(allowed, to) {
				problems = append(problems, from+" must not import "+to)
			}
			for _, n := range never {
				if has(n.packages, from) && !has(n.except, from) && has(n.imports, imported) {
					problems = append(problems, from+" must do without "+imported)
				}
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// read reads the imports of every package below root, tests aside. It only parses: no build tag
// hides a file, and nothing has to be downloaded.
func read(root string) (map[string][]string, error) {
	packages := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); file != root && err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		if packages[dir] == nil {
			packages[dir] = []string{} // it is there, also if it imports nothing
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			packages[dir] = append(packages[dir], imported)
		}
		return nil
	})
	return packages, err
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	packages, err := read("..")
	if err != nil {
		t.Fatal(err)
	}
	// If it looked in the wrong place it would find nothing wrong.
	for _, name := range strings.Fields(pure + " internal/verify internal/store internal/face/signalwire cmd/countersign") {
		if packages[name] == nil {
			t.Errorf("%s was not found", name)
		}
	}
	for _, p := range check(packages) {
		t.Error(p)
	}
}

// What holds the rule must see it broken: each of these edges is one that somebody could add.
func TestAWrongImportIsReported(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to, want string }{
		{"internal/verify", module + "internal/store", "internal/verify must not import internal/store"},
		{"internal/verify", module + "internal/web", "internal/verify must not import internal/web"},
		{"internal/code", module + "internal/phone", "internal/code must not import internal/phone"},
		{"internal/keyset", module + "internal/verify", "internal/keyset must not import internal/verify"},
		{"internal/store", module + "internal/dispatch", "internal/store must not import internal/dispatch"},
		{"internal/verify", module + "internal/account", "internal/verify must not import internal/account"},
		{"internal/account", module + "internal/store", "internal/account must not import internal/store"},
		{"internal/account", "database/sql", "internal/account must do without database/sql"},
		{"internal/dispatch", module + "internal/account", "internal/dispatch must not import internal/account"},
		{"internal/verify", module + "internal/admin", "internal/verify must not import internal/admin"},
		{"internal/store", module + "internal/admin", "internal/store must not import internal/admin"},
		{"internal/admin", module + "internal/config", "internal/admin must not import internal/config"},
		{"internal/dispatch", module + "internal/store", "internal/dispatch must not import internal/store"},
		{"internal/dispatch", module + "internal/carrier/sim", "internal/dispatch must not import internal/carrier/sim"},
		{"internal/carrier", module + "internal/carrier/sim", "internal/carrier must not import internal/carrier/sim"},
		{"internal/carrier/smpp", module + "internal/carrier/sim", "internal/carrier/smpp must not import internal/carrier/sim"},
		{"internal/carrier/smpp", module + "internal/dispatch", "internal/carrier/smpp must not import internal/dispatch"},
		{"internal/metric", module + "internal/dispatch", "internal/metric must not import internal/dispatch"},
		{"internal/face/v1", module + "internal/face/signalwire", "internal/face/v1 must not import internal/face/signalwire"},
		{"internal/face/signalwire", module + "internal/store", "internal/face/signalwire must not import internal/store"},
		{"internal/request", module + "internal/verify", "internal/request must not import internal/verify"},
		{"internal/web", module + "internal/verify", "internal/web must not import internal/verify"},
		{"internal/config", module + "internal/system", "internal/config must not import internal/system"},
		{"internal/system", module + "cmd/countersign", "internal/system must not import cmd/countersign"},
		{"internal/system", module + "internal/countersigntest", "internal/system must not import internal/countersigntest"},
		{"internal/countersigntest", module + "cmd/countersign", "internal/countersigntest must not import cmd/countersign"},
		{"internal/store", module + "internal/store/storetest", "internal/store must not import internal/store/storetest"},
		{"cmd/countersign", module + "internal/countersigntest", "cmd/countersign must not import internal/countersigntest"},
		{"cmd/countersign", module + "internal/store/storetest", "cmd/countersign must not import internal/store/storetest"},
		{"cmd/other", module + "cmd/countersign", "cmd/other must not import cmd/countersign"},
		{"internal/verify", "database/sql", "internal/verify must do without database/sql"},
		{"internal/verify", "net/http/httptest", "internal/verify must do without net/http/httptest"},
		{"internal/limit", "database/sql/driver", "internal/limit must do without database/sql/driver"},
		{"internal/code", "math/rand", "internal/code must do without math/rand"},
		{"internal/face/signalwire", "math/rand/v2", "internal/face/signalwire must do without math/rand/v2"},
		{"cmd/countersign", "math/rand/v2", "cmd/countersign must do without math/rand/v2"},
		{"internal/carrier/sim", "math/rand", "internal/carrier/sim must do without math/rand"},
		{"internal/dispatch", "math/rand", "internal/dispatch must do without math/rand"},
		{"internal/util", "fmt", "internal/util has no line in the table"},
		{"internal/store/sqlite", "fmt", "internal/store/sqlite has no line in the table"},

		// Right ones, so that it doesn't simply report everything.
		{"internal/verify", module + "internal/code", ""},
		{"internal/verify", "net/netip", ""},
		{"internal/store", "database/sql", ""},
		{"internal/verify", "database/sqlx", ""},
		{"internal/dispatch", "math/rand/v2", ""},
		{"internal/carrier/sim", module + "internal/web", ""},
		{"internal/face/v1", module + "internal/verify", ""},
		{"internal/system", module + "internal/face/v1", ""},
		{"internal/face/v1", module + "internal/account", ""},
	} {
		got := strings.Join(check(map[string][]string{tt.from: {"fmt", tt.to}}), "; ")
		if got != tt.want {
			t.Errorf("%s imports %s: got %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
}

// clockUses are where a file reads the machine's clock, or waits for it.
func clockUses(file string, source any) (found []string, err error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if from, ok := s.X.(*ast.Ident); ok && from.Name == "time" && has("Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker", s.Sel.Name) {
			found = append(found, files.Position(s.Pos()).String()+": time."+s.Sel.Name)
		}
		return true
	})
	return found, nil
}

// A rule is a function of its rows and the time, which is given to it. Only a log of outages takes the machine's
// if it is given none.
func TestRulesAreGivenTheTime(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields("internal/verify " + pure) {
		files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(name), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", name, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || name == "internal/outage" {
				continue
			}
			found, err := clockUses(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range found {
				t.Error(use)
			}
		}
	}

	const wrong = "package p\nimport \"time\"\nvar now = time.Now\nfunc f(t time.Time) { _ = time.Since(t); time.Sleep(time.Second); _ = t.After(now()) }\n"
	if found, err := clockUses("p.go", wrong); err != nil || len(found) != 3 {
		t.Errorf("a package that reads the clock: got %q, %v", found, err)
	}
}
