package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

var date = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// tryRelease is a release whose program is a Go program of a moment: this test.
func tryRelease(t *testing.T) (*release, string) {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots")
	if err := os.WriteFile(roots, []byte("roots"), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &release{root: "../..", out: t.TempDir(), version: "0.3.0", date: date, commit: strings.Repeat("ab", 20), roots: roots, log: io.Discard,
		manual: []manualPage{{"countersign.1", []byte("a page")}, {"countersign.yaml.5", []byte("another")}}}, program
}

func built(t *testing.T, r *release) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(r.out)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(r.out, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func pack(t *testing.T, r *release, program string) {
	t.Helper()
	linux, windows := target{"linux", "amd64"}, target{"windows", "amd64"}
	for name, err := range map[string]error{
		"archive": r.archive(linux, program), "zip": r.archive(windows, program), "sbom": r.sbom(linux, program),
		"deb": r.packageFor("deb", linux, program), "rpm": r.packageFor("rpm", linux, program),
		"image": r.image([]platform{{linux, program}, {target{"linux", "arm64"}, program}}), "checksums": r.checksums(),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// Who builds the same commit again gets the same bytes.
func TestTwoRunsGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	first, program := tryRelease(t)
	second := *first
	second.out = t.TempDir()
	pack(t, first, program)
	pack(t, &second, program)
	one, two := built(t, first), built(t, &second)
	want := []string{
		"SHA256SUMS", "countersign-0.3.0-1.x86_64.rpm", "countersign-0.3.0-linux-amd64.cdx.json", "countersign-0.3.0-linux-amd64.tar.gz",
		"countersign-0.3.0-windows-amd64.zip", "countersign-0.3.0.oci.tar", "countersign_0.3.0_amd64.deb",
	}
	var names []string
	for name, text := range one {
		names = append(names, name)
		if !bytes.Equal(text, two[name]) && name != "SHA256SUMS" {
			t.Errorf("%s differs", name)
		}
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if check := exec.Command("sha256sum", "--check", "--quiet", "SHA256SUMS"); true {
		check.Dir = first.out
		if text, err := check.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v, %s", err, text)
		}
	}
}

// What is in the archive, and with which rights.
func TestAnArchiveHoldsTheProgramAndItsPapers(t *testing.T) {
	t.Parallel()
	r, program := tryRelease(t)
	if err := r.archive(target{"linux", "arm64"}, program); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(built(t, r)["countersign-0.3.0-linux-arm64.tar.gz"]))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.FileInfo().Mode().String()+" "+h.Name)
		if !h.ModTime.Equal(date) || h.Uid != 0 {
			t.Errorf("%s: changed %v, by %d", h.Name, h.ModTime, h.Uid)
		}
	}
	folder := "countersign-0.3.0-linux-arm64/"
	if want := []string{"-rwxr-xr-x " + folder + "countersign", "-rw-r--r-- " + folder + "README.md", "-rw-r--r-- " + folder + "LICENSE", "-rw-r--r-- " + folder + "CHANGELOG.md",
		"-rw-r--r-- " + folder + "man/man1/countersign.1", "-rw-r--r-- " + folder + "man/man5/countersign.yaml.5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The deb has the manual where man looks for it, and the rpm is made of the same list.
func TestADebHoldsTheManual(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("NOT RUN: there is no dpkg-deb")
	}
	r, program := tryRelease(t)
	if err := r.packageFor("deb", target{"linux", "amd64"}, program); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if text, err := exec.Command("dpkg-deb", "-x", filepath.Join(r.out, "countersign_0.3.0_amd64.deb"), folder).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v, %s", err, text)
	}
	for place, want := range map[string]string{"man1/countersign.1.gz": "a page", "man5/countersign.yaml.5.gz": "another"} {
		f, err := os.Open(filepath.Join(folder, "usr/share/man", place))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", place, got, err)
		}
	}
}

