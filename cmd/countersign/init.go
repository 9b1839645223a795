package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/store"
)

type initCommand struct {
	Dir        string `default:"." help:"Folder to make everything in (default: this one)." placeholder:"DIR"`
	Carrier    string `help:"How messages leave: a provider, such as twilio ('countersign config preset' lists them), or smpp, sip or http." placeholder:"NAME"`
	Sender     string `help:"Number or name that messages come from: E.164, or 1 to 11 letters and digits." placeholder:"SENDER"`
	Address    string `help:"Of smpp and sip the host:port, of http the URL." placeholder:"ADDRESS"`
	Account    string `help:"Account at the provider, the SMSC or the trunk." placeholder:"ID"`
	User       string `help:"Id of an API key, where the provider needs one." placeholder:"ID"`
	Host       string `help:"Provider's host, where accounts have hosts of their own." placeholder:"HOST"`
	Region     string `help:"Provider's region, where it has some." placeholder:"REGION"`
	Profile    string `help:"Messaging profile, service or channel, where the provider needs one." placeholder:"ID"`
	SecretFile string `help:"File with the carrier's secret: a token or a password. '-' reads it from standard input. It is copied." placeholder:"FILE"`
	URL        string `name:"url" help:"How the outside reaches this server, for reports of providers: https://verify.example.com." placeholder:"URL"`
	Postgres   string `help:"URL of a PostgreSQL database, without its password. Without it, the database is a file." placeholder:"URL"`
	Project    string `default:"My project" help:"Name of the first project (default ${default})." placeholder:"NAME"`
	output
}

// Help explains more than a line can.
func (initCommand) Help() string {
	return `Makes a small configuration, a keyset, the carrier's secret, the database, a project and an API key. On a terminal it
asks for what no flag says. It replaces nothing.

  countersign init
  countersign init --carrier twilio --account AC0123456789abcdef0123456789abcdef --sender +12025550199 --secret-file token.txt
  countersign init --carrier smpp --address smsc.example.com:2775 --account shop --sender Shop --secret-file password.txt
  countersign init --carrier http --address http://127.0.0.1:9000/messages --sender +12025550199`
}

// Run implements the command.
func (c *initCommand) Run(w world) error {
	ask := newInterview(w)
	b := config.Beginning{
		Carrier: c.Carrier, Sender: c.Sender, Address: c.Address, Account: c.Account, User: c.User, Host: c.Host, Region: c.Region, Profile: c.Profile,
		URL: c.URL, Postgres: c.Postgres,
	}
	if err := ask.complete(&b); err != nil {
		return err
	}
	secret, err := c.secret(w, ask, b)
	if err != nil {
		return err
	}
	files := foundation{dir: c.Dir}
	err = files.lay(b, secret)
	if err == nil {
		err = c.found(w, files.path(defaultConfig))
	}
	if err != nil {
		return errors.Join(err, files.undo())
	}
	return nil
}

// found makes the project and its key, and says what comes next.
func (c *initCommand) found(w world, path string) error {
	d := database{Config: path}
	return d.with(w.ctx, true, func(st *store.Store) error {
		a := admin.New(st)
		p, err := a.CreateProject(w.ctx, actor(), admin.NewProject{Name: c.Project})
		if err != nil {
			return inFlags(err)
		}
		k, err := a.CreateKey(w.ctx, actor(), admin.NewKey{Project: p.ID, Name: "first"})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(w, row{{"", "config", path}, {"", "project", p.ID}, {"", "token", k.Token.Reveal()}}.object())
		}
		flag := ""
		if path != defaultConfig {
			flag = " --config " + path
		}
		_, err = fmt.Fprintf(w.stdout, `Made %s, with a keyset, a project and an API key.
Keep a copy of %s in a safe place, apart from backups of the database.

  Project  %s
  Token    %s   (shown this once)

Start the server:

  countersign serve%s

In another terminal, send yourself a code, and type what you get:

  export COUNTERSIGN_TOKEN=%s
  countersign verify YOUR-NUMBER
`, path, filepath.Join(filepath.Dir(path), keysetFileName), p.ID, k.Token.Reveal(), flag, k.Token.Reveal())
		return err
	})
}

