// Package manual serves the documentation: the APIs as pages for people (/docs), their OpenAPI descriptions
// (/openapi/…), the pages in Markdown (/docs/….md), and a list of all of these for language models (/llms.txt). What it
// serves is embedded and public. The pages have no script, and load nothing from elsewhere.
package manual

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/countersign/countersign/docs"
	"github.com/countersign/countersign/internal/web"
)

//go:embed page.tmpl style.css
var files embed.FS

// policy lets a page have this server's style sheet, and nothing else.
const policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// An apiPage is an API that has a page.
type apiPage struct {
	Path, Name string
	Source     string // where its description is served
	file       string // in docs
	guide      string // the page in Markdown
}

var apis = []apiPage{
	{"/docs", "/v1", "/openapi.json", "openapi.json", "api.md"},
	{"/docs/signalwire", "SignalWire", "/openapi/signalwire.json", "openapi-signalwire.json", "signalwire.md"},
	{"/docs/syniverse", "Syniverse", "/openapi/syniverse.json", "openapi-syniverse.json", "syniverse.md"},
}

// Mounts returns the mounts of the documentation. /openapi.json isn't among them: the API serves it itself.
func Mounts() (all []web.Mount) {
	mux := http.NewServeMux()
	for _, a := range apis {
		mux.HandleFunc("GET "+a.Path, page(a))
		if strings.HasPrefix(a.Source, "/openapi/") {
			mux.HandleFunc("GET "+a.Source, file("application/openapi+json", read(docs.Files, a.file)))
		}
	}
	mux.HandleFunc("GET /docs/style.css", file("text/css; charset=utf-8", read(files, "style.css")))
	for _, name := range pages() {
		kind := "text/plain; charset=utf-8" // which every browser shows
		if path.Ext(name) == ".svg" {
			kind = "image/svg+xml"
		}
		mux.HandleFunc("GET /docs/"+name, file(kind, read(docs.Files, name)))
	}
	mux.HandleFunc("GET /llms.txt", file("text/plain; charset=utf-8", contents()))
	handler := web.Exact(mux, func(w http.ResponseWriter, status int) {
		http.Error(w, http.StatusText(status)+". The documentation is at /docs, and /llms.txt lists its pages.", status)
	})
	for _, prefix := range []string{"/docs", "/openapi/", "/llms.txt"} {
		all = append(all, web.Mount{Name: "docs", Prefix: prefix, Handler: handler})
	}
	return all
}

// read returns a file that is there, because it was embedded.
func read(from fs.ReadFileFS, name string) []byte {
	text, err := from.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return text
}

// pages are the names of all pages in Markdown, and of the pictures in them.
func pages() (names []string) {
	entries, err := docs.Files.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if path.Ext(e.Name()) != ".json" {
			names = append(names, e.Name())
		}
	}
	return names
}

func file(kind string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { write(w, kind, text) }
}

func write(w http.ResponseWriter, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Write(text)
}

// page serves an API's page, which is made when somebody first asks for it.
func page(a apiPage) http.HandlerFunc {
	made := sync.OnceValue(func() []byte { return render(a) })
	return func(w http.ResponseWriter, _ *http.Request) { write(w, "text/html; charset=utf-8", made()) }
}

var layout = template.Must(template.New("page.tmpl").Funcs(template.FuncMap{"marked": marked}).ParseFS(files, "page.tmpl"))

func render(a apiPage) []byte {
	d, err := readDescription(read(docs.Files, a.file))
	if err != nil {
		panic(fmt.Errorf("%s: %w", a.file, err)) // our own
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, struct {
		*description
		API   apiPage
		APIs  []apiPage
		Guide string
	}{d, a, apis, "/docs/" + a.guide}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var inlineCode = regexp.MustCompile("`([^`]+)`")

// marked is a description's text, with what is code in it as such.
func marked(text string) template.HTML {
	return template.HTML(inlineCode.ReplaceAllString(template.HTMLEscapeString(text), "<code>$1</code>"))
}

// first are the pages that most people need.
var first = []string{"api.md", "errors.md", "quickstart.md"}

// contents is the list of the documentation, in the form of llmstxt.org.
func contents() []byte {
	var b bytes.Buffer
	b.WriteString("# Countersign\n\n> A self-hosted verification server: it sends one-time codes by SMS and voice call, and checks what people type.\n\n## APIs\n\n")
	for _, a := range apis {
		fmt.Fprintf(&b, "- [OpenAPI of %s](%s): for people at %s\n", a.Name, a.Source, a.Path)
	}
	b.WriteString("\n## Pages\n\n")
	names := slices.DeleteFunc(pages(), func(name string) bool { return path.Ext(name) != ".md" || slices.Contains(first, name) })
	for _, name := range append(slices.Clone(first), names...) {
		title, about := summary(string(read(docs.Files, name)))
		fmt.Fprintf(&b, "- [%s](/docs/%s): %s\n", title, name, about)
	}
	return b.Bytes()
}

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->`)
	link    = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
)

// summary is a page's title and its first sentences.
func summary(text string) (title, about string) {
	text = comment.ReplaceAllString(text, "")
	head, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	paragraph := ""
	for _, p := range strings.Split(rest, "\n\n") {
		if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, "#") {
			paragraph = p
			break
		}
	}
	paragraph = link.ReplaceAllString(strings.ReplaceAll(paragraph, "\n", " "), "$1")
	for i, r := range paragraph {
		if r == '.' && i > 60 && strings.HasPrefix(paragraph[i:], ". ") {
			paragraph = paragraph[:i+1]
			break
		}
	}
	return strings.TrimPrefix(head, "# "), paragraph
}
