// Provider is a provider of OpenID Connect for tests: zitadel's example, with groups that a test sets. It prints its
// issuer, and answers until its input ends.
//
//	provider REDIRECT-URI
//
// POST /groups user=ID&groups=A&groups=B says which groups a user has; there are id1 (test-user@localhost) and id2
// (test-user2), both with the password verysecure.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// grouped is the example's storage, whose users have groups.
type grouped struct {
	*storage.Storage
	mu     sync.Mutex // guards groups
	groups map[string][]string
}

// SetUserinfoFromToken answers the userinfo endpoint.
func (g *grouped) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	info.AppendClaims("groups", g.groups[subject])
	return g.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
}

func main() {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	issuer := fmt.Sprintf("http://localhost:%d/", listener.Addr().(*net.TCPAddr).Port)
	storage.RegisterClients(storage.WebClient("console", "a client secret", os.Args[1]))
	users := &grouped{Storage: storage.NewStorage(storage.NewUserStore(issuer)), groups: map[string][]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /groups", func(w http.ResponseWriter, r *http.Request) {
		users.mu.Lock()
		defer users.mu.Unlock()
		r.ParseForm()
		users.groups[r.Form.Get("user")] = r.Form["groups"]
	})
	mux.Handle("/", exampleop.SetupServer(issuer, users, slog.New(slog.DiscardHandler), false))
	fmt.Println(issuer)
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	io.Copy(io.Discard, os.Stdin)
}
