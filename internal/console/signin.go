package console

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"rsc.io/qr"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// A SignIn lets people in: its pages, and [SignIn.Require] around all others.
type SignIn struct {
	service *operator.Service
	log     *slog.Logger
	at      string      // the console's URL
	cookie  http.Cookie // without a value
	oidc    *oidcClient // nil: no provider signs people in
	// passkeys are the second factors that devices hold; nil where the console's address is no name.
	passkeys *webauthn.WebAuthn
}

// NewSignIn returns the sign-in of the console at a URL.
func NewSignIn(s *operator.Service, log *slog.Logger, at string) *SignIn {
	at = strings.TrimRight(at, "/")
	in := &SignIn{service: s, log: log, at: at, passkeys: relyingParty(at)}
	in.cookie = in.newCookie("countersign", http.SameSiteStrictMode)
	return in
}

// newCookie is a cookie without a value, for this host only. Where browsers come by TLS, they take it by TLS only.
func (s *SignIn) newCookie(name string, same http.SameSite) http.Cookie {
	c := http.Cookie{Name: name, Path: "/", HttpOnly: true, SameSite: same}
	if strings.HasPrefix(s.at, "https://") {
		c.Name, c.Secure = "__Host-"+name, true
	}
	return c
}

// maxSignIn is the largest form of these pages, in bytes: devices answer with certificates and keys.
const maxSignIn = 16 << 10

// home is the page after the sign-in.
const home = "/"

// Handler serves the pages:
//
//	GET  /sign-in                the form
//	POST /sign-in                name, password; code, or passkey
//	GET  /sign-in/set-up         the form for a link's token, which a script takes from the fragment
//	POST /sign-in/set-up         token; and password, code
//	GET  /sign-in/sessions       one's own sessions
//	POST /sign-in/sessions/end   id
//	POST /sign-in/out            ends this session
//	POST /sign-in/passkeys/add     name, password, passkey: adds one to one's own
//	POST /sign-in/passkeys/remove  id
//	GET  /sign-in/oidc           leads to the company's provider
//	GET  /sign-in/oidc/callback  code, state: to which the provider leads back
//
// Secrets are only in bodies of POSTs, which other sites can't make.
func (s *SignIn) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) { s.form(w, http.StatusOK, "", "") })
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("GET /sign-in/set-up", func(w http.ResponseWriter, r *http.Request) { s.setUpForm(w, http.StatusOK, setUp{}) })
	mux.HandleFunc("POST /sign-in/set-up", s.setUp)
	mux.Handle("GET /sign-in/sessions", s.Require(http.HandlerFunc(s.sessions)))
	mux.Handle("POST /sign-in/sessions/end", s.Require(http.HandlerFunc(s.endSession)))
	mux.Handle("POST /sign-in/out", s.Require(http.HandlerFunc(s.signOut)))
	if s.passkeys != nil {
		mux.Handle("POST /sign-in/passkeys/add", s.Require(http.HandlerFunc(s.addPasskey)))
		mux.Handle("POST /sign-in/passkeys/remove", s.Require(http.HandlerFunc(s.removePasskey)))
	}
	if s.oidc != nil {
		mux.HandleFunc("GET /sign-in/oidc", s.toProvider)
		mux.HandleFunc("GET /sign-in/oidc/callback", s.fromProvider)
	}
	bounded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxSignIn)
		mux.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(bounded)
}

// current is the session of a request and its operator.
type current struct {
	Session  operator.Session
	Operator operator.Operator
}

// find returns the session of a request. It fails with [operator.ErrNoSession].
func (s *SignIn) find(r *http.Request) (current, error) {
	c, err := r.Cookie(s.cookie.Name)
	if err != nil {
		return current{}, operator.ErrNoSession
	}
	session, o, err := s.service.Session(r.Context(), verify.Secret(c.Value))
	return current{session, o}, err
}

