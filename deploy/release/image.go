package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A platform is a target and the program for it.
type platform struct {
	target
	program string
}

// nobody is the image's user: see deploy/Dockerfile.
const nobody = 65532

// image writes the container image of all platforms as an OCI image layout in one file. Load it with
// "skopeo copy oci-archive:FILE docker://…", "podman load" or "docker load".
func (r *release) image(platforms []platform) error {
	work, err := os.MkdirTemp("", "countersign-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var adds []mutate.IndexAddendum
	for _, p := range platforms {
		img, err := r.imageFor(p)
		if err != nil {
			return err
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}}})
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), adds...)
	path, err := layout.Write(work, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return err
	}
	return r.create(fmt.Sprintf("countersign-%s.oci.tar", r.version), func(w io.Writer) error { return tarFolder(w, work, r.date) })
}

// imageFor is the image of one platform.
func (r *release) imageFor(p platform) (v1.Image, error) {
	program, err := os.ReadFile(p.program)
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(r.roots)
	if err != nil {
		return nil, fmt.Errorf("root certificates: %w; -roots names their file, on Debian the package ca-certificates has one", err)
	}
	var files bytes.Buffer
	if err := writeTar(&files, []member{
		{name: "etc/", mode: 0o755},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, body: roots},
		{name: "tmp/", mode: 0o777 | fs.ModeSticky},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/countersign", mode: 0o755, body: program},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/countersign/", mode: 0o700, owner: nobody},
	}, r.date); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: r.date}, CreatedBy: "deploy/release"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, r.imageConfig(p, img))
}

// imageConfig says what deploy/Dockerfile says.
func (r *release) imageConfig(p platform, img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	if err != nil {
		panic(err) // it was made above, in memory
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = p.os, p.arch, v1.Time{Time: r.date}
	c.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", nobody, nobody),
		WorkingDir:   "/var/lib/countersign",
		Env:          []string{"PATH=/usr/bin", "COUNTERSIGN_CONFIG=/etc/countersign/countersign.yaml"},
		Entrypoint:   []string{"/usr/bin/countersign"},
		Cmd:          []string{"serve", "--config", "/etc/countersign/countersign.yaml"},
		Volumes:      map[string]struct{}{"/var/lib/countersign": {}},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8081/tcp": {}},
		StopSignal:   "SIGTERM",
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "/usr/bin/countersign", "health"}, Interval: 10 * time.Second, Timeout: 6 * time.Second, StartPeriod: 30 * time.Second},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Countersign",
			"org.opencontainers.image.version":  r.version,
			"org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.created":  r.date.Format(time.RFC3339),
			"org.opencontainers.image.source":   homepage,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return c
}

// tarFolder packs all files of a folder, sorted.
func tarFolder(w io.Writer, folder string, date time.Time) error {
	var names []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	t := tar.NewWriter(w)
	for _, path := range names {
		if err := tarFile(t, folder, path, date); err != nil {
			return err
		}
	}
	return t.Close()
}

func tarFile(t *tar.Writer, folder, path string, date time.Time) error {
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), ModTime: date, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