// A script that ends processes by their name must be alone with its own.
func TestTheTriesEndOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"try-deb.sh", "try-image.sh"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		alone := strings.Contains(string(text), "unshare --mount --net --pid --fork --mount-proc")
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "killall") || strings.Contains(line, "pkill") && !strings.Contains(line, " -P ") && !alone {
				t.Errorf("%s ends others' processes: %s", name, line)
			}
		}
	}
}

// The image says what the Dockerfile says.
func TestTheImageIsTheDockerfiles(t *testing.T) {
	t.Parallel()
	r, program := tryRelease(t)
	img, err := r.imageFor(platform{target{"linux", "arm64"}, program})
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	command, err := json.Marshal(c.Config.Cmd)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"USER " + c.Config.User, "WORKDIR " + c.Config.WorkingDir, "ENV " + strings.Join(c.Config.Env, " "), "STOPSIGNAL " + c.Config.StopSignal,
		"VOLUME /var/lib/countersign", "EXPOSE 8080 8081", `ENTRYPOINT ["/usr/bin/countersign"]`, "CMD " + strings.ReplaceAll(string(command), ",", ", "),
		`HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/bin/countersign", "health"]`,
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("deploy/Dockerfile has no line %s", line)
		}
	}
	if c.Architecture != "arm64" || c.OS != "linux" || len(c.RootFS.DiffIDs) != 1 || c.Config.Labels["org.opencontainers.image.version"] != "0.3.0" {
		t.Errorf("got %+v", c)
	}
}

// The image's file is an OCI image layout of both processors.
func TestTheImageIsALayout(t *testing.T) {
	t.Parallel()
	r, program := tryRelease(t)
	if err := r.image([]platform{{target{"linux", "amd64"}, program}, {target{"linux", "arm64"}, program}}); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if text, err := exec.Command("tar", "-xf", filepath.Join(r.out, "countersign-0.3.0.oci.tar"), "-C", folder).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v, %s", err, text)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	top, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(got, want) || top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "0.3.0" {
		t.Errorf("got %q, %+v", got, top.Manifests[0].Annotations)
	}
}

// The bill of materials names what the program was linked from.
func TestTheSBOMNamesTheModules(t *testing.T) {
	t.Parallel()
	r, program := tryRelease(t)
	if err := r.sbom(target{"linux", "amd64"}, program); err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(built(t, r)["countersign-0.3.0-linux-amd64.cdx.json"], &b); err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(b.Parts, func(p bomPart) bool {
		return p.Name == "github.com/goreleaser/nfpm/v2" && strings.HasPrefix(p.PURL, "pkg:golang/github.com/goreleaser/nfpm/v2@v2.")
	})
	if !found || b.Format != "CycloneDX" || b.Metadata.Component.Version != "v0.3.0" || len(b.Serial) != len("urn:uuid:")+36 {
		t.Errorf("got %+v", b)
	}
}

func TestTheUnitIsForThePackagesProgram(t *testing.T) {
	t.Parallel()
	r, _ := tryRelease(t)
	unit, err := r.unit("countersign.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(unit, "\nExecStart=/usr/bin/countersign serve --config /etc/countersign/countersign.yaml\n") || strings.Contains(unit, "/usr/local") || strings.Contains(unit, "useradd") {
		t.Errorf("got:\n%s", unit)
	}
}

func TestWrongFlagsAreTold(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`there is no "linux/mips"`:   {"-targets", "linux/mips"},
		"want one such as v0.1.0":    {"-version", "0.1.0", "-root", committed(t)},
		"there are uncommitted chan": {"-version", "v0.1.0", "-root", uncommitted(t)},
	} {
		if err := run(append(args, "-out", filepath.Join(t.TempDir(), "dist")), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// committed is a repository with one commit.
func committed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "a"}} {
		if text, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v, %s", args, err, text)
		}
	}
	return dir
}

func uncommitted(t *testing.T) string {
	t.Helper()
	dir := committed(t)
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
