package face_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// A large request gives its place back when it is read: a check may wait for half a minute after that, and many such
// checks would keep all others' large requests out.
func TestALargeRequestHasAPlaceOnlyWhileItIsRead(t *testing.T) {
	t.Parallel()
	const places = 256
	service := verify.New(verify.Config{Now: time.Now})
	api := face.API{Service: service, Shape: face.Shape{
		Authenticate: func(*account.Service, *http.Request) (*verify.Account, error) { return &verify.Account{}, nil },
		Types:        []string{request.JSON},
	}}
	free := 0
	h := api.Endpoint(0, func(c face.Call) (any, error) {
		for range places {
			leave, err := service.ReadLarge(c.Account)
			if err != nil {
				break
			}
			defer leave()
			free++
		}
		return nil, nil
	})
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"wait":30}`))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || free != places {
		t.Errorf("while a request is carried out: got %d, with %d places free, want %d", w.Code, free, places)
	}
}
