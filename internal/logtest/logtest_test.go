package logtest

import "testing"

func TestTells(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`level=INFO msg="call ended" to=+12025550100 x=1`: "+12025550100", `"to":"12025550100"`: "12025550100", `sip:2025550100@x`: "2025550100",
		`ref=+4915112345678`: "+4915112345678",
		`to=+1202555….`:      "", `unix=1777896000123`: "", `id=019a5c1d-b54f-7eb3-919b-2585f8217933`: "", `from=…0199`: "", `x=+12`: "",
	} {
		if got := Tells([]byte(line)); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestMeant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"019df2dc-0a02-79f8-8610-b897b98adad1 of a user": " of a user", "application 02vBq1ada4hbHrQ5Zc7Xyz": "application ", "ada of 4711": "ada of 4711",
		`{"time":"2026-05-04T12:00:49.904711Z","code":"4711"}`: `{,"code":"4711"}`, "time=2026-05-04T12:00:49.90Z code=4711": " code=4711",
	} {
		if got := Meant(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
