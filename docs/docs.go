// Package docs holds the documentation, so that the server can serve what it was built with.
package docs

import "embed"

// Files are the pages in Markdown, and the OpenAPI descriptions of the APIs.
//
//go:embed *.md *.json *.svg
var Files embed.FS
