package system

import (
	"net/http/httptest"
	"testing"
)

// What doesn't get as far as an API is refused in the shape of the API that its path names.
func TestRefusalsHaveTheShapeOfTheirAPI(t *testing.T) {
	t.Parallel()
	const problem = `{"title":"Too Many Requests","status":429,"code":"too_many_requests","detail":"this client has too many requests under way; send the next one when one of them is answered"}`
	for path, want := range map[string]string{
		"/v1": problem, "/v1/verifications": problem, "/openapi.json": problem,
		"/mfa/v1/applications": `{"error_code":"429","error_description":"this client has too many requests under way"}`,
		"/apptoken-refresh":    `{"errorCode":1,"moreInfo":"Too Many Requests","userMsg":"The request is wrong."}`,
		"/api/relay/rest/mfa":  `{"error":"Too Many Requests"}`,
		"/":                    `{"error":"Too Many Requests"}`,
	} {
		w := httptest.NewRecorder()
		Refuse(w, httptest.NewRequest("POST", path, nil), 429)
		if got := w.Body.String(); w.Code != 429 || got != want {
			t.Errorf("%s: got %d %s\nwant 429 %s", path, w.Code, got, want)
		}
	}
}
