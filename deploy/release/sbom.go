package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
)

// A bom is a bill of materials in CycloneDX 1.5: the modules that a program was linked from, as the program itself
// says. Source: cyclonedx.org/docs/1.5/json.
type bom struct {
	Format   string      `json:"bomFormat"`
	Spec     string      `json:"specVersion"`
	Serial   string      `json:"serialNumber"`
	Version  int         `json:"version"`
	Metadata bomMetadata `json:"metadata"`
	Parts    []bomPart   `json:"components"`
}

type bomMetadata struct {
	Timestamp string  `json:"timestamp"`
	Component bomPart `json:"component"`
}

type bomPart struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// part names a module by its package URL. Source: github.com/package-url/purl-spec, type golang.
func part(kind, path, version string) bomPart {
	purl := "pkg:golang/" + path + "@" + url.QueryEscape(version)
	return bomPart{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}

// sbom writes the bill of materials of a program.
func (r *release) sbom(t target, program string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // UUID version 8, RFC 9562
	b := bom{
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Serial:   fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		Metadata: bomMetadata{r.date.Format(time.RFC3339), part("application", info.Main.Path, "v"+r.version)},
		Parts:    []bomPart{part("library", "std", info.GoVersion)},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Parts = append(b.Parts, part("library", m.Path, m.Version))
	}
	return r.create(fmt.Sprintf("countersign-%s-%s-%s.cdx.json", r.version, t.os, t.arch), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(b)
	})
}
