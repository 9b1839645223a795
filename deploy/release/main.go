// Command release builds what people install: archives of the program for each system, a deb and an rpm for each
// Linux, a container image, a list of what is inside (SBOM), and checksums of all of them.
//
//	go run . -out ../../dist                       all targets
//	go run . -out ../../dist -targets linux/amd64  one of them
//
// Two runs on the same commit, with the same Go and the same root certificates, give the same bytes. The module is one
// of its own, so that what packs the program is no part of the program's dependencies.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is a system and a processor, as GOOS and GOARCH name them.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// program is the name of the program's file.
func (t target) program() string {
	if t.os == "windows" {
		return "countersign.exe"
	}
	return "countersign"
}

// targets are all that a release is built for. On Windows the client commands are meant.
var targets = []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// A release is one version and where its files go.
type release struct {
	root    string    // of the repository
	out     string    // folder
	version string    // without the v
	date    time.Time // of the commit: of all files in all archives
	commit  string
	roots   string // file of root certificates, for the image
	manual  []manualPage
	log     io.Writer
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, log io.Writer) error {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	root := f.String("root", "../..", "folder of the repository")
	out := f.String("out", "../../dist", "folder for what is built")
	version := f.String("version", "", "version, such as v0.1.0; default: the commit's tag, or 0.0.0 and the commit")
	only := f.String("targets", "", "comma-separated systems, such as linux/amd64; default: all")
	roots := f.String("roots", "/etc/ssl/certs/ca-certificates.crt", "file of root certificates for the image")
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	r := release{root: *root, roots: *roots, log: log}
	if r.out, err = filepath.Abs(*out); err != nil {
		return err
	}
	if err := r.identify(*version); err != nil {
		return err
	}
	return r.build(chosen)
}

// choose parses a list of targets.
func choose(only string) (chosen []target, err error) {
	if only == "" {
		return targets, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(targets, func(t target) bool { return t.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("-targets: there is no %q, there are %v", name, targets)
		}
		chosen = append(chosen, targets[i])
	}
	return chosen, nil
}

// identify finds out which commit this is. Uncommitted changes are refused: nobody could build the same again.
func (r *release) identify(version string) error {
	changes, err := r.git("status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return errors.New("there are uncommitted changes: a release is built from a commit")
	}
	if r.commit, err = r.git("rev-parse", "HEAD"); err != nil {
		return err
	}
	unix, err := r.git("log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(unix, 10, 64)
	if err != nil {
		return err
	}
	r.date = time.Unix(seconds, 0).UTC()
	if version == "" {
		if version, err = r.git("describe", "--tags", "--exact-match", "--match", "v*"); err != nil {
			version = "v0.0.0-" + r.date.Format("20060102150405") + "-" + r.commit[:12]
		}
	}
	var ok bool
	if r.version, ok = strings.CutPrefix(version, "v"); !ok {
		return fmt.Errorf("-version: got %q, want one such as v0.1.0", version)
	}
	return nil
}

func (r *release) git(args ...string) (string, error) {
	text, err := exec.Command("git", append([]string{"-C", r.root}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(text)), nil
}

// build builds all files of the targets. The folder then holds nothing else.
func (r *release) build(chosen []target) error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	programs, err := os.MkdirTemp("", "countersign-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(programs)
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if err := r.writeManual(programs); err != nil {
		return err
	}
	var platforms []platform
	for _, t := range chosen {
		path := filepath.Join(programs, t.os+"-"+t.arch, t.program())
		if err := r.compile(t, path); err != nil {
			return err
		}
		if err := r.archive(t, path); err != nil {
			return err
		}
		if t.os != "linux" {
			continue
		}
		for _, kind := range []string{"deb", "rpm"} {
			if err := r.packageFor(kind, t, path); err != nil {
				return err
			}
		}
		platforms = append(platforms, platform{t, path})
	}
	if len(platforms) > 0 {
		if err := r.image(platforms); err != nil {
			return err
		}
	}
	return r.checksums()
}

// compile builds the program for a target, and lists what is in it.
func (r *release) compile(t target, path string) error {
	began := time.Now()
	if err := r.goBuild(t, path); err != nil {
		return err
	}
	fmt.Fprintf(r.log, "%-48s %8s  %v\n", "compiled for "+t.String(), "", time.Since(began).Round(time.Second))
	return r.sbom(t, path)
}

// goBuild builds the program, static and without paths of this machine, with its version in it.
func (r *release) goBuild(t target, path string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.released=v"+r.version, "-o", path, "./cmd/countersign")
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %v: %w\n%s", t, err, text)
	}
	return nil
}

// create makes a file of the release and says so.
func (r *release) create(name string, write func(io.Writer) error) error {
	path := filepath.Join(r.out, name)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.log, "%-48s %5.1f MB\n", name, float64(info.Size())/1e6)
	return nil
}

// checksums writes what sha256sum --check reads.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	return r.create("SHA256SUMS", func(w io.Writer) error {
		for _, e := range entries {
			f, err := os.Open(filepath.Join(r.out, e.Name()))
			if err != nil {
				return err
			}
			sum := sha256.New()
			_, err = io.Copy(sum, f)
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), e.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}
