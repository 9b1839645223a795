package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/console"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/face/signalwire"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/face/v1"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

type devCommand struct {
	Addr        string `default:"127.0.0.1:8080" help:"Address to listen on: loopback only (default ${default}; port 0 takes a free one)." placeholder:"HOST:PORT"`
	OpsAddr     string `default:"127.0.0.1:0" help:"Address for health checks: loopback only (default: a free port)." placeholder:"HOST:PORT"`
	ConsoleAddr string `default:"127.0.0.1:0" help:"Address of the console, which needs no sign-in here: loopback only (default: a free port)." placeholder:"HOST:PORT"`
	Data        string `help:"Folder to keep the database and the keys in (default: a temporary one, removed at the end)." placeholder:"DIR"`
	Database    string `help:"URL of a PostgreSQL database to use instead of a file; the keys stay in --data." placeholder:"URL"`
	Project     string `help:"Project id to use (default: a new one, or the folder's)." placeholder:"ID"`
	Token       string `help:"API token to use (default: a new one). Other users can see a command line: prefer the variable." env:"COUNTERSIGN_DEV_TOKEN" placeholder:"SECRET"`
	Limits      bool   `help:"Limit messages as in production: to a number 5 at once, then one each 2 minutes, 20 a day; to an application's user one each 30 seconds, 5 in 10 minutes."`
	Verbose     bool   `short:"v" help:"Log more."`
}

// Settings of the development server.
const (
	devSender      = "+12025550199" // in the range that is reserved for fiction
	devQueue       = 1024
	devConcurrency = 64
)

// adjustDev, if set, changes the system before it is opened. The crash tests of this package put a carrier
// before the simulator, so that they see from outside what a killed process handed over.
var adjustDev func(*system.Config)

// Run implements the command.
func (c *devCommand) Run(w world) error {
	for flag, addr := range map[string]string{"--addr": c.Addr, "--ops-addr": c.OpsAddr, "--console-addr": c.ConsoleAddr} {
		if _, _, err := net.SplitHostPort(addr); err != nil || !web.Loopback(addr) {
			return usageError(fmt.Sprintf("%s %s: dev serves this machine only; give a loopback address such as 127.0.0.1:8080", flag, addr))
		}
	}
	if c.Project != "" && !verify.ProjectID(c.Project).Valid() {
		return usageError("--project: must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	if c.Database != "" && c.Data == "" {
		return usageError("--database: give --data as well, or the keys of what it holds are gone at the end")
	}
	if c.Data == "" {
		temp, err := os.MkdirTemp("", "countersign-dev-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		c.Data = temp
	}
	if c.Database == "" {
		release, err := borrowFolder(c.Data)
		if err != nil {
			return err
		}
		defer release()
	}
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	return c.serve(w, slog.New(web.Log(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: level}))))
}

func (c *devCommand) serve(w world, log *slog.Logger) error {
	public, err := listen(c.Addr, "--addr")
	if err != nil {
		return err
	}
	defer public.Close()
	operations, err := listen(c.OpsAddr, "--ops-addr")
	if err != nil {
		return err
	}
	defer operations.Close()
	pages, err := listen(c.ConsoleAddr, "--console-addr")
	if err != nil {
		return err
	}
	defer pages.Close()

	simulator := sim.New(time.Now)
	pushes, err := c.pushes(simulator, log)
	if err != nil {
		return err
	}
	config := system.Config{
		Data: c.Data, Postgres: c.postgres(), Log: log, Settings: c.settings(),
		Carriers: []dispatch.Line{
			{Carrier: simulator, Queue: devQueue, Concurrency: devConcurrency},
			{Carrier: pushes, Channel: verify.ChannelPush, Queue: devQueue, Concurrency: devConcurrency},
		},
		Routes: map[verify.Channel][]string{verify.ChannelSMS: {sim.Name}, verify.ChannelVoice: {sim.Name}, verify.ChannelPush: {pushes.Name()}},
		// The numbers that fail on purpose must not stop the messages to all others.
		BreakAfter: -1,
	}
	if adjustDev != nil {
		adjustDev(&config)
	}
	s, err := system.Open(w.ctx, config)
	if err != nil {
		return err
	}
	simulator.OnReceipt(s.Dispatch.Receive)
	token, err := c.credentials(w.ctx, s.Store)
	if err != nil {
		return errors.Join(err, s.Close(w.ctx))
	}

	if err := c.greet(w, public.Addr(), operations.Addr(), pages.Addr(), token); err != nil {
		return errors.Join(err, s.Close(w.ctx))
	}
	desk := devDesk{s, verify.ProjectID(c.Project), token}
	handler := s.Handler(
		web.Mount{Name: "simulator", Prefix: "/simulator", Handler: console.Phones(simulator, desk)},
		web.Mount{Name: "console", Prefix: console.Prefix, Handler: sim.Guard(console.Assets())},
		web.Mount{Name: "root", Prefix: "/", Handler: web.Root("/simulator")},
	)
	gate := web.NewGate("dev", web.Limits{}, log) // for all
	apis := web.NewServer(handler, log)
	apis.RegisterOnShutdown(s.Verify.EndWaits)
	return serveUntilDone(w.ctx, log, []listening{
		{gate.Listen(public), apis},
		{gate.Listen(operations), web.NewServer(s.Operations(), log)},
		{gate.Listen(pages), web.NewServer(console.Open(s, log), log)},
	},
		func(context.Context) error { return nil }, // it is open
		func(drain context.Context) error {
			s.Dispatch.Close(drain)
			simulator.Close() // its last receipts still find the database
			return s.Close(drain)
		})
}

