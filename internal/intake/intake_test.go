package intake_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/intake"
)

var known = []string{"user", "number", "age"}

func TestBothFormsAreRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"CSV":            "user,number,age\nada,+12025550100,7\n\n\"bo,b\",\"+1\n2\",\n",
		"CSV of Windows": "\ufeffuser , number,age\r\nada,+12025550100 ,7\r\n\r\n\"bo,b\",\"+1\n2\",\r\n",
		"JSON lines":     `{"user":"ada","number":"+12025550100","age":7}` + "\n \n" + `{"number":"+1\n2","user":"bo,b","age":null}`,
	} {
		rows, err := intake.Read(strings.NewReader(text), known)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		for _, r := range rows {
			got += fmt.Sprintf("%d %q %q", r.Line, r.Text("user"), r.Text("number"))
			if n := r.Integer("age"); n != nil {
				got += fmt.Sprint(" ", *n)
			}
			got += "; "
		}
		if want := `1 "ada" "+12025550100" 7; 3 "bo,b" "+1\n2"; `; strings.HasPrefix(name, "JSON") && got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if want := `2 "ada" "+12025550100" 7; 4 "bo,b" "+1\n2"; `; strings.HasPrefix(name, "CSV") && got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestErrorsNameTheLineAndTheField(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"user,nummer\nada,1\n":                "line 1: nummer: is unknown; known: user, number, age",
		"user,user\nada,1\n":                  "line 1: user: is there twice",
		"user,number\nada\n":                  "line 2: wrong number of fields",
		"user,number\nada,\"1\nbob,2\n":       "line 2: extraneous or missing \" in quoted-field",
		"user\n\xff\nada\n":                   "line 2: isn't UTF-8",
		"{\"user\":\"ada\"}\n{\"x\":1}\nnull": "line 2: x: is unknown; known: user, number, age\nline 3: must be one JSON object that has no name twice",
		"{\"user\":\"a\",\"user\":\"b\"}":     "line 1: must be one JSON object that has no name twice",
		"{\"user\":\"\xff\"}":                 "line 1: isn't UTF-8",
		"{" + strings.Repeat(" ", 2<<20):      "line 1: is too long (maximum is 1048576 bytes)",
	} {
		rows, err := intake.Read(strings.NewReader(text), known)
		if err == nil || err.Error() != want {
			t.Errorf("%.60q: got %d rows, %v\nwant %s", text, len(rows), err, want)
		}
	}
	if rows, err := intake.Read(strings.NewReader("\n {\"user\":\"ada\"}"), known); len(rows) != 1 || rows[0].Line != 2 || err != nil {
		t.Errorf("an empty line before JSON: %v, %v", rows, err)
	}
	if rows, err := intake.Read(strings.NewReader(""), known); len(rows) > 0 || err != nil {
		t.Errorf("an empty file: %v, %v", rows, err)
	}
}
