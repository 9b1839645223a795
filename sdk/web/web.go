// Package web holds the browser SDK's files for the server, whose authenticator is made of them. They are an npm package
// as well: README.md is for those who use it. For Go programs, this is no interface.
package web

import "embed"

// Files are the scripts that the server serves.
//
//go:embed *.js
var Files embed.FS
