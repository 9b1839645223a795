//go:build race

package testsize

// Race is whether the race detector watches.
const Race = true
