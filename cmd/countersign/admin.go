package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// database are the flags of every command that works on a database, also while a server runs on it.
type database struct {
	Config string `short:"c" help:"Configuration file that names the database (default: $$COUNTERSIGN_CONFIG, then ${config})." placeholder:"FILE" xor:"where"`
	Data   string `help:"Folder of the database, instead ($$COUNTERSIGN_DATA)." placeholder:"DIR" xor:"where"`
	Shard  string `help:"Which of database.shards to work on (default: the one that has the project, or all)." placeholder:"NAME"`
	output
}

// find says where the database is: in a folder, or in a PostgreSQL. The rest of a configuration may
// be wrong: this command doesn't need it. Where there are shards, one must be named.
func (d database) find() (folder string, pg *store.Postgres, err error) {
	folder, all, err := d.findAll()
	if err != nil {
		return "", nil, err
	}
	if len(all) > 1 {
		return "", nil, usageError("--shard: name one of " + names(all))
	}
	return folder, all[0].Postgres, nil
}

// resolve says where the database is, in this order: a flag, a variable, the configuration in the working folder.
func (d database) resolve() database {
	if d.Data == "" && d.Config == "" {
		d.Config, d.Data = os.Getenv("COUNTERSIGN_CONFIG"), os.Getenv("COUNTERSIGN_DATA")
	}
	if d.Data != "" || d.Config != "" {
		return d
	}
	if _, err := os.Lstat(defaultConfig); !errors.Is(err, fs.ErrNotExist) {
		d.Config = defaultConfig
	}
	return d
}

// byConfig reports whether a configuration says where the database is, and no folder.
func (d database) byConfig() bool { return d.resolve().Data == "" }

// asksServer reports whether no database is named, but an API key is given: then a command asks a running server.
func (d database) asksServer() bool {
	where := d.resolve()
	return where.Config == "" && where.Data == "" && os.Getenv(tokenVariable) != ""
}

// byServer does so for a command about a project, which must name it where it works on a database.
func (d database) byServer(project string) (bool, error) {
	switch asks := d.asksServer(); {
	case asks && project != "":
		return false, usageError("--project: the API key says the project; leave it out, or name a database by --config or --data")
	case asks:
		return true, nil
	case project == "":
		return false, usageError("--project: name the project, by its id or its name")
	}
	return false, nil
}

// noDatabase is a folder without a database, which a command was to work on.
type noDatabase string

func (folder noDatabase) Error() string {
	return fmt.Sprintf("there is no database in %s (create a project first)", string(folder))
}

// with runs f on the database. Only some commands make a file that isn't there: after a typing error
// an empty list would mislead.
func (d database) with(ctx context.Context, create bool, f func(*store.Store) error) error {
	return d.open(ctx, create, store.Options{}, f)
}

// open does so as the options say.
func (d database) open(ctx context.Context, create bool, o store.Options, f func(*store.Store) error) error {
	folder, pg, err := d.find()
	if err != nil {
		return err
	}
	return openAt(ctx, folder, pg, create, o, f)
}

// openAt does so where the database is.
func openAt(ctx context.Context, folder string, pg *store.Postgres, create bool, o store.Options, f func(*store.Store) error) error {
	o.Postgres = pg
	if pg == nil && !create {
		switch _, err := os.Stat(filepath.Join(folder, system.DatabaseFile)); {
		case errors.Is(err, fs.ErrNotExist):
			return noDatabase(folder)
		case err != nil:
			return err // it may be there, for another user
		}
	}
	st, err := system.OpenStore(ctx, folder, o)
	if err != nil {
		return remedied(err)
	}
	return errors.Join(f(st), st.Close())
}

// remedied adds to an error of PostgreSQL which key of the configuration to look at, all on one line.
func remedied(err error) error {
	remedy := store.Remedy(err)
	if remedy == "" {
		return err
	}
	return remediedError{err, remedy}
}

type remediedError struct {
	error
	remedy string
}

func (e remediedError) Error() string { return config.OneLine(e.error.Error()) + "; " + e.remedy }
func (e remediedError) Unwrap() error { return e.error }

