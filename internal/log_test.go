package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// withoutID are the methods of a log that give a line no request's id.
var withoutID = []string{"Debug", "Info", "Warn", "Error", "Failed", "DatabaseFailed"}

// aLog is what logs are called here.
var aLog = regexp.MustCompile(`(?i)(log|outages)$`)

// A line that is logged while a request runs carries the request's id, which its context has. So a function
// that has a context, or a request, logs with it.
func TestWhoHasAContextLogsWithIt(t *testing.T) {
	t.Parallel()
	found := 0
	for _, root := range []string{"face", "web", "verify", "dispatch", "store", "system", "carrier/provider"} {
		err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || !hasContext(f) {
					continue
				}
				found++
				for _, call := range callsWithoutID(f) {
					t.Errorf("%s: %s has a context and logs without it: use the method that ends with Context", files.Position(call.Pos()), f.Name.Name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 100 {
		t.Errorf("found %d functions with a context: were all read?", found)
	}
}

// hasContext reports whether a function is given a context, or a request.
func hasContext(f *ast.FuncDecl) bool {
	return slices.ContainsFunc(f.Type.Params.List, func(p *ast.Field) bool {
		at := p.Type
		if pointer, ok := at.(*ast.StarExpr); ok {
			at = pointer.X
		}
		name, ok := at.(*ast.SelectorExpr)
		return ok && (name.Sel.Name == "Context" || name.Sel.Name == "Request")
	})
}

// callsWithoutID are the calls of a log in a function that say no request's id.
func callsWithoutID(f *ast.FuncDecl) (all []*ast.CallExpr) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(withoutID, method.Sel.Name) {
			return true
		}
		switch of := method.X.(type) {
		case *ast.Ident:
			ok = aLog.MatchString(of.Name)
		case *ast.SelectorExpr:
			ok = aLog.MatchString(of.Sel.Name)
		default:
			ok = false
		}
		if ok {
			all = append(all, call)
		}
		return true
	})
	return all
}
