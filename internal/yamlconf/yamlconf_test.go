package yamlconf

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// conf has a field of every kind.
type conf struct {
	Text  string   `yaml:"text" default:"as it was" example:"a text"`
	Count int      `yaml:"count" default:"3"`
	Share float64  `yaml:"share" default:"0.5"`
	On    bool     `yaml:"on" default:"true"`
	Wait  Duration `yaml:"wait" default:"5s"`
	Names []string `yaml:"names" example:"a name"`
	Group group    `yaml:"group"`
	Items []item   `yaml:"items"`
}

type group struct {
	Inner string `yaml:"inner" example:"within"`
	Deep  deep   `yaml:"deep"`
}

type deep struct {
	Level int `yaml:"level" default:"7"`
}

type item struct {
	Name  string   `yaml:"name" example:"an item"`
	Size  int      `yaml:"size" default:"64"`
	Tags  []string `yaml:"tags"`
	Group group    `yaml:"group"`
	Parts []part   `yaml:"parts"`
}

type part struct {
	Weight float64  `yaml:"weight" default:"1.5"`
	Marks  []string `yaml:"marks"`
}

// presets returns the conf of an empty file, changed.
func presets(change func(*conf)) conf {
	c := conf{Text: "as it was", Count: 3, Share: 0.5, On: true, Wait: Duration(5 * time.Second)}
	c.Group.Deep.Level = 7
	if change != nil {
		change(&c)
	}
	return c
}

// newItem returns an item with its defaults, changed.
func newItem(change func(*item)) item {
	i := item{Size: 64}
	i.Group.Deep.Level = 7
	if change != nil {
		change(&i)
	}
	return i
}

