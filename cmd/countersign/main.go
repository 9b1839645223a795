// Countersign is a self-hosted verification server: it makes a one-time code, gets it to a
// person's phone by SMS or voice call, and checks what the person typed.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/verify"
)

// commands is the command line. Each command has a file of its own.
type commands struct {
	Version kong.VersionFlag `help:"Print the version, and exit."`

	Dev          devCommand          `cmd:"" help:"Run everything on this machine, with a simulator instead of carriers."`
	Serve        serveCommand        `cmd:"" help:"Serve for real, as a configuration file says."`
	Init         initCommand         `cmd:"" help:"Make all that serve needs: a configuration, a keyset, a project and a key."`
	Config       configCommand       `cmd:"" help:"Check, print or begin a configuration file."`
	Keyset       keysetCommand       `cmd:"" help:"Create and rotate the keys that protect stored codes."`
	Secret       secretCommand       `cmd:"" help:"Create a secret that signs messages to a carrier."`
	Project      projectCommand      `cmd:"" help:"Create, list and change projects (tenants)."`
	Key          keyCommand          `cmd:"" help:"Create, list and revoke a project's API keys."`
	Operator     operatorCommand     `cmd:"" help:"Create and change the people who use the console, and end their sessions."`
	Application  applicationCommand  `cmd:"" help:"Show and change how the calls of applications are made."`
	Route        routeCommand        `cmd:"" help:"Explain which carriers take a message."`
	Carrier      carrierCommand      `cmd:"" help:"Test a carrier of a running server, or take it out of use."`
	Country      countryCommand      `cmd:"" help:"Stop and allow messages to countries, while servers run."`
	Destination  destinationCommand  `cmd:"" help:"Show or reset what a project remembers of a number."`
	Verify       verifyCommand       `cmd:"" help:"Send a code by a running server, and check what is typed."`
	Verification verificationCommand `cmd:"" help:"Show a verification and its timeline."`
	User         userCommand         `cmd:"" help:"List, associate, remove and import the users of an application."`
	Template     templateCommand     `cmd:"" help:"List, create, change and delete the texts that starts name."`
	Audit        auditCommand        `cmd:"" help:"List what operators did."`
	Usage        usageCommand        `cmd:"" help:"Say what projects used, what it cost, and what they are charged."`
	Bench        benchCommand        `cmd:"" help:"Measure a running server from outside."`
	Backup       backupCommand       `cmd:"" help:"Copy the database while a server runs on it."`
	Restore      restoreCommand      `cmd:"" help:"Make a database of a backup. Pending verifications are voided."`
	Void         voidCommand         `cmd:"" help:"Void pending verifications, after a restore that the server can't notice."`
	Schema       schemasCommand      `cmd:"" help:"Create, list and move the schemas of a PostgreSQL database."`
	Health       healthCommand       `cmd:"" help:"Ask whether the server on this machine can work."`
	Status       statusCommand       `cmd:"" help:"Say how the server on this machine and its carriers do."`
	Completion   completionCommand   `cmd:"" help:"Print a script that completes commands in bash, zsh or fish."`
	Complete     completeCommand     `cmd:"" hidden:""`
	Help         helpCommand         `cmd:"" help:"Explain a command, as --help does."`
	Number       versionCommand      `cmd:"" name:"version" help:"Print the version."`
	Syniverse    syniverseCommand    `cmd:"" help:"Move applications and users from Syniverse to here."`
	Migrate      migrateCommands     `cmd:"" help:"Move an installation from SQLite to PostgreSQL, or bring a database up to date."`
}

