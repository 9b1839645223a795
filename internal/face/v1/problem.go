package v1

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/request"
)

// unknown has a stable word and a sentence for what the service knows nothing of, by status.
var unknown = map[int]struct{ code, detail string }{
	http.StatusBadRequest:            {"unreadable", "the body isn't one JSON object in UTF-8, or a name of the body or of the query is there twice"},
	http.StatusNotFound:              {"no_route", "nothing is served at this path"},
	http.StatusMethodNotAllowed:      {"no_method", "the path doesn't take this method; the header Allow says which it takes"},
	http.StatusRequestEntityTooLarge: {"too_large", "the body is too large; send at most " + strconv.Itoa(request.MaxBody) + " bytes"},
	http.StatusUnsupportedMediaType:  {"media_type", "the body has another type; send Content-Type: " + request.JSON},
	http.StatusTooManyRequests:       {"too_many_requests", "this client has too many requests under way; send the next one when one of them is answered"},
	http.StatusInternalServerError:   {"internal", "the fault is the server's; its log has the request's id, which is in the header X-Request-Id"},
}

func writeProblem(w http.ResponseWriter, p api.Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // our own type
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body)
}