// A valid file becomes the struct.
func TestDecode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		change func(*conf)
	}{
		"an empty file":             {"", nil},
		"nothing but line ends":     {"\n\n\r\n", nil},
		"nothing but comments":      {"# one\n\n  # two\n", nil},
		"nothing but a document":    {"---\n", nil},
		"nothing but null":          {"null\n", nil},
		"every kind":                {"text: t\ncount: -5\nshare: 0.25\non: false\nwait: 1h30m\nnames: [a, b]\ngroup:\n  inner: i\n  deep: {level: 1}\nitems: []\n", func(c *conf) { *c = every }},
		"in flow style":             {`{text: t, count: -5, share: 0.25, on: false, wait: 1h30m, names: [a, b], group: {inner: i, deep: {level: 1}}, items: []}`, func(c *conf) { *c = every }},
		"nulls leave the defaults":  {"text: null\ncount: ~\nshare:\non: null\nwait: null\nnames: null\ngroup: null\nitems: ~\n", nil},
		"a null in a list is empty": {"names: [null, a]\nitems: [null]\n", func(c *conf) { c.Names, c.Items = []string{"", "a"}, []item{newItem(nil)} }},
		"lists in lists": {"items:\n- name: a\n  tags:\n  - x\n  - y\n  parts:\n  - weight: 2\n    marks: [m]\n  - {}\n-\n  size: 1\n  group: {deep: {level: 2}}\n", func(c *conf) {
			c.Items = []item{
				newItem(func(i *item) {
					i.Name, i.Tags, i.Parts = "a", []string{"x", "y"}, []part{{2, []string{"m"}}, {1.5, nil}}
				}),
				newItem(func(i *item) { i.Size, i.Group.Deep.Level = 1, 2 }),
			}
		}},
		"text that looks like something else": {"names: [5, true, 0x10, 2001-01-01, .inf, on, 1e3, 'null', '~', '']\n", func(c *conf) {
			c.Names = []string{"5", "true", "0x10", "2001-01-01", ".inf", "on", "1e3", "null", "~", ""}
		}},
		"quoted text": {`names: ['it''s', "a \"b\"", "x\ty\n", "é😀", '# no comment', 'a: b', "  led"]`, func(c *conf) {
			c.Names = []string{"it's", `a "b"`, "x\ty\n", "é😀", "# no comment", "a: b", "  led"}
		}},
		"a comment at the end":   {"text: t # and why\ncount: 4# \n", nil},
		"blocks of lines":        {"names:\n- |\n  one\n  two\n- |-\n  one\n  two\n- >\n  one\n  two\n", func(c *conf) { c.Names = []string{"one\ntwo\n", "one\ntwo", "one two\n"} }},
		"numbers between quotes": {"count: \"8\"\nshare: '0.75'\non: \"false\"\nwait: \"1m\"", func(c *conf) { c.Count, c.Share, c.On, c.Wait = 8, 0.75, false, Duration(time.Minute) }},
		"keys between quotes":    {"\"count\": 8\n'on': false\n", func(c *conf) { c.Count, c.On = 8, false }},
		"Windows' line ends":     {"text: t\r\ngroup:\r\n  inner: i\r\n", func(c *conf) { c.Text, c.Group.Inner = "t", "i" }},
		"a byte order mark":      {"\ufefftext: t\n", func(c *conf) { c.Text = "t" }},
		"an end of the document": {"---\ntext: t\n...\n", func(c *conf) { c.Text = "t" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got conf
			problems := Decode([]byte(c.text), &got)
			if name == "a comment at the end" { // of which the second is none
				if len(problems.List) != 1 || problems.List[0].Line != 2 {
					t.Errorf("got %+v, want a problem in line 2", problems.List)
				}
				c.change = func(c *conf) { c.Text = "t" }
			} else if len(problems.List) != 0 {
				t.Errorf("got %+v, want no problems", problems.List)
			}
			if diff := cmp.Diff(presets(c.change), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

var every = conf{
	Text: "t", Count: -5, Share: 0.25, Wait: Duration(90 * time.Minute), Names: []string{"a", "b"},
	Group: group{Inner: "i", Deep: deep{Level: 1}},
}

const writtenOut = "must be written out: anchors, aliases and tags are not supported"

// A file with errors reports all of them with their lines.
func TestProblems(t *testing.T) {
	t.Parallel()
	const here = "; valid keys: text, count, share, on, wait, names, group, items"
	for name, c := range map[string]struct {
		text string
		want []Problem
	}{
		"a misspelt key":                      {"text: a\n\ncuont: 5\n", []Problem{{3, "cuont", "there is no such key; did you mean count?"}}},
		"a key in capitals":                   {"TEXT: a\n", []Problem{{1, "TEXT", "there is no such key; did you mean text?"}}},
		"a key like none":                     {"whatever: 5\n", []Problem{{1, "whatever", "there is no such key" + here}}},
		"a key's whole path":                  {"group.inner: 5\n", []Problem{{1, "group.inner", "there is no such key" + here}}},
		"a misspelt key in a group":           {"group:\n  iner: 5\n", []Problem{{2, "group.iner", "there is no such key; did you mean inner?"}}},
		"a misspelt key in a list":            {"items:\n  - name: a\n  - name: b\n    siez: 1\n", []Problem{{4, "items[1].siez", "there is no such key; did you mean size?"}}},
		"a key that stands twice":             {"text: a\ncount: 1\ntext: b\n", []Problem{{3, "text", "duplicate key"}}},
		"a group that stands twice":           {"group:\n  inner: a\ngroup:\n  inner: b\n", []Problem{{3, "group", "duplicate key"}}},
		"no whole number":                     {"count: 5x\n", []Problem{{1, "count", "must be a whole number"}}},
		"a broken number":                     {"count: 5.0\n", []Problem{{1, "count", "must be a whole number"}}},
		"a number that is too large":          {"count: 99999999999999999999\n", []Problem{{1, "count", "must be a whole number"}}},
		"a number of another base":            {"count: 0x10\n", []Problem{{1, "count", "must be a whole number"}}},
		"no number":                           {"share: half\n", []Problem{{1, "share", "must be a number"}}},
		"YAML's own nan":                      {"share: .nan\n", []Problem{{1, "share", "must be a number"}}},
		"yes for true":                        {"on: yes\n", []Problem{{1, "on", "must be true or false"}}},
		"True for true":                       {"on: True\n", []Problem{{1, "on", "must be true or false"}}},
		"a duration without a unit":           {"wait: 10\n", []Problem{{1, "wait", "must be a duration such as 10s, 2m or 720h"}}},
		"days":                                {"wait: 30d\n", []Problem{{1, "wait", "must be a duration such as 10s, 2m or 720h"}}},
		"a list for a value":                  {"text: [a]\n", []Problem{{1, "text", "must be a single value"}}},
		"a group for a value":                 {"text:\n  a: b\n", []Problem{{1, "text", "must be a single value"}}},
		"a value for a list":                  {"names: a\n", []Problem{{1, "names", "must be a list"}}},
		"a group for a list":                  {"items: {name: a}\n", []Problem{{1, "items", "must be a list"}}},
		"a value for a group":                 {"group: a\n", []Problem{{1, "group", "must be a group of keys"}}},
		"a list for a group":                  {"group: [a]\n", []Problem{{1, "group", "must be a group of keys"}}},
		"lists and groups in a list of texts": {"names:\n- a\n- [b]\n- c: d\n", []Problem{{3, "names[1]", "must be a single value"}, {4, "names[2]", "must be a single value"}}},
		"a value in a list of groups":         {"items:\n- name: a\n- b\n", []Problem{{3, "items[1]", "must be a group of keys"}}},
		"a list for the file":                 {"- a\n", []Problem{{0, "", "must be a group of keys"}}},
		"a value for the file":                {"text\n", []Problem{{0, "", "must be a group of keys"}}},
		"several documents":                   {"text: a\n---\ntext: b\n", []Problem{{0, "", "must be a single document"}}},
		"a directive":                         {"%YAML 1.2\n---\ntext: b\n", []Problem{{0, "", "must be a single document"}}},
		"an anchor and an alias":              {"text: &a b\nnames: [*a]\n", []Problem{{1, "text", writtenOut}, {2, "names[0]", writtenOut}}},
		"an anchor on a group":                {"group: &g\n  inner: a\nitems: [{group: *g}]\n", []Problem{{1, "group", writtenOut}, {3, "items[0].group", writtenOut}}},
		"an alias of nothing":                 {"text: *a\n", []Problem{{1, "text", writtenOut}}},
		"a merge":                             {"<<: {text: a}\n", []Problem{{1, "<<", "there is no such key" + here}}},
		"a tag":                               {"text: !!str 5\ncount: !!int 5\n", []Problem{{1, "text", writtenOut}, {2, "count", writtenOut}}},
		"a tag of one's own":                  {"text: !secret a\n", []Problem{{1, "text", writtenOut}}},
		"an explicit key":                     {"? text\n: 5\n", []Problem{{1, "?", "there is no such key" + here}}},
		"a tab":                               {"group:\n\tinner: a\n", []Problem{{2, "", "not YAML: found character '\t' that cannot start any token"}}},
		"an open list":                        {"text: a\nnames: [a\n", []Problem{{2, "", "not YAML: sequence end token ']' not found"}}},
		"an open group":                       {"group: {inner: a\n", []Problem{{1, "", "not YAML: could not find flow mapping end token '}'"}}},
		"an open quote":                       {"text: 'a\n", []Problem{{1, "", "not YAML: could not find end character of single-quoted text"}}},
		"an unknown escape":                   {`text: "\q"`, []Problem{{1, "", "not YAML: found unknown escape character 'q'"}}},
		"two colons":                          {"text: a: b\n", []Problem{{1, "", "not YAML: mapping value is not allowed in this context"}}},
		"a key that is a list":                {"[text]: a\n", []Problem{{1, "", "not YAML: found an invalid key for this map"}}},
		"all kinds at once": {"cuont: 5\ncount: x\non: 1\nitems:\n- size: x\n  parts:\n  - weight: x\n    mraks: []\ngroup: 5\n", []Problem{
			{1, "cuont", "there is no such key; did you mean count?"}, {2, "count", "must be a whole number"}, {3, "on", "must be true or false"},
			{5, "items[0].size", "must be a whole number"}, {7, "items[0].parts[0].weight", "must be a number"},
			{8, "items[0].parts[0].mraks", "there is no such key; did you mean marks?"}, {9, "group", "must be a group of keys"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got conf
			problems := Decode([]byte(c.text), &got)
			if diff := cmp.Diff(c.want, problems.List); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Messages never show a value of the file, because it may be a secret.
func TestProblemsDoNotQuoteValues(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"text: whsec_A\n b: [", "count: whsec_A\n", "text: whsec_A: b\n", "text: 'whsec_A\n", "text: whsec_A\nnames: [\n", "names: [whsec_A\n",
		"text: !whsec_A a\nwait: whsec_A\non: whsec_A\nshare: whsec_A\n", "group: whsec_A\nitems: whsec_A\nnames: whsec_A\n", "whsec_A", "- whsec_A",
		"text: \"whsec_A\\q\"\n", "text: *whsec_A\n", "\ttext: whsec_A", "text: @whsec_A", "text: whsec_A\n---\n", "{text: whsec_A", "text: whsec_A\nwhsec: a\nb",
	} {
		var c conf
		problems := Decode([]byte(text), &c)
		if got := problems.Describe("file"); strings.Contains(got, "whsec_A") {
			t.Errorf("%q: the problems quote the value: %s", text, got)
		}
	}
}

func TestCheckNotesOneProblemForAKey(t *testing.T) {
	t.Parallel()
	var c conf
	p := Decode([]byte("count: x\n\ngroup: 5\nitems:\n- name: a\n- size: 5\n"), &c)
	p.Check("text", true, "is right")
	p.Check("count", false, "must be 1 to 9") // was not a number
	p.Check("group.inner", false, "must not be empty")
	p.Check("group.deep.level", false, "must not be empty")
	p.Check("items[1].name", false, "must not be empty")
	p.Check("items[1].name", false, "must be short")
	p.Check("items[1].group.deep.level", false, "must be %d", 7)
	p.Check("items[10].name", false, "doesn't exist")
	p.Check("counts", false, "is another key")
	p.Check("names[0]", false, "must not be empty")
	want := `a file: 7 errors:
  counts: is another key
  names[0]: must not be empty
  line 1: count: must be a whole number
  line 3: group: must be a group of keys
  line 4: items[10].name: doesn't exist
  line 6: items[1].name: must not be empty
  line 6: items[1].group.deep.level: must be 7`
	if diff := cmp.Diff(want, p.Describe("a file")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A problem with the whole file is the only one, because nothing else was read.
func TestAFileThatIsNotYAMLHasNoOtherProblems(t *testing.T) {
	t.Parallel()
	var c conf
	p := Decode([]byte("text: 'a\n"), &c)
	p.Check("text", false, "must not be empty")
	p.Check("items[0].name", false, "must not be empty")
	if want := "a file: 1 error:\n  line 1: not YAML: could not find end character of single-quoted text"; p.Describe("a file") != want {
		t.Errorf("got  %s\nwant %s", p.Describe("a file"), want)
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10s": "10s", "2m": "2m", "720h": "720h", "90m": "1h30m", "90s": "1m30s", "100ms": "100ms", "3600s": "1h", "1h0m5s": "1h0m5s", "0": "0s", "-2m": "-2m", "1.5h": "1h30m", "10m": "10m", "20h10m": "20h10m",
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if d.String() != want {
			t.Errorf("%s: got %s, want %s", text, d, want)
		}
	}
}

// An invalid default is our own mistake, so it panics.
func TestAWrongDefaultPanics(t *testing.T) {
	t.Parallel()
	for name, into := range map[string]any{
		"a number": &struct {
			A int `yaml:"a" default:"x"`
		}{},
		"a kind that files can't hold": &struct {
			A map[string]string `yaml:"a" default:"x"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic", name)
				}
			}()
			Decode(nil, into)
		}()
	}
}

const source = `package conf

// conf is not a field's comment.
type conf struct {
	// Text is a text,
	// in two lines.
	Text string
	// Count of things. Textual things, such as Count.
	Count int
	// Share, Named together.
	Share, Share2 float64 // and not this
	On bool
	// Wait   | is a pipe.
	Wait Duration
	/* Names are names. */
	Names []string
	// Group is a group.
	Group group
	// Items are items.
	Items []item
}

type (
	group struct {
		// Inner is within.
		Inner string
		// Deep is below.
		Deep deep
	}
	alias int
)

type deep struct {
	// Level is how deep.
	Level int
}

type item struct {
	// Name is a name.
	Name string
	// Size is a size.
	Size int
	// Tags are tags.
	Tags []string
	// Group is an item's group.
	Group group
	// Parts are parts.
	Parts []part
}

type part struct {
	// Weight is a weight.
	Weight float64
	// Marks are marks.
	Marks []string
}
`

func docs(t testing.TB) Docs {
	t.Helper()
	d, err := ParseDocs([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocsAreTheFieldsComments(t *testing.T) {
	t.Parallel()
	want := Docs{
		"conf.Text": "Text is a text,\nin two lines.", "conf.Count": "Count of things. Textual things, such as Count.",
		"conf.Share": "Share, Named together.", "conf.Share2": "Share, Named together.", "conf.On": "", "conf.Wait": "Wait   | is a pipe.",
		"conf.Names": "Names are names.", "conf.Group": "Group is a group.", "conf.Items": "Items are items.",
		"group.Inner": "Inner is within.", "group.Deep": "Deep is below.", "deep.Level": "Level is how deep.",
		"item.Name": "Name is a name.", "item.Size": "Size is a size.", "item.Tags": "Tags are tags.", "item.Group": "Group is an item's group.", "item.Parts": "Parts are parts.",
		"part.Weight": "Weight is a weight.", "part.Marks": "Marks are marks.",
	}
	if diff := cmp.Diff(want, docs(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ParseDocs([]byte("no Go")); err == nil {
		t.Error("got docs of what is no Go")
	}
}

func TestPrintExplainsEachKey(t *testing.T) {
	t.Parallel()
	c := presets(func(c *conf) {
		c.Text, c.Names, c.Items = "", []string{"x", `y "z"`}, []item{newItem(nil), newItem(func(i *item) { i.Name, i.Parts = "two", []part{{Weight: 2}} })}
	})
	const want = `# text is a text,
# in two lines.
text: ""

# count of things. Textual things, such as Count.
count: 3

# Share, Named together.
share: 0.5

#
on: true

# wait   | is a pipe.
wait: 5s

# names are names.
names:
  - "x"
  - "y \"z\""

# group is a group.
group:
  # inner is within.
  inner: ""
  # deep is below.
  deep:
    # level is how deep.
    level: 7

# items are items.
items:
    # name is a name.
  - name: ""
    # size is a size.
    size: 64
    # tags are tags.
    tags: []
    # group is an item's group.
    group:
      # inner is within.
      inner: ""
      # deep is below.
      deep:
        # level is how deep.
        level: 7
    # parts are parts.
    parts: []
    # name is a name.
  - name: "two"
    # size is a size.
    size: 64
    # tags are tags.
    tags: []
    # group is an item's group.
    group:
      # inner is within.
      inner: ""
      # deep is below.
      deep:
        # level is how deep.
        level: 7
    # parts are parts.
    parts:
        # weight is a weight.
      - weight: 2
        # marks are marks.
        marks: []
`
	if diff := cmp.Diff(want, docs(t).Print(c, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Print shows an example where there is no default, and one entry of every list that has an example.
func TestPrintWithExamplesCanBeRead(t *testing.T) {
	t.Parallel()
	var got conf
	text := docs(t).Print(presets(func(c *conf) { c.Text = "" }), true)
	if p := Decode([]byte(text), &got); len(p.List) > 0 {
		t.Fatalf("%s\n%s", p.Describe("the example"), text)
	}
	want := presets(func(c *conf) {
		c.Text, c.Names, c.Group.Inner = "a text", []string{"a name"}, "within"
		c.Items = []item{newItem(func(i *item) {
			i.Name, i.Group.Inner, i.Parts = "an item", "within", []part{{1.5, nil}}
		})}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, text)
	}
}

func TestTableHasARowForEachKey(t *testing.T) {
	t.Parallel()
	const want = "| key | default | meaning |\n|---|---|---|\n" +
		"| `text` | `as it was` | text is a text, in two lines. |\n| `count` | `3` | count of things. Textual things, such as Count. |\n" +
		"| `share` | `0.5` | Share, Named together. |\n| `on` | `true` |  |\n| `wait` | `5s` | wait   \\| is a pipe. |\n| `names` |  | names are names. |\n" +
		"| `group` |  | group is a group. |\n| `group.inner` |  | inner is within. |\n| `group.deep` |  | deep is below. |\n| `group.deep.level` | `7` | level is how deep. |\n" +
		"| `items` |  | items are items. |\n| `items[].name` |  | name is a name. |\n| `items[].size` | `64` | size is a size. |\n| `items[].tags` |  | tags are tags. |\n" +
		"| `items[].group` |  | group is an item's group. |\n| `items[].group.inner` |  | inner is within. |\n| `items[].group.deep` |  | deep is below. |\n| `items[].group.deep.level` | `7` | level is how deep. |\n" +
		"| `items[].parts` |  | parts are parts. |\n| `items[].parts[].weight` | `1.5` | weight is a weight. |\n| `items[].parts[].marks` |  | marks are marks. |\n"
	if diff := cmp.Diff(want, docs(t).Table(conf{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// drawConf returns any conf. Its texts are ones that break YAML.
func drawConf(rt *rapid.T) conf {
	text := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"", " ", "  led", "trailed ", "a\nb", "a\n", "\n\na", "\t", "# no comment", "a # b", "a: b", ":", "-", "- a", "null", "~", "true", "no", "5", "0x1f", "1e3",
			`"`, `'`, `\`, `\n`, `a"b'c`, "[a]", "{a: b}", "&a", "*a", "!!str a", "|", ">", "%a", "@a", "`a", "---", "...", "?", "<<", "é", "日本語", "😀", "\u2028", "\u0085", "\ufeff", "\x00", "\x7f", "\a\v\f\b\r\x1b", "whsec_AAEC+/="}),
	)
	drawGroup := func() (g group) {
		g.Inner, g.Deep.Level = text.Draw(rt, "inner"), rapid.Int().Draw(rt, "level")
		return g
	}
	texts := func(label string) []string {
		if all := rapid.SliceOfN(text, 0, 3).Draw(rt, label); len(all) > 0 {
			return all
		}
		return nil
	}
	share := rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) })
	c := conf{
		Text: text.Draw(rt, "text"), Count: rapid.Int().Draw(rt, "count"), Share: share.Draw(rt, "share"), On: rapid.Bool().Draw(rt, "on"),
		Wait: Duration(rapid.Int64().Draw(rt, "wait")), Names: texts("names"), Group: drawGroup(),
	}
	for range rapid.IntRange(0, 3).Draw(rt, "items") {
		i := item{Name: text.Draw(rt, "name"), Size: rapid.Int().Draw(rt, "size"), Tags: texts("tags"), Group: drawGroup()}
		for range rapid.IntRange(0, 2).Draw(rt, "parts") {
			i.Parts = append(i.Parts, part{share.Draw(rt, "weight"), texts("marks")})
		}
		c.Items = append(c.Items, i)
	}
	return c
}

func TestWhatWasPrintedIsReadAsTheSame(t *testing.T) {
	t.Parallel()
	d := docs(t)
	rapid.Check(t, func(rt *rapid.T) {
		want := drawConf(rt)
		text := d.Print(want, false)
		var got conf
		if p := Decode([]byte(text), &got); len(p.List) > 0 {
			rt.Fatalf("%s\n%s", p.Describe("the text"), text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got):\n%s\n%s", diff, text)
		}
	})
}

// Deep nesting must not crash the process.
func TestDeepNestingIsRefused(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"[", "{a: ", "- ", "&a ", "!a ", "group: {", "items: [{"} {
		var c conf
		if p := Decode([]byte(strings.Repeat(step, 2000)), &c); len(p.List) == 0 {
			t.Errorf("%s...: got no problems", step)
		} else if text := p.Describe("a file"); len(text) > 1000 {
			t.Errorf("%s...: got %d characters of problems", step, len(text))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("text: a\ncount: 5\n")
	f.Add("items:\n- name: a\n  tags: [x, y]\n- {size: 5}\n")
	f.Add("a: &x b\nc: *x\n<<: {d: e}\n")
	f.Add("text: |\n  a\n  b\n? c\n: !!str d\n---\n%YAML 1.2\n")
	f.Add("names: [a, 'b', \"c\\n\", null]\n# d\n")
	f.Add("\ufeffgroup:\r\n\tinner: {deep: [")
	d := docs(f)
	f.Fuzz(func(t *testing.T, text string) {
		var c conf
		p := Decode([]byte(text), &c)
		lines := 1 + strings.Count(text, "\n") + strings.Count(text, "\r")
		for _, q := range p.List {
			if q.Line < 0 || q.Line > lines || q.Message == "" {
				t.Errorf("%q: got %+v, of %d lines", text, q, lines)
			}
		}
		if len(p.List) > 0 || math.IsNaN(c.Share) || strings.Contains(fmt.Sprint(c), "NaN") || strings.Contains(fmt.Sprint(c), "\ufffd") {
			return
		}
		var again conf
		printed := d.Print(c, false)
		if p := Decode([]byte(printed), &again); len(p.List) > 0 {
			t.Fatalf("%q: what was printed of it is wrong: %s\n%s", text, p.Describe("it"), printed)
		}
		if diff := cmp.Diff(fmt.Sprint(c), fmt.Sprint(again)); diff != "" {
			t.Errorf("%q: (-read +read again):\n%s", text, diff)
		}
	})
}