// world is what a command may touch of the outside.
type world struct {
	ctx    context.Context // ends when the user or the system wants us to stop
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

func main() {
	// net/http quotes there what a carrier's peer sent unasked, which could be a code.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends us at once
	os.Exit(run(world{ctx, os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// grammar says what a command line may be. It knows only the command that args begin with: to read the descriptions of
// all of them takes longer than most commands. It knows all of them if args begin with none, or with one that lists the
// others.
func grammar(args []string) any {
	all := reflect.TypeFor[commands]()
	for i := range all.NumField() {
		field := all.Field(i)
		name := cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name))
		if _, command := field.Tag.Lookup("cmd"); command && name == args[0] && name != "help" && name != "complete" {
			return reflect.New(reflect.StructOf([]reflect.StructField{all.Field(0), field})).Interface()
		}
	}
	return new(commands)
}

// commandLine reads command lines of a grammar. It calls exit after --help and --version.
func commandLine(w world, grammar any, exit func(code int)) *kong.Kong {
	parser, err := kong.New(grammar,
		kong.Name(program),
		kong.Description("A self-hosted verification server: one-time codes by SMS and voice call.\n\nTry it: countersign dev"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(exit),
		kong.Vars{
			"version":  version(),
			"config":   "./" + defaultConfig,
			"trial":    strconv.Itoa(admin.DefaultTrialMessages),
			"burst":    strconv.Itoa(verify.DefaultLimits.Burst),
			"interval": verify.DefaultLimits.Interval.String(),
			"daily":    strconv.Itoa(verify.DefaultLimits.Daily),
			"scopes":   verify.DefaultScopes.String(),
		},
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	explain(parser.Model.Node)
	return parser
}

// run runs the command line. It returns 0, 1 for a failure, or 2 for a command line that can't be.
func run(w world, args []string) int {
	exit := -1
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help" && !slices.Contains(args, "--man"):
		args = append(args[1:len(args):len(args)], "--help")
	}
	parser := commandLine(w, grammar(args), func(code int) { exit = code })
	k, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(w.stderr, "countersign: %v\n%s\n", err, hint(err))
		return 2
	}
	err = k.Run(w)
	var usage usageError
	var file fileError
	var wrong *config.Error
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(w.stderr, "countersign: %v\nRun '%s --help' to see how.\n", err, verb(k.Path))
		return 2
	case errors.As(err, &file), errors.As(err, &wrong):
		fmt.Fprintf(w.stderr, "countersign: %v%s\n", err, whoMay(err))
		return 2
	case err != nil:
		fmt.Fprintf(w.stderr, "countersign: %v%s\n", err, whoMay(err))
		return 1
	}
	return 0
}

// whoMay says what to do about a file that is somebody else's.
func whoMay(err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	return fmt.Sprintf("\nYou are %s. Run this as the files' owner, whom 'ls -l' shows: sudo -u OWNER countersign ...", actor())
}

// hint says where to read about a command line that can't be read.
func hint(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || verb(parse.Context.Path) == program {
		return "Run '" + program + " --help' to see what there is."
	}
	return "Run '" + verb(parse.Context.Path) + " --help' to see how."
}

// program is what people type.
const program = "countersign"

// verb is the command of a command line, as people type it.
func verb(path []*kong.Path) string {
	words := []string{program}
	for _, p := range path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return strings.Join(words, " ")
}

// helpCommand stands in the list of commands; run reads it as --help of the command behind it, unless it is to write
// the manual.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"Command, such as 'key create'."`
	Man     string   `help:"Write the manual's pages for man into this folder instead." placeholder:"DIR"`
}

// Run implements the command.
func (c *helpCommand) Run(k *kong.Kong) error {
	if len(c.Command) > 0 {
		return usageError("help: --man writes all pages; name no command")
	}
	return writeManual(c.Man, k.Model.Node)
}

type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(w world) error {
	_, err := fmt.Fprintln(w.stdout, version())
	return err
}

// released is the version that deploy/release links into what it builds.
var released string

// version is the version of a release, or else the module's that this was built from: a tag's, or one made of the
// commit's time and hash.
func version() string {
	if released != "" {
		return released
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// A usageError is a command line that asks for something impossible.
type usageError string

func (e usageError) Error() string { return string(e) }

// A fileError is a configuration that can't be used: the command line named it.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }
