package v1_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/face/v1"
	"github.com/countersign/countersign/internal/verify"
)

// An errorCode is a row of docs/errors.md.
type errorCode struct {
	status        int
	code, message string
}

// The page of all error codes is made from the source: from each [verify.Error] that is written in it, and from what
// /v1 itself says of a request that the service never sees.
func TestThePageOfErrorsIsTheSources(t *testing.T) {
	t.Parallel()
	codes := v1.ProblemCodes()
	all := make([]errorCode, 0, len(codes))
	for _, c := range codes {
		all = append(all, errorCode{c.Status, c.Code, c.Detail})
	}
	kinds := kindsOf(t)
	for _, dir := range imported(t) {
		for _, file := range sources(t, dir) {
			all = append(all, errorsIn(t, file, kinds)...)
		}
	}
	slices.SortFunc(all, func(a, b errorCode) int { return cmp.Or(cmp.Compare(a.status, b.status), cmp.Compare(a.code, b.code)) })
	all = slices.Compact(all)
	if len(all) < 30 {
		t.Errorf("found %d codes: were all read?", len(all))
	}
	page := errorPage(all)
	const file = "../../../docs/errors.md"
	committed, err := os.ReadFile(file)
	if os.Getenv("COUNTERSIGN_WRITE_DOCS") != "" {
		err = os.WriteFile(file, page, 0o644)
	} else if !bytes.Equal(committed, page) {
		t.Errorf("%s isn't what the source says; run: make docs", file)
	}
	if err != nil {
		t.Error(err)
	}
}

// sources are a package's files but for its tests.
func sources(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", dir, files, err)
	}
	return files
}

// imported are the folders of the package and of those that it imports: nobody else's errors reach its callers.
func imported(t *testing.T) []string {
	t.Helper()
	const module = "github.com/countersign/countersign/"
	dirs := []string{"."}
	for _, file := range sources(t, ".") {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if path, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module); ok {
				dirs = append(dirs, filepath.Join("../../..", path))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// kindsOf are the kinds of errors by the names that the source has for them.
func kindsOf(t *testing.T) map[string]verify.Kind {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../verify/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]verify.Kind{}
	for _, d := range parsed.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST || word(g.Specs[0].(*ast.ValueSpec).Type) != "Kind" {
			continue
		}
		for i, spec := range g.Specs {
			kinds[spec.(*ast.ValueSpec).Names[0].Name] = verify.Kind(i)
		}
	}
	return kinds
}

// errorsIn are the errors with a code of their own that a file writes down.
func errorsIn(t *testing.T, path string, kinds map[string]verify.Kind) (found []errorCode) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok || !isError(literal.Type, parsed.Name.Name) {
			return true
		}
		members := map[string]ast.Expr{}
		for _, e := range literal.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				members[pair.Key.(*ast.Ident).Name] = pair.Value
			}
		}
		if _, written := members["Code"].(*ast.BasicLit); !written { // it has none, or that of an error that is listed
			return true
		}
		kind, code, message := word(members["Kind"]), word(members["Code"]), word(members["Message"])
		status := v1.Statuses[kinds[kind]]
		if status == 0 || message == "" {
			t.Errorf("%s: the error %q has the kind %q and the message %q; the page can't tell it", path, code, kind, message)
		}
		found = append(found, errorCode{status, code, message})
		return true
	})
	return found
}

// isError reports whether a type is verify.Error, as a package writes it.
func isError(e ast.Expr, in string) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return in == "verify" && e.Name == "Error"
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && x.Name == "verify" && e.Sel.Name == "Error"
	}
	return false
}

// word is what an expression says: a name's last part, or a text.
func word(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return word(e.X) + word(e.Y)
	}
	return ""
}

// advice is what to do about a status.
var advice = map[int]string{
	400: "Send something that can be read: one JSON object in UTF-8, each name once.",
	401: "Send a valid API key: `Authorization: Bearer cs_…`.",
	403: "Use a key that may do this.",
	404: "Look at the id and the path. What belongs to another project is answered in the same way.",
	405: "The header `Allow` names the methods of the path.",
	409: "Read the object again. The request doesn't fit the state that it is in.",
	412: "Read the object again, and send its new ETag.",
	413: "Send less.",
	415: "Send `Content-Type: application/json`.",
	422: "Send something else. `errors` names each field that is wrong, with its bound.",
	428: "Read the object, and send its ETag in `If-Match`.",
	429: "Wait as long as the header `Retry-After` says, in seconds, and send the request again.",
	500: "Nothing that a caller can do: the fault is the server's. Its log has the id in the header `X-Request-Id`.",
	503: "Wait as long as the header `Retry-After` says, in seconds, and send the request again.",
}

func errorPage(all []errorCode) []byte {
	var b bytes.Buffer
	b.WriteString(`# Error codes

<!-- Made by: make docs -->

Errors of ` + "`/v1`" + ` are ` + "`application/problem+json`" + ` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). This page lists every ` + "`code`" + `. A code never changes its meaning, so programs may depend on it.
The sentence is the ` + "`detail`" + ` for people, and may change. [api.md](api.md#errors) shows a whole answer.

A check answers 200 whatever became of its verification: [api.md](api.md#check-a-code) lists the reasons.
`)
	status := 0
	for _, e := range all {
		if e.status != status {
			status = e.status
			fmt.Fprintf(&b, "\n## %d %s\n\n%s\n\n| `code` | says |\n|---|---|\n", status, http.StatusText(status), cmp.Or(advice[status], "See the sentence."))
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.code, e.message)
	}
	return b.Bytes()
}
