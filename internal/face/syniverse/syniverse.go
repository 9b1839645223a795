// Package syniverse serves Syniverse's MFA REST API, so that a client written for it works with
// only its base URL and bearer token changed.
package syniverse