func (c *devCommand) settings() verify.Settings {
	s := verify.Settings{PublicSender: devSender}
	if c.Limits {
		s.UserLimits = verify.DefaultUserLimits
	}
	return s
}

// postgres is the database that was given, or nil.
func (c *devCommand) postgres() *store.Postgres {
	if c.Database == "" {
		return nil
	}
	return &store.Postgres{URL: c.Database, Timeout: 5 * time.Second} // a laptop may be busy
}

// credentials makes sure that the project exists and that a token opens it. Given ones are used
// as they are, again and again; a generated token is kept in the folder.
func (c *devCommand) credentials(ctx context.Context, st *store.Store) (verify.Secret, error) {
	projects, err := st.Projects(ctx)
	if err != nil {
		return "", err
	}
	if c.Project == "" {
		c.Project = uuid.NewString()
		for _, p := range projects {
			if p.Name == devProject {
				c.Project = string(p.ID)
			}
		}
	}
	p := verify.Project{ID: verify.ProjectID(c.Project), Name: devProject, Profile: verify.ProfileCompat, PublicText: true, AnySender: true, AnyLink: true}
	if c.Limits {
		p.Limits = verify.DefaultLimits
	}
	i := slices.IndexFunc(projects, func(q verify.Project) bool { return q.ID == p.ID })
	switch {
	case i < 0:
		err = st.CreateProject(ctx, p)
	case projects[i].Name == devProject: // not one that somebody made for a purpose of his own
		err = st.UpdateProject(ctx, p)
	}
	if err != nil {
		return "", err
	}

	token, name := verify.Secret(c.Token), "given"
	if token == "" {
		if kept, ok := c.keptToken(ctx, st, p.ID); ok {
			return kept, nil
		}
		token, name = account.NewSecret(), "generated"
		if err := revokeNamed(ctx, st, p.ID, name); err != nil {
			return "", err
		}
		if err := os.WriteFile(c.tokenFile(), []byte(token.Reveal()+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	err = st.CreateKey(ctx, account.Key{ID: verify.NewID(time.Now()), Project: p.ID, Name: name, Scopes: verify.AllScopes, Hash: account.HashKey(token)})
	if errors.Is(err, verify.ErrExists) {
		err = nil
		if acct, _ := st.Account(ctx, account.HashKey(token)); acct.Project.ID != p.ID {
			err = fmt.Errorf("the given token belongs to another project of this folder: choose another one")
		}
	}
	return token, err
}

// tokenFile keeps the generated token with the folder, for its owner only: the lines of yesterday work today.
func (c *devCommand) tokenFile() string { return filepath.Join(c.Data, "dev.token") }

// keptToken is the token of an earlier run on this folder, as long as it is a key of the project.
func (c *devCommand) keptToken(ctx context.Context, st *store.Store, p verify.ProjectID) (verify.Secret, bool) {
	text, err := os.ReadFile(c.tokenFile())
	if err != nil {
		return "", false
	}
	token := verify.Secret(strings.TrimSpace(string(text)))
	acct, err := st.Account(ctx, account.HashKey(token))
	return token, err == nil && acct.Project.ID == p
}

// devProject is the name of the project that dev makes.
const devProject = "dev"

func revokeNamed(ctx context.Context, st *store.Store, p verify.ProjectID, name string) error {
	keys, err := st.Keys(ctx, p)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Name == name && k.RevokedAt.IsZero() {
			if _, err := st.RevokeKey(ctx, k.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// greeting is what a newcomer needs, to paste line by line.
var greeting = template.Must(template.New("").Parse(`Countersign is running. Messages go to a simulator, not to phones.

  API         {{.URL}}{{.V1}}verifications
  SignalWire  {{.URL}}{{.API}}
  Syniverse   {{.URL}}{{.Syniverse}}
  Simulator   {{.URL}}/simulator
  Console     {{.Console}}
  Operations  {{.Operations}}/healthz
  Project     {{.Project}}
  Token       {{.Token}}
  Policy      compat (the hosted vendors' bounds; "standard" keeps NIST SP 800-63B-4)
  Limits      {{.Limits}}
  Data        {{.Data}}

Start a verification by SMS:

  curl -s -H {{.Bearer}} -H 'Content-Type: application/json' -d '{"to":"+12025550100"}' {{.URL}}{{.V1}}verifications

Read the message that the phone would get:

  curl -s '{{.URL}}/simulator/messages?to=%2B12025550100'

Check the code: put it in place of CODE:

  curl -s -H {{.Bearer}} -H 'Content-Type: application/json' -d '{"to":"+12025550100","code":"CODE"}' {{.URL}}{{.V1}}checks

Or by SignalWire's API: start, and check the code with the answer's id in place of ID:

  curl -s -u {{.Credentials}} -H 'Content-Type: application/json' -d '{"to":"+12025550102"}' {{.URL}}{{.API}}sms
  curl -s -u {{.Credentials}} -H 'Content-Type: application/json' -d '{"token":"CODE"}' {{.URL}}{{.API}}ID/verify

Or by Syniverse's API: make an application, and with the answer's id for APP give its user kola a number:

  curl -s -H {{.Bearer}} -H 'Content-Type: application/json' -d '{"name":"Shop"}' {{.URL}}{{.Syniverse}}applications
  curl -s -w '%{http_code}\n' -H {{.Bearer}} -H 'Content-Type: application/json' -d '{"address":"+12025550101"}' {{.URL}}{{.Syniverse}}applications/APP/users/kola/associate

Read the code in the message to +12025550101, and check it; 204 means that it is right:

  curl -s '{{.URL}}/simulator/messages?to=%2B12025550101'
  curl -s -w '%{http_code}\n' -H {{.Bearer}} -H 'Content-Type: application/json' -d '{"validation_code":"CODE"}' {{.URL}}{{.Syniverse}}applications/APP/users/kola/validate

Stop with Ctrl-C.
`))

func (c *devCommand) greet(w world, public, operations, pages net.Addr, token verify.Secret) error {
	limits := "off (--limits switches the send limits on)"
	if c.Limits {
		limits = "5 messages at once to a number, then one each 2 minutes, 20 a day; to a user one each 30 seconds, 5 in 10 minutes"
	}
	var out strings.Builder
	err := greeting.Execute(&out, map[string]any{
		"URL": "http://" + public.String(), "V1": v1.Prefix + "/", "API": signalwire.Prefix, "Syniverse": syniverse.Prefix, "Operations": "http://" + operations.String(), "Console": "http://" + pages.String(),
		"Credentials": shellQuote(c.Project + ":" + token.Reveal()), "Bearer": shellQuote("Authorization: Bearer " + token.Reveal()),
		"Project": c.Project, "Token": token.Reveal(), "Limits": limits, "Data": c.Data,
	})
	if err != nil {
		return err
	}
	_, err = w.stdout.Write([]byte(out.String()))
	return err
}

// shellQuote writes a word that a shell reads as it is.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// A devDesk starts and checks verifications for the page of phones, by the key that dev printed.
type devDesk struct {
	system  *system.System
	project verify.ProjectID
	token   verify.Secret
}

// Start implements [console.Desk]. Like /v1, it ends the older verification of the number and purpose.
func (d devDesk) Start(ctx context.Context, to string, channel verify.Channel) (verify.ID, error) {
	acct, err := d.system.Accounts.Authenticate(ctx, d.project, d.token)
	if err != nil {
		return verify.ID{}, err
	}
	v, err := d.system.Verify.Start(ctx, acct, verify.StartRequest{Channel: channel, To: to, Purpose: verify.PurposeVerify, Supersedes: true})
	if err != nil {
		return verify.ID{}, err
	}
	return v.ID, nil
}

// Check implements [console.Desk].
func (d devDesk) Check(ctx context.Context, id verify.ID, typed verify.Secret) error {
	acct, err := d.system.Accounts.Authenticate(ctx, d.project, d.token)
	if err != nil {
		return err
	}
	_, err = d.system.Verify.Check(ctx, acct, id, typed)
	return err
}

// Look implements [console.Desk].
func (d devDesk) Look(ctx context.Context, id verify.ID) (verify.Snapshot, error) {
	acct, err := d.system.Accounts.Authenticate(ctx, d.project, d.token)
	if err != nil {
		return verify.Snapshot{}, err
	}
	return d.system.Verify.Verification(ctx, acct, id)
}