// secret is the carrier's, as a file will hold it; a receiver's is made here.
func (c *initCommand) secret(w world, ask *interview, b config.Beginning) ([]byte, error) {
	switch {
	case b.Carrier == "http" && c.SecretFile == "":
		return newSecret(), nil
	case b.Carrier == "sip" && b.Account == "":
		return nil, nil
	case c.SecretFile == "":
		return ask.secret(fmt.Sprintf("Secret of %s: its token, password or key", b.Carrier))
	}
	text, err := []byte(nil), error(nil)
	if c.SecretFile == "-" {
		text, err = io.ReadAll(io.LimitReader(w.stdin, 64<<10))
	} else {
		text, err = os.ReadFile(c.SecretFile)
	}
	if err == nil && strings.TrimSpace(string(text)) == "" {
		return nil, usageError("--secret-file: must hold the carrier's secret; it is empty")
	}
	return text, err
}

// keysetFileName is the default of keyset.file.
const keysetFileName = "keyset.json"

// A foundation are the files that init makes.
type foundation struct {
	dir  string
	made []string
}

func (f *foundation) path(name string) string { return filepath.Join(f.dir, name) }

// lay makes the files, and checks that they are right together.
func (f *foundation) lay(b config.Beginning, secret []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if secret != nil {
		b.Secret = b.Name() + ".secret"
		if err := f.write(b.Secret, secret); err != nil {
			return err
		}
	}
	if _, err := os.Stat(f.path("data")); err == nil {
		return fmt.Errorf("%s exists already; init replaces nothing: choose another --dir", f.path("data"))
	}
	if _, err := keyset.Create(f.path(keysetFileName)); err != nil {
		return f.explain(keysetFileName, err)
	}
	f.made = append(f.made, keysetFileName)
	if err := f.write(defaultConfig, []byte(b.Text())); err != nil {
		return err
	}
	_, err := loadConfig(f.path(defaultConfig))
	return err
}

// write makes a file for its owner only.
func (f *foundation) write(name string, text []byte) error {
	file, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f.explain(name, err)
	}
	f.made = append(f.made, name)
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

func (f *foundation) explain(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; init replaces nothing: choose another --dir", f.path(name))
	}
	return err
}

// undo removes what was made.
func (f *foundation) undo() (err error) {
	for _, name := range f.made {
		err = errors.Join(err, os.Remove(f.path(name)))
	}
	return err
}

// An interview asks for what no flag says, on a terminal.
type interview struct {
	in  *bufio.Reader
	out io.Writer
	fd  int // of the terminal
	ok  bool
}

func newInterview(w world) *interview {
	i := &interview{in: bufio.NewReader(w.stdin), out: w.stderr}
	i.fd, i.ok = terminal(w.stdin)
	return i
}

// complete fills in what a beginning lacks.
func (i *interview) complete(b *config.Beginning) error {
	if err := i.fill(&b.Carrier, "--carrier", "How do messages leave? A provider (twilio, vonage, ...), smpp, sip or http"); err != nil {
		return err
	}
	if !b.Known() {
		return usageError(fmt.Sprintf("--carrier: there is no %q; there are %s", b.Carrier, strings.Join(config.Beginnings(), ", ")))
	}
	if err := i.fill(&b.Sender, "--sender", "Number (E.164) or name that messages come from"); err != nil {
		return err
	}
	for _, need := range b.Needs() {
		if err := i.fill(b.Field(need), "--"+need, fmt.Sprintf("The %s of %s", need, b.Carrier)); err != nil {
			return err
		}
	}
	return nil
}

// fill asks for a value, unless there is one.
func (i *interview) fill(value *string, flag, question string) error {
	if *value != "" {
		return nil
	}
	if !i.ok {
		return usageError(fmt.Sprintf("%s: must be given, for there is no terminal to ask on (see countersign init --help)", flag))
	}
	fmt.Fprintf(i.out, "%s: ", question)
	line, err := i.in.ReadString('\n')
	*value = strings.TrimSpace(line)
	if *value == "" {
		return cmp.Or(err, error(usageError(flag+": must not be empty")))
	}
	return nil
}

// secret asks for a secret, which the terminal doesn't show.
func (i *interview) secret(question string) ([]byte, error) {
	if !i.ok {
		return nil, usageError("--secret-file: must be given, for there is no terminal to ask on (see countersign init --help)")
	}
	fmt.Fprintf(i.out, "%s (not shown): ", question)
	text, err := term.ReadPassword(i.fd)
	fmt.Fprintln(i.out)
	if err == nil && len(text) == 0 {
		err = usageError("the secret must not be empty")
	}
	return append(text, '\n'), err
}