// inProject runs f with the project that a command line names, by its id or its name.
func (d database) inProject(ctx context.Context, idOrName string, f func(*store.Store, verify.Project) error) error {
	d, err := d.of(ctx, idOrName)
	if err != nil {
		return err
	}
	return d.with(ctx, false, func(st *store.Store) error {
		p, err := admin.New(st).FindProject(ctx, idOrName)
		if err != nil {
			return err
		}
		return f(st, p)
	})
}

// administer runs f on a database that is there, with the changes that the user of this command may make.
func (d database) administer(ctx context.Context, f func(*admin.Service) error) error {
	return d.with(ctx, false, func(st *store.Store) error { return f(admin.New(st)) })
}

// actor is the user that runs this command.
func actor() admin.Actor {
	if u, err := user.Current(); err == nil {
		return admin.User(u.Username)
	}
	return admin.User(fmt.Sprintf("uid %d", os.Getuid()))
}

// flags are what a command's input is called on the command line.
var flags = map[verify.Field]string{
	admin.FieldID: "--id", verify.FieldName: "name", admin.FieldProfile: "--profile", admin.FieldSenders: "--sender", admin.FieldLinkHosts: "--link-host",
	admin.FieldCountries: "--country", admin.FieldKinds: "--allow-kind", admin.FieldOnly: "--only-number", admin.FieldStyle: "--webotp, --android-hash",
	admin.FieldSends: "--send-burst, --send-daily", admin.FieldInterval: "--send-interval", admin.FieldLocale: "--locale",
	admin.FieldHourMessages: "--hour-messages", admin.FieldMaxPrice: "--max-price", admin.FieldWeight: "weight", admin.FieldDayMessages: "--day-messages", admin.FieldMonthMessages: "--month-messages", admin.FieldDayAmount: "--day-amount",
	admin.FieldMonthAmount: "--month-amount", admin.FieldCurrency: "--currency", admin.FieldCredit: "the amount", admin.FieldTrial: "--trial-messages", admin.FieldCountry: "country", admin.FieldNote: "--note",
	account.FieldScopes: "--scope", account.FieldEndsAt: "--expires", operator.FieldRole: "--role",
}

// inFlags says what is wrong with a command's input in the words of the command line. Other errors stay as they are.
func inFlags(err error) error {
	var wrong *verify.Error
	if !errors.As(err, &wrong) || wrong.Kind != verify.KindInvalid {
		return err
	}
	var all []string
	for _, p := range wrong.Problems {
		all = append(all, strings.TrimSpace(flags[p.Field]+" "+p.Element)+": "+p.Message)
	}
	return usageError(strings.Join(all, "; "))
}

type projectCommand struct {
	Create projectCreate `cmd:"" help:"Create a project."`
	List   projectList   `cmd:"" help:"List all projects."`
	Show   projectShow   `cmd:"" help:"Show a project's policy."`
	Usage  projectUsage  `cmd:"" help:"Say what each key of a project has started lately."`
	Policy projectPolicy `cmd:"" help:"Change a project's policy. What is under way keeps the old one."`
	Rename projectRename `cmd:"" help:"Give a project another name. Its id stays."`
	Move   projectMove   `cmd:"" help:"Move a project to another shard, while servers work."`
	Delete projectDelete `cmd:"" help:"Delete a project with its keys, applications, users and templates."`

	Budget  projectBudget  `cmd:"" help:"Show or change what a project may spend."`
	Topup   projectTopup   `cmd:"" help:"Pay an amount into a project's balance."`
	Correct projectCorrect `cmd:"" help:"Correct a project's balance."`
	Ledger  projectLedger  `cmd:"" help:"List what was paid into a project's balance, and its corrections."`
}

// policyFlags are a project's settings. One that isn't given stays as it is.
type policyFlags struct {
	Profile       string   `help:"Policy: compat keeps the hosted vendors' bounds (a new project's), standard NIST SP 800-63B-4's." enum:",compat,standard" default:"" placeholder:"compat|standard"`
	Sender        []string `help:"What requests may send from beside the public sender: a number, E.164, or a name; 'any' for all that aren't another project's, 'public' for nothing else. May be repeated (a new project: public)." placeholder:"SENDER"`
	PublicText    *bool    `negatable:"" help:"Allow requests with a text of their own and no sender (a new project: no)."`
	Country       []string `help:"Country whose numbers messages may go to, two letters, 001 for numbers of no country, or 'any'; may be repeated (a new project: any with compat; with standard it must be said)." placeholder:"CC"`
	AllowKind     []string `help:"Kind of numbers that are refused otherwise, or 'none': premium, shared-cost, satellite, pager, uan, personal; may be repeated (a new project: none)." placeholder:"KIND"`
	OnlyNumber    []string `help:"The only numbers that messages may go to, while the project is tried: E.164, at most 100; 'any' for all. May be repeated (a new project: any)." placeholder:"NUMBER"`
	Transliterate *bool    `negatable:"" help:"Write typographic characters (curly quotes, dashes) in the GSM alphabet where that saves segments (a new project: no)."`
	LinkHost      []string `help:"Web site that texts may name, with the sites below it: its host; 'any' for all, 'none' for none but that of --webotp. May be repeated (a new project: none)." placeholder:"HOST"`
	WebOTP        *string  `name:"webotp" help:"Web site that may read the code by itself: its host, \"\" for none. Messages end with '@HOST #CODE'." placeholder:"HOST"`
	AndroidHash   *string  `help:"Android app that may read the message by itself: its 11 characters, \"\" for none." placeholder:"HASH"`

	SendBurst    *int           `help:"Messages to one number at once, 0 for no limit (a new project: ${burst})." placeholder:"N"`
	SendInterval *time.Duration `help:"After that, one each so often (a new project: ${interval})." placeholder:"DURATION"`
	SendDaily    *int           `help:"Messages to one number in any 24 hours, 0 for no limit (a new project: ${daily})." placeholder:"N"`
}

type projectCreate struct {
	database
	policyFlags
	Name string `arg:"" help:"Name, for people: 1 to 100 printable characters."`
	ID   string `name:"id" help:"Project id (default: a new UUID)." placeholder:"ID"`

	Trial         bool   `help:"The project is tried: it sends only to numbers that it has confirmed, at most 5, until it is topped up: docs/money.md."`
	TrialMessages int    `default:"${trial}" help:"Messages a day while it is tried (default ${default})." placeholder:"N"`
	Credit        string `help:"What it may spend while it is tried, in the currency of the configuration's prices (default: its messages alone are bounded)." placeholder:"AMOUNT"`
	Currency      string `help:"Currency of the credit." placeholder:"EUR"`

	Create bool `help:"Make the database too, where --data names a folder without one. With --config it is made anyway."`
}

func (c *projectCreate) Run(w world) error {
	trial, err := c.trial()
	if err != nil {
		return err
	}
	_, shards, err := c.findAll()
	if err != nil {
		return err
	}
	n := admin.NewProject{ID: verify.ProjectID(c.ID), Name: c.Name, ProjectChange: c.change(), Trial: trial}
	if _, err := n.Project(); err != nil { // before a database is made
		return inFlags(err)
	}
	if sharded(shards) {
		if c.Shard, err = c.emptiest(w.ctx, n.ID); err != nil {
			return err
		}
	}
	err = c.with(w.ctx, c.Create || c.byConfig(), func(st *store.Store) error {
		p, err := admin.New(st).CreateProject(w.ctx, actor(), n)
		if err != nil {
			return err
		}
		return printOne(w, c.JSON, projectRow(ofShard{c.Shard, p}))
	})
	if folder := noDatabase(""); errors.As(err, &folder) {
		return fmt.Errorf("there is no database in %s: make one with --create, or with countersign serve or dev", string(folder))
	}
	return err
}

