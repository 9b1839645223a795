package v1

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/request"
)

// details are the sentences for what the service knows nothing of.
var details = map[int]string{
	http.StatusBadRequest:            "the body isn't one JSON object in UTF-8, or a name of the body or of the query is there twice",
	http.StatusNotFound:              "nothing is served at this path",
	http.StatusMethodNotAllowed:      "the path doesn't take this method; the header Allow says which it takes",
	http.StatusRequestEntityTooLarge: "the body is too large; send at most " + strconv.Itoa(request.MaxBody) + " bytes",
	http.StatusUnsupportedMediaType:  "the body has another type; send Content-Type: " + request.JSON,
	http.StatusInternalServerError:   "the fault is the server's; its log has the request's id, which is in the header X-Request-Id",
}

// word is the stable word for such a status.
func word(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "unreadable"
	case http.StatusNotFound:
		return "no_route"
	case http.StatusMethodNotAllowed:
		return "no_method"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "media_type"
	}
	return "internal"
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