// Require lets only requests through that come from a signed-in person, whom it puts into the context. It leads all
// others to the sign-in. What it serves is never kept by a cache, and no other site can write to it.
func (s *SignIn) Require(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, err := s.find(r)
		if err != nil && !errors.Is(err, operator.ErrNoSession) {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		}
		o := found.Operator
		next.ServeHTTP(w, r.WithContext(WithPerson(r.Context(), Person{Name: o.Name, Role: o.Role, Projects: o.Projects, SignedIn: true})))
	}))
}

var (
	signInPage   = parse("signin.html")
	signedInPage = parse("signedin.html")
	setUpPage    = parse("setup.html")
	sessionsPage = parse("sessions.html")
)

// signInForm is what the page of the sign-in shows.
type signInForm struct {
	Name, Problem string
	Provider      bool   // signs people in
	Options       string // with which a device is asked to sign; "": no passkeys
}

func (s *SignIn) form(w http.ResponseWriter, status int, name, problem string) {
	form := signInForm{Name: name, Problem: problem, Provider: s.oidc != nil}
	if s.passkeys != nil {
		var err error
		if form.Options, err = s.signOptions(); err != nil {
			s.log.Error("make a challenge for passkeys", "err", err) // a code signs in as well
		}
	}
	show(w, status, signInPage, view{Title: "Sign in", Data: form})
}

func client(r *http.Request) operator.Client {
	return operator.Client{Remote: r.RemoteAddr, Agent: r.UserAgent()}
}

func (s *SignIn) signIn(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	typed := operator.Credentials{Name: name, Password: verify.Secret(r.PostFormValue("password")), Code: verify.Secret(r.PostFormValue("code"))}
	if signed := r.PostFormValue("passkey"); signed != "" && s.passkeys != nil {
		typed.Prove = s.prove(signed)
	}
	token, err := s.service.SignIn(r.Context(), typed, client(r))
	if err != nil {
		status, problem := s.explain(w, r, err)
		s.form(w, status, name, problem)
		return
	}
	s.begin(w, r, token)
}

// begin gives the browser a session, and leads to the first page.
func (s *SignIn) begin(w http.ResponseWriter, r *http.Request, token verify.Secret) {
	s.give(w, token)
	http.Redirect(w, r, home, http.StatusSeeOther)
}

// give gives the browser a session. The token is always new: one that the browser had before opens nothing.
func (s *SignIn) give(w http.ResponseWriter, token verify.Secret) {
	c := s.cookie
	c.Value, c.MaxAge = token.Reveal(), int(operator.Absolute/time.Second)
	http.SetCookie(w, &c)
}

