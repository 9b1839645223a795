package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/goreleaser/nfpm/v2/files"
)

// A manualPage is a page for man, such as countersign-key.1.
type manualPage struct {
	name string
	text []byte
}

// place is where the page is below a man folder, such as man1/countersign-key.1.
func (p manualPage) place() string {
	return "man" + p.name[strings.LastIndexByte(p.name, '.')+1:] + "/" + p.name
}

// writeManual has the program write its manual: a build for this machine, because the targets' may not run here.
func (r *release) writeManual(folder string) error {
	host := target{runtime.GOOS, runtime.GOARCH}
	program := filepath.Join(folder, host.program())
	if err := r.goBuild(host, program); err != nil {
		return err
	}
	pages := filepath.Join(folder, "man")
	cmd := exec.Command(program, "help", "--man", pages)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.date.Unix()))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write the manual: %w\n%s", err, text)
	}
	return r.readManual(pages)
}

// readManual reads the pages of a folder, in order.
func (r *release) readManual(folder string) error {
	found, err := filepath.Glob(filepath.Join(folder, "man[1-8]", "*"))
	if err != nil {
		return err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r.manual = append(r.manual, manualPage{filepath.Base(path), text})
	}
	if len(r.manual) == 0 {
		return fmt.Errorf("the program wrote no manual into %s", folder)
	}
	return nil
}

// packaged writes the pages for a package, compressed as Debian wants it, into a folder.
func (r *release) packaged(folder string, file func(from, to string) *files.Content) (all files.Contents, err error) {
	for _, page := range r.manual {
		var text bytes.Buffer
		z, err := gzip.NewWriterLevel(&text, gzip.BestCompression) // without a time, so that two runs give the same bytes
		if err != nil {
			return nil, err
		}
		z.Write(page.text)
		if err := z.Close(); err != nil {
			return nil, err
		}
		path := filepath.Join(folder, page.name+".gz")
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			return nil, err
		}
		all = append(all, file(path, "/usr/share/man/"+page.place()+".gz"))
	}
	return all, nil
}
