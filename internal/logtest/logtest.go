// Package logtest is a log for tests, which fails the test if a line tells a phone number.
package logtest

import (
	"bytes"
	"regexp"
	"testing"
)

// byChance is what may have any digits and letters in it: the time of a line, and ids, in hexadecimal and in base 62.
var byChance = regexp.MustCompile(`"time":"[^"]*"|\btime=\S+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9A-Za-z]{22}\b`)

// Meant is a text without the times of its lines and without ids: a code or a short name that is looked for isn't found in
// them by chance.
func Meant(text string) string { return byChance.ReplaceAllString(text, "") }

// number is a whole phone number: with a plus, or one of those that tests use.
var number = regexp.MustCompile(`\+[1-9][0-9]{8,14}|\b1?202555[0-9]{4}\b`)

// Tells returns the phone number that a line of a log tells, or "".
func Tells(line []byte) string { return string(number.Find(line)) }

// A Log shows the lines of a log with the test that it belongs to, unless they are of level debug. Give it all levels, so
// that all are looked at. Quiet shows none.
type Log struct {
	T     testing.TB
	Quiet bool
}

// Write implements [io.Writer] for a line.
func (l Log) Write(line []byte) (int, error) {
	if told := Tells(line); told != "" {
		l.T.Errorf("the log tells the number %s: %s", told, line)
	} else if !l.Quiet && !bytes.Contains(line, []byte("level=DEBUG")) {
		l.T.Logf("%s", bytes.TrimSpace(line))
	}
	return len(line), nil
}