// trial is what a project that is being tried gets; nil: it isn't.
func (c *projectCreate) trial() (*admin.Trial, error) {
	if !c.Trial {
		if c.Credit != "" || c.Currency != "" {
			return nil, usageError("--credit and --currency go with --trial; to pay something in later: countersign project topup")
		}
		return nil, nil
	}
	t := &admin.Trial{Messages: c.TrialMessages, Currency: money.Currency(c.Currency)}
	if c.Credit == "" {
		return t, nil
	}
	var err error
	if t.Credit, err = money.Parse(c.Credit); err != nil {
		return nil, usageError("--credit " + err.Error())
	}
	return t, c.priced(t.Currency)
}

// change is what the flags change.
func (c *policyFlags) change() admin.ProjectChange {
	change := admin.ProjectChange{
		Senders: list(c.Sender, "public"), LinkHosts: list(c.LinkHost, "none"), OnlyNumbers: list(c.OnlyNumber, "any"), PublicText: c.PublicText, Countries: c.Country,
		Transliterate: c.Transliterate, WebOTP: c.WebOTP, AndroidHash: c.AndroidHash,
		Burst: c.SendBurst, Interval: c.SendInterval, Daily: c.SendDaily,
	}
	if c.Profile != "" {
		change.Profile = new(verify.Profile(c.Profile))
	}
	if len(c.AllowKind) > 0 {
		var kinds []phone.Kind
		for _, name := range c.AllowKind {
			if name != "none" {
				kinds = append(kinds, phone.Kind(name))
			}
		}
		change.Kinds = &kinds
	}
	return change
}

// list reads a list: 'any' stands for what can't be listed, and another word for nothing.
func list(given []string, none string) *admin.List {
	if len(given) == 0 {
		return nil
	}
	return &admin.List{
		Any:   slices.Contains(given, "any"),
		Items: slices.DeleteFunc(slices.Clone(given), func(s string) bool { return s == "any" || s == none }),
	}
}

// listed writes such a list in the words of its flag.
func listed(list []string, all bool, none string) string {
	if all {
		list = append([]string{"any"}, list...)
	}
	return cmp.Or(strings.Join(list, " "), none)
}

type projectList struct{ database }

func (c *projectList) Run(w world) error {
	var all []ofShard
	away := c.each(w.ctx, store.Options{}, func(s store.Shard, st *store.Store) error {
		projects, err := st.Projects(w.ctx)
		for _, p := range projects {
			all = append(all, ofShard{s.Name, p})
		}
		return err
	})
	if away != nil && len(all) == 0 {
		return away
	}
	there := map[verify.ProjectID]bool{}
	for _, p := range all {
		there[p.ID] = there[p.ID] || !p.Moving
	}
	all = slices.DeleteFunc(all, func(p ofShard) bool { return p.Moving && there[p.ID] }) // what is left there
	return errors.Join(printRows(w, c.JSON, all, projectRow), away)
}

// An ofShard is a project, and the shard that has it; "": there are none.
type ofShard struct {
	shard string
	verify.Project
}

func projectRow(p ofShard) row {
	r := row{{"PROJECT", "id", p.ID}, {"NAME", "name", p.Name}, {"POLICY", "policy", p.Profile}}
	if p.shard != "" {
		r = append(r, field{"SHARD", "shard", p.shard}, field{"STATE", "", state(p.Project)}, field{"", "moving", p.Moving})
	}
	return r
}

// state says what is unusual about a project.
func state(p verify.Project) string {
	if p.Moving {
		return "moving"
	}
	return ""
}

type projectShow struct {
	database
	Project string `arg:"" help:"Project's id or name."`
}

func (c *projectShow) Run(w world) error {
	d, err := c.of(w.ctx, c.Project)
	if err != nil {
		return err
	}
	return d.inProject(w.ctx, c.Project, func(_ *store.Store, p verify.Project) error { return showProject(w, c.JSON, p, d.Shard) })
}

