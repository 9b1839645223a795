package device

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/countersign/countersign/sdk/web"
)

// The authenticator: a page, and the SDK's scripts and service worker. It has no dependencies, and loads nothing from
// elsewhere.
//
//go:embed app
var app embed.FS

// policy is the page's Content-Security-Policy (CSP level 3): everything comes from this server, nothing is inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var index = embedded(app, "app/index.html", "text/html; charset=utf-8")

// files are what the page loads.
var files = map[string]http.Handler{
	"/device/style.css":            embedded(app, "app/style.css", "text/css; charset=utf-8"),
	"/device/page.js":              embedded(app, "app/page.js", javascript),
	"/device/lib.js":               embedded(web.Files, "lib.js", javascript),
	"/device/words.js":             embedded(web.Files, "words.js", javascript),
	"/device/worker.js":            embedded(web.Files, "worker.js", javascript),
	"/device/manifest.webmanifest": embedded(app, "app/manifest.webmanifest", "application/manifest+json"),
	"/device/icon.svg":             embedded(app, "app/icon.svg", "image/svg+xml"),
}

const javascript = "text/javascript; charset=utf-8"

// embedded serves a file, compressed for those who say that they read that: the texts of all languages are most of it.
func embedded(files fs.ReadFileFS, name, kind string) http.Handler {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	packed := sync.OnceValue(func() []byte { return compress(text) }) // most processes serve nothing
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Vary", "Accept-Encoding")
		if !gzipAccepted.MatchString(strings.Join(r.Header.Values("Accept-Encoding"), ",")) {
			w.Write(text)
			return
		}
		h.Set("Content-Encoding", "gzip")
		w.Write(packed())
	})
}

// gzipAccepted matches what browsers send. A weight would say something of other encodings.
var gzipAccepted = regexp.MustCompile(`(?i)(^|,)\s*gzip\s*(,|$)`)

func compress(text []byte) []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(text) // never fails into memory
	w.Close()
	return packed.Bytes()
}
