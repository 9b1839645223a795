package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A member is a file or a folder of an archive.
type member struct {
	name  string // folders end in a slash
	mode  fs.FileMode
	owner int // and group
	body  []byte
}

// beside are the files that go with the program.
var beside = []string{"README.md", "LICENSE", "CHANGELOG.md"}

// archive packs the program for people who unpack it themselves.
func (r *release) archive(t target, program string) error {
	folder := fmt.Sprintf("countersign-%s-%s-%s", r.version, t.os, t.arch)
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	all := []member{{name: folder + "/" + t.program(), mode: 0o755, body: text}}
	for _, name := range beside {
		text, err := os.ReadFile(filepath.Join(r.root, name))
		if err != nil {
			return err
		}
		all = append(all, member{name: folder + "/" + name, mode: 0o644, body: text})
	}
	if t.os != "windows" { // which has no man
		for _, page := range r.manual {
			all = append(all, member{name: folder + "/man/" + page.place(), mode: 0o644, body: page.text})
		}
	}
	if t.os == "windows" {
		return r.create(folder+".zip", func(w io.Writer) error { return writeZip(w, all, r.date) })
	}
	return r.create(folder+".tar.gz", func(w io.Writer) error {
		z := gzip.NewWriter(w)
		if err := writeTar(z, all, r.date); err != nil {
			return err
		}
		return z.Close()
	})
}

// writeTar writes members that all were changed on one date.
func writeTar(w io.Writer, all []member, date time.Time) error {
	t := tar.NewWriter(w)
	for _, m := range all {
		h := &tar.Header{Name: m.name, Mode: int64(m.mode.Perm()), Uid: m.owner, Gid: m.owner, Size: int64(len(m.body)), ModTime: date, Format: tar.FormatUSTAR}
		if m.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if m.name[len(m.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(m.body); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, all []member, date time.Time) error {
	z := zip.NewWriter(w)
	for _, m := range all {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: date}
		h.SetMode(m.mode)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(m.body); err != nil {
			return err
		}
	}
	return z.Close()
}
