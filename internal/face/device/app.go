package device

import (
	"embed"
	"net/http"
)

// The authenticator: a page, its scripts and its service worker. It has no dependencies, and loads nothing from elsewhere.
//
//go:embed app
var app embed.FS

// policy is the page's Content-Security-Policy (CSP level 3): everything comes from this server, nothing is inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var index = embedded("index.html", "text/html; charset=utf-8")

// files are what the page loads.
var files = map[string]http.Handler{
	"/device/style.css":            embedded("style.css", "text/css; charset=utf-8"),
	"/device/lib.js":               embedded("lib.js", "text/javascript; charset=utf-8"),
	"/device/page.js":              embedded("page.js", "text/javascript; charset=utf-8"),
	"/device/worker.js":            embedded("worker.js", "text/javascript; charset=utf-8"),
	"/device/manifest.webmanifest": embedded("manifest.webmanifest", "application/manifest+json"),
	"/device/icon.svg":             embedded("icon.svg", "image/svg+xml"),
}

// embedded serves a file of the app.
func embedded(name, kind string) http.Handler {
	text, err := app.ReadFile("app/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		w.Write(text)
	})
}
