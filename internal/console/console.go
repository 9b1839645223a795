// Package console is what people see in a browser: one frame, one look, and a page for each question. The pages work
// without scripts; what a script adds is that they follow along. No request leaves the server.
package console

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"sync"
)

// Prefix is the prefix of what the pages are made of: the style sheet and the script.
const Prefix = "/console/"

//go:embed static
var static embed.FS

//go:embed *.html
var pages embed.FS

// policy is the pages' Content-Security-Policy (CSP level 3): everything comes from this server, nothing is inline.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; media-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Assets serves the style sheet and the script.
func Assets() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the name is embedded above
	}
	return http.StripPrefix(Prefix, http.FileServerFS(files))
}

// A view is a page of the frame.
type view struct {
	Title string
	Pages []link
	Live  bool // follows along
	Who   string
	Role  string
	// SignedIn says that who looks at it has a session.
	SignedIn bool
	Data     any
}

// A link leads to a page.
type link struct {
	Name, Path string
	Current    bool
}

// A lazyTemplate is a page's template, which is read when the page is shown for the first time: most runs of the program show none.
type lazyTemplate func() *template.Template

func parse(name string) lazyTemplate {
	return sync.OnceValue(func() *template.Template {
		return template.Must(template.ParseFS(pages, "frame.html", "lines.html", name))
	})
}

// show writes a page with its headers.
func show(w http.ResponseWriter, status int, t lazyTemplate, v view) {
	var page bytes.Buffer
	if err := t().Execute(&page, v); err != nil {
		http.Error(w, "the page can't be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	page.WriteTo(w)
}
