package manual

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/docs"
	"github.com/countersign/countersign/internal/web"
)

type unobserved struct{}

func (unobserved) Answered(string, string, int, time.Duration) {}

// get asks the server's handler.
func get(path string) *http.Response {
	w := httptest.NewRecorder()
	web.Handler(slog.New(slog.DiscardHandler), unobserved{}, Mounts()...).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Result()
}

func text(t *testing.T, path, kind string) string {
	t.Helper()
	r := get(path)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != kind || r.Header.Get("Content-Security-Policy") != policy {
		t.Errorf("%s: got %d %v, want a 200 of type %s with the policy", path, r.StatusCode, r.Header, kind)
	}
	return string(body)
}

// The page has every operation, field, bound and status that the description has.
func TestThePageHasAllOfTheDescription(t *testing.T) {
	t.Parallel()
	for _, a := range apis {
		page := text(t, a.Path, "text/html; charset=utf-8")
		var d document
		if err := json.Unmarshal(read(docs.Files, a.file), &d); err != nil {
			t.Fatal(err)
		}
		want := func(parts ...string) {
			for _, p := range parts {
				if !strings.Contains(page, p) {
					t.Errorf("%s lacks %s", a.Path, p)
				}
			}
		}
		operations := 0
		for path, methods := range d.Paths {
			for method, o := range methods {
				operations++
				want(`<code>`+path+`</code>`, `id="`+o.OperationID+`"`, `href="#`+o.OperationID+`"`, `<span class="verb `+strings.ToUpper(method)+`">`)
				for status := range o.Responses {
					want(">" + status + "</span>")
				}
				for _, p := range o.Parameters {
					want("<code>" + p.Name + "</code>")
				}
			}
		}
		for name, s := range d.Components.Schemas {
			want(`id="schema-` + name + `"`)
			for field := range s.Properties {
				want("<code>" + field + "</code>")
			}
		}
		if operations == 0 || operations != strings.Count(page, "<h4>Try it</h4>") {
			t.Errorf("%s has %d calls to try, want one for each of %d operations", a.Path, strings.Count(page, "<h4>Try it</h4>"), operations)
		}
	}
	want := []string{"4 to 20", "one of <code>code</code>, <code>approve</code>; default <code>code</code>", "at least 1"}
	for _, w := range want {
		if page := text(t, "/docs", "text/html; charset=utf-8"); !strings.Contains(page, w) {
			t.Errorf("/docs lacks the bound %q", w)
		}
	}
}

var reference = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// A page runs nothing and loads nothing from elsewhere, and each link on it leads to something.
func TestAPageIsWholeInItself(t *testing.T) {
	t.Parallel()
	for _, a := range apis {
		page := text(t, a.Path, "text/html; charset=utf-8")
		for _, never := range []string{"<script", "style=", "javascript:", "<img", "<iframe", "@import", "url("} {
			if strings.Contains(page, never) {
				t.Errorf("%s has %s", a.Path, never)
			}
		}
		for _, m := range reference.FindAllStringSubmatch(page, -1) {
			to, fragment, _ := strings.Cut(m[1], "#")
			switch {
			case strings.Contains(m[1], "//"): // elsewhere; an address in an example's text is none
				t.Errorf("%s leads to %s", a.Path, m[1])
			case to == "" && !strings.Contains(page, `id="`+fragment+`"`):
				t.Errorf("%s: nothing has the id %s", a.Path, fragment)
			case to == "", to == "/openapi.json": // the API's own
			case get(to).StatusCode != 200:
				t.Errorf("%s: %s isn't served", a.Path, to)
			}
		}
	}
	style := text(t, "/docs/style.css", "text/css; charset=utf-8")
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style sheet loads something")
	}
}

func TestTheListHasEveryPage(t *testing.T) {
	t.Parallel()
	list := text(t, "/llms.txt", "text/plain; charset=utf-8")
	for _, name := range pages() {
		if strings.HasSuffix(name, ".md") {
			if !regexp.MustCompile(`(?m)^- \[.+\]\(/docs/` + regexp.QuoteMeta(name) + `\): .{20,}$`).MatchString(list) {
				t.Errorf("%s isn't listed, or has no summary", name)
			}
			if body := text(t, "/docs/"+name, "text/plain; charset=utf-8"); body != string(read(docs.Files, name)) {
				t.Errorf("/docs/%s isn't the page", name)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(list, -1) {
		if m[1] != "/openapi.json" && get(m[1]).StatusCode != 200 {
			t.Errorf("%s is listed, but not served", m[1])
		}
	}
}

func TestWhatIsNoPage(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{"/docs/": 404, "/docs/nothing.md": 404, "/docs/../go.mod": 404, "/docs/docs.go": 404, "/docsx": 404, "/openapi/x": 404, "/docs/openapi.json": 404} {
		if r := get(path); r.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, r.StatusCode, want)
		}
	}
}