// showProject prints a project's settings, one a line. Its shard is "" where there is one database.
func showProject(w world, asJSON bool, p verify.Project, shard string) error {
	countries := fmt.Sprint(p.Countries)
	if len(p.Countries) == 0 {
		countries = map[bool]string{true: "none", false: "any"}[p.Profile == verify.ProfileStandard]
	}
	kinds := "none"
	if len(p.Kinds) > 0 {
		kinds = fmt.Sprint(p.Kinds)
	}
	numbers := "any"
	if p.Trial() {
		numbers = "none"
	}
	if len(p.OnlyNumbers) > 0 {
		numbers = strings.Trim(fmt.Sprint(p.OnlyNumbers), "[]")
	}
	trial := "no"
	if p.Trial() {
		trial = fmt.Sprintf("%d messages a day, to %d of at most %d numbers", p.TrialMessages, len(p.OnlyNumbers), verify.MaxTrialNumbers)
	}
	settings := row{
		{"project", "id", p.ID}, {"name", "name", p.Name}, {"policy", "policy", p.Profile}, {"trial", "", trial}, {"", "trial", p.Trial()},
		{"senders", "", listed(p.Senders, p.AnySender, "public")}, {"", "senders", p.Senders}, {"", "any_sender", p.AnySender},
		{"link-hosts", "", listed(p.LinkHosts, p.AnyLink, "none")}, {"", "link_hosts", p.LinkHosts}, {"", "any_link", p.AnyLink}, {"public-text", "public_text", p.PublicText},
		{"countries", "", countries}, {"", "countries", p.Countries}, {"allow-kind", "", kinds}, {"", "allow_kind", p.Kinds}, {"only-number", "", numbers}, {"", "only_numbers", p.OnlyNumbers},
		{"transliterate", "transliterate", p.Style.Transliterate}, {"webotp", "webotp", p.Style.WebOTP}, {"android-hash", "android_hash", p.Style.AndroidHash},
		{"send-burst", "send_burst", p.Limits.Burst}, {"send-interval", "send_interval_seconds", p.Limits.Interval}, {"send-daily", "send_daily", p.Limits.Daily},
	}
	if shard != "" {
		settings = append(settings, field{"shard", "shard", shard}, field{"moving", "moving", p.Moving})
	}
	return printSettings(w, asJSON, settings)
}

type projectPolicy struct {
	database
	policyFlags
	Project string `arg:"" help:"Project's id or name."`
}

func (c *projectPolicy) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		p, err := admin.New(st).ChangeProject(w.ctx, actor(), p.ID, c.change())
		if err != nil {
			return inFlags(err)
		}
		return showProject(w, c.JSON, p, c.Shard)
	})
}

type projectRename struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	Name    string `arg:"" help:"New name, for people: 1 to 100 printable characters."`
}

func (c *projectRename) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		p, err := admin.New(st).RenameProject(w.ctx, actor(), p.ID, c.Name)
		if err != nil {
			return inFlags(err)
		}
		return printOne(w, c.JSON, projectRow(ofShard{"", p}))
	})
}

type keyCommand struct {
	Create keyCreate `cmd:"" help:"Create an API key. Its secret is shown once."`
	List   keyList   `cmd:"" help:"List a project's keys."`
	Rename keyRename `cmd:"" help:"Give a key another name. Its token stays."`
	Revoke keyRevoke `cmd:"" help:"Revoke a key: it stops working within a second."`
}

type keyCreate struct {
	database
	remote
	Project string `help:"Project's id or name; by a running server, the one of the key that asks." placeholder:"PROJECT"`
	Name    string `default:"key" help:"What the key is for, in 1 to 100 printable characters (default ${default})."`

	Scope   []string `help:"What the key may do: verify:start, verify:check, verify:own-code, read, applications, manage. May be repeated (default: ${scopes})." placeholder:"SCOPE"`
	Expires string   `help:"When the key stops working: a time such as 2027-01-31T12:00:00Z, or in how long, such as 2160h (default: never)." placeholder:"WHEN"`

	Consumer bool `help:"Also make a consumer key and secret, with which clients of Syniverse's APIs replace the token by themselves."`
}

