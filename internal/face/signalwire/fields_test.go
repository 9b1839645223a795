package signalwire

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
)

func TestDetailsAreInThePublishedOrder(t *testing.T) {
	t.Parallel()
	body := strings.NewReader(`{"allow_alpha":1,"max_attempts":"x","to":5,"token":7,"from":[]}`)
	f, err := request.Read(httptest.NewRequest("POST", "/", body), request.JSON)
	if err != nil {
		t.Fatal(err)
	}
	f.Boolean("allow_alpha")
	f.Integer("max_attempts")
	f.Text("token")
	f.Text("from")
	f.Text("to")
	var bad *face.Invalid
	if !errors.As(shape.Invalid(f, nil), &bad) {
		t.Fatal("bad fields aren't an error")
	}
	want := []string{"To must be a string", "From must be a string", "Max attempts is not a number", "Allow alpha must be true or false", "Token must be a string"}
	if diff := cmp.Diff(want, details(bad)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
