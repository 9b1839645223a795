// Floor is the smallest program that starts and checks verifications: two JSON handlers over a
// map, and one POST of the message. It stores nothing, limits nothing and asks for no
// credentials. "make bench" compares the server's cost with its cost.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"os"
	"sync"

	"github.com/google/uuid"
)

type floor struct {
	receiver string
	client   *http.Client

	mu    sync.Mutex // guards codes
	codes map[string]string
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: floor LISTEN RECEIVER-URL")
	}
	f := &floor{receiver: os.Args[2], codes: map[string]string{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	http.HandleFunc("POST /api/relay/rest/mfa/sms", f.start)
	http.HandleFunc("POST /api/relay/rest/mfa/{id}/verify", f.check)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

func (f *floor) start(w http.ResponseWriter, r *http.Request) {
	var in struct{ To string }
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		http.Error(w, "no random numbers", http.StatusInternalServerError)
		return
	}
	id, code := uuid.NewString(), fmt.Sprintf("%06d", n)
	f.mu.Lock()
	f.codes[id] = code
	f.mu.Unlock()
	go f.send(id, in.To, "Your Personal Authorization Code is: "+code)
	json.NewEncoder(w).Encode(map[string]any{"id": id, "success": true, "to": in.To, "channel": "sms"})
}

func (f *floor) send(id, to, text string) {
	body, err := json.Marshal(map[string]string{"verification_id": id, "to": to, "body": text})
	if err != nil {
		log.Print(err)
		return
	}
	resp, err := f.client.Post(f.receiver, "application/json", bytes.NewReader(body))
	if err != nil {
		log.Print(err)
		return
	}
	resp.Body.Close()
}

func (f *floor) check(w http.ResponseWriter, r *http.Request) {
	var in struct{ Token string }
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	id := r.PathValue("id")
	f.mu.Lock()
	right := f.codes[id] == in.Token
	if right {
		delete(f.codes, id)
	}
	f.mu.Unlock()
	json.NewEncoder(w).Encode(map[string]bool{"success": right})
}
