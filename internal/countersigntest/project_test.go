package countersigntest_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// A command deletes a project beside a running server: within a second nobody can use its key, and its codes are worth
// nothing.
func TestADeletedProjectIsGoneBesideAServer(t *testing.T) {
	t.Parallel()
	const to = "+12025550100"
	k := countersigntest.New(t, countersigntest.Options{})
	id := k.Start(to, "")
	code := k.Code(to, id)
	p := k.Account().Project.ID

	other, err := store.Open(t.Context(), store.Options{Path: filepath.Join(k.Data, system.DatabaseFile), Now: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	canceled, err := admin.New(other).DeleteProject(t.Context(), admin.User("ada"), p, true)
	if err != nil || canceled != 1 {
		t.Fatalf("got %d, %v; want 1", canceled, err)
	}
	k.Advance(time.Second)
	if status, body := k.Post(id+"/verify", `{"token":"`+code+`"}`); status != 401 {
		t.Errorf("the right code: got %d %s, want 401", status, body)
	}
	if status, body := k.Post("sms", `{"to":"`+to+`"}`); status != 401 {
		t.Errorf("a start: got %d %s, want 401", status, body)
	}
	if v := k.Verification(id); v.Status != verify.StatusCanceled || v.SealedCode != nil {
		t.Errorf("got status %v, sealed code %d bytes; want canceled without", v.Status, len(v.SealedCode))
	}
}