// explain says what a person reads about an error. It logs those that they can't mend.
func (s *SignIn) explain(w http.ResponseWriter, r *http.Request, err error) (status int, problem string) {
	var known *verify.Error
	if !errors.As(err, &known) {
		s.log.ErrorContext(r.Context(), "sign-in failed", "err", err)
		return http.StatusInternalServerError, "The server can't do this at the moment. Try again in a minute."
	}
	problem = known.Message
	for _, p := range known.Problems {
		problem += "; the " + string(p.Field) + " " + p.Message
	}
	switch known.Kind {
	case verify.KindLimited, verify.KindUnavailable:
		wait := max(1, int((known.RetryAfter+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(wait))
		return http.StatusTooManyRequests, problem + ": wait " + (time.Duration(wait) * time.Second).String()
	case verify.KindInvalid:
		return http.StatusUnprocessableEntity, strings.TrimPrefix(problem, known.Message+"; ")
	}
	return http.StatusForbidden, problem
}

func (s *SignIn) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, problem := s.explain(w, r, err)
	s.form(w, status, "", problem)
}

// setUp is what the page of the set-up shows.
type setUp struct {
	Token, Name, Seed, Problem string
	Path                       string // of the QR code, in SVG
	Size                       int
}

func (s *SignIn) setUpForm(w http.ResponseWriter, status int, p setUp) {
	show(w, status, setUpPage, view{Title: "Set up your sign-in", Data: p})
}

// setUp shows the second factor of a link's operator, and spends the link when a password and a code come with it.
func (s *SignIn) setUp(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimSpace(r.PostFormValue("token"))
	status, problem := http.StatusOK, ""
	if r.PostForm.Has("password") {
		session, err := s.service.SetUp(r.Context(), verify.Secret(token), verify.Secret(r.PostFormValue("password")), verify.Secret(r.PostFormValue("code")), client(r))
		if err == nil {
			s.begin(w, r, session)
			return
		}
		if status, problem = s.explain(w, r, err); status != http.StatusUnprocessableEntity { // else the form is for another try
			s.setUpForm(w, status, setUp{Problem: problem})
			return
		}
	}
	o, seed, err := s.service.OpenLink(r.Context(), verify.Secret(token), client(r))
	if err != nil {
		status, problem = s.explain(w, r, err)
		s.setUpForm(w, status, setUp{Problem: problem})
		return
	}
	p := setUp{Token: token, Name: o.Name, Seed: seed.Text(), Problem: problem}
	if p.Path, p.Size, err = svg(seed.URI(o.Name)); err != nil {
		s.fail(w, r, err)
		return
	}
	s.setUpForm(w, status, p)
}

// svg draws a QR code as the path of an SVG, which needs no image from elsewhere.
func svg(text string) (path string, size int, err error) {
	c, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for y := range c.Size {
		for x := range c.Size {
			if c.Black(x, y) {
				b.WriteString("M" + strconv.Itoa(x+4) + " " + strconv.Itoa(y+4) + "h1v1h-1z")
			}
		}
	}
	return b.String(), c.Size + 8, nil
}

// sitting is a session as its page shows it.
type sitting struct {
	ID, Began, Used, Address, Agent string
	Current                         bool
}

func (s *SignIn) sessions(w http.ResponseWriter, r *http.Request) {
	found, err := s.find(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.showSessions(w, r, http.StatusOK, found, "")
}

// ownSignIn is what the page of sessions shows.
type ownSignIn struct {
	Problem  string
	Sessions []sitting
	Passkeys bool // has a place for them
	Keys     []heldKey
	Options  string // with which a device is asked to make one
}

func (s *SignIn) showSessions(w http.ResponseWriter, r *http.Request, status int, found current, problem string) {
	all, err := s.service.Sessions(r.Context(), found.Operator.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	own := ownSignIn{Problem: problem, Passkeys: s.passkeys != nil && !found.Operator.Provided()}
	for _, x := range all {
		own.Sessions = append(own.Sessions, sitting{x.ID.String(), at(x.CreatedAt), at(x.UsedAt), x.Address, cmp.Or(x.Agent, "unknown"), x.ID == found.Session.ID})
	}
	if own.Passkeys {
		keys, err := s.service.Passkeys(r.Context(), found.Operator.ID)
		if err == nil {
			own.Keys = heldKeys(keys)
			own.Options, err = s.addOptions(&holder{found.Operator, keys})
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
	}
	show(w, status, sessionsPage, view{Title: "Your sign-in", Who: found.Operator.Name, Role: string(found.Operator.Role), SignedIn: true, Data: own})
}

func at(t time.Time) string { return t.UTC().Format(time.DateTime) }

func (s *SignIn) endSession(w http.ResponseWriter, r *http.Request) {
	id, _ := verify.ParseID(r.PostFormValue("id"))
	s.end(w, r, func(current) verify.ID { return id }, "/sign-in/sessions")
}

func (s *SignIn) signOut(w http.ResponseWriter, r *http.Request) {
	c := s.cookie
	c.MaxAge = -1
	http.SetCookie(w, &c)
	s.end(w, r, func(c current) verify.ID { return c.Session.ID }, "/sign-in")
}

// end ends one of the person's own sessions. One that has ended already is no error.
func (s *SignIn) end(w http.ResponseWriter, r *http.Request, which func(current) verify.ID, to string) {
	found, err := s.find(r)
	if err == nil {
		err = s.service.EndSession(r.Context(), found.Operator, which(found))
	}
	if err != nil && !errors.Is(err, operator.ErrNoSession) {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