func (c *keyCreate) Run(w world) error {
	var scopes verify.Scopes
	var unknown []string
	if scopes, unknown = verify.ParseScopes(c.Scope); len(unknown) > 0 {
		return usageError(fmt.Sprintf("--scope %q: must be one of: %s", unknown[0], strings.Join(verify.AllScopes.Words(), ", ")))
	}
	if byServer, err := c.byServer(c.Project); byServer || err != nil {
		if err != nil {
			return err
		}
		return c.createRemote(w)
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		a := admin.New(st)
		ends, err := instant(c.Expires, a.Now())
		if err != nil {
			return usageError(fmt.Sprintf("--expires %q: %v", c.Expires, err))
		}
		k, err := a.CreateKey(w.ctx, actor(), admin.NewKey{Project: p.ID, Name: c.Name, Scopes: scopes, EndsAt: ends, Consumer: c.Consumer})
		if err != nil {
			return inFlags(err)
		}
		if !c.JSON {
			fmt.Fprintln(w.stderr, "Secrets are shown this once; only their hashes are stored.")
		}
		made := row{{"KEY", "id", k.ID}, {"PROJECT", "project", k.Project}, {"TOKEN", "token", k.Token.Reveal()}, {"", "scopes", k.Scopes.Words()}, {"", "expires_at", k.End()}}
		if c.Consumer {
			made = append(made, field{"CONSUMER KEY", "consumer_key", k.Consumer}, field{"CONSUMER SECRET", "consumer_secret", k.ConsumerToken.Reveal()})
		}
		return printOne(w, c.JSON, made)
	})
}

// instant reads a time, or how long it is until then; "" is the zero time.
func instant(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		err = errors.New("must be a time such as 2027-01-31T12:00:00Z, or a duration such as 2160h")
	}
	return t, err
}

type keyList struct {
	database
	remote
	Project string `help:"Project's id or name; by a running server, the one of the key that asks." placeholder:"PROJECT"`
}

func (c *keyList) Run(w world) error {
	if byServer, err := c.byServer(c.Project); byServer || err != nil {
		if err != nil {
			return err
		}
		return c.listRemote(w)
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		all, err := st.Keys(w.ctx, p.ID)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(k account.Key) row {
			return row{
				{"KEY", "id", k.ID}, {"NAME", "name", k.Name}, {"CREATED", "created_at", k.ID.Time()}, {"REVOKED", "revoked_at", k.RevokedAt},
				{"EXPIRES", "expires_at", k.End()}, {"LAST USED", "last_used_at", k.UsedAt}, {"SCOPES", "", k.Scopes}, {"", "scopes", k.Scopes.Words()},
				{"CONSUMER KEY", "consumer_key", k.Consumer},
			}
		})
	})
}

type keyRename struct {
	database
	Key  string `arg:"" help:"Key id, as 'key list' shows it."`
	Name string `arg:"" help:"New name: what the key is for, in 1 to 100 printable characters."`
}

func (c *keyRename) Run(w world) error {
	id, err := apiKeyID(c.Key)
	if err != nil {
		return err
	}
	return c.wherever(w.ctx, func(a *admin.Service) error {
		if err := a.RenameKey(w.ctx, actor(), id, c.Name); err != nil {
			return inFlags(err)
		}
		return printDone(w, c.JSON, row{{"", "id", id}, {"", "name", c.Name}}, "Renamed key %v to %q.", id, c.Name)
	})
}

// apiKeyID reads a key's id on a command line.
func apiKeyID(text string) (verify.ID, error) {
	id, err := verify.ParseID(text)
	if err != nil {
		err = usageError("key: must be a key's id, as 'countersign key list' shows it (not its token)")
	}
	return id, err
}

type keyRevoke struct {
	database
	remote
	Key string `arg:"" help:"Key id, as 'key list' shows it."`
}

func (c *keyRevoke) Run(w world) error {
	id, err := apiKeyID(c.Key)
	if err != nil {
		return err
	}
	if c.asksServer() {
		return c.revokeRemote(w, id.String())
	}
	return c.wherever(w.ctx, func(a *admin.Service) error { return a.RevokeKey(w.ctx, actor(), id) })
}
