package main

import (
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const (
	homepage    = "https://github.com/countersign/countersign"
	maintainer  = "The Countersign authors <countersign@users.noreply.github.com>"
	description = "Self-hosted verification server: one-time codes by SMS, voice call and push\n" +
		"It makes a code, gets it to a person, and checks what the person typed."
)

// needs are the packages whose programs the scripts run.
var needs = map[string][]string{"deb": {"passwd", "util-linux"}, "rpm": {"shadow-utils", "util-linux"}}

// packageFor builds a deb or an rpm.
func (r *release) packageFor(kind string, t target, program string) error {
	work, err := os.MkdirTemp("", "countersign-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, name := range units {
		text, err := r.unit(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	here := filepath.Join(r.root, "deploy", "release", "package")
	file := func(from, to, kind string, mode fs.FileMode) *files.Content {
		return &files.Content{Source: from, Destination: to, Type: kind, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.date}}
	}
	more, err := r.packaged(work, func(from, to string) *files.Content { return file(from, to, "", 0o644) })
	if err != nil {
		return err
	}
	for _, name := range units {
		more = append(more, file(filepath.Join(work, name), "/usr/lib/systemd/system/"+name, "", 0o644))
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "countersign", Arch: t.arch, Platform: t.os, Version: r.version, VersionSchema: "semver",
		Section: "net", Priority: "optional", Maintainer: maintainer, Description: description, Vendor: "Countersign", Homepage: homepage, License: "Apache-2.0",
		MTime: r.date,
		Overridables: nfpm.Overridables{
			Depends: needs[kind],
			RPM:     nfpm.RPM{BuildHost: "countersign", Compression: "gzip"},
			Contents: append(files.Contents{
				file(program, "/usr/bin/countersign", "", 0o755),
				file("", "/etc/countersign", "dir", 0o755),
				file(filepath.Join(here, "countersign.yaml"), "/etc/countersign/countersign.yaml", "config|noreplace", 0o644),
				file(filepath.Join(r.root, "LICENSE"), "/usr/share/doc/countersign/copyright", "", 0o644),
				file(filepath.Join(r.root, "README.md"), "/usr/share/doc/countersign/README.md", "", 0o644),
			}, more...),
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(here, "postinstall.sh"),
				PreRemove:   filepath.Join(here, "preremove.sh"),
				PostRemove:  filepath.Join(here, "postremove.sh"),
			},
		},
	})
	if err := nfpm.PrepareForPackager(info, kind); err != nil {
		return err
	}
	packager, err := nfpm.Get(kind)
	if err != nil {
		return err
	}
	return r.create(packager.ConventionalFileName(info), func(w io.Writer) error { return packager.Package(info, w) })
}

// units are those of the package: the server, and the backup that an operator may switch on.
var units = []string{"countersign.service", "countersign-backup.service", "countersign-backup.timer"}

// unit is a unit file of the repository, for the program's place in a package and without how to install it by hand.
func (r *release) unit(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(r.root, "deploy", name))
	if err != nil {
		return "", err
	}
	_, body, ok := strings.Cut(string(text), "\n[Unit]\n")
	by := strings.ReplaceAll(body, "/usr/local/bin/countersign", "/usr/bin/countersign")
	if !ok || by == body && strings.Contains(body, "ExecStart") {
		return "", fmt.Errorf("deploy/%s isn't as expected: it needs [Unit] and /usr/local/bin/countersign", name)
	}
	return "# Countersign under systemd. Run all commands as the user countersign, so that the files stay its own.\n\n[Unit]\n" + by, nil
}
