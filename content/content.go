// Package content is the library of tracks and articles: it loads them from
// disk, checks them and renders them to HTML. It owns the format described
// here and imports no other package of Drydock; package prove below it runs what
// articles say in sandboxes.
//
// # Where things are
//
//	tracks/<track>/track.yaml               title, summary, order; after: [track, …]
//	tracks/<track>/glossary.yaml            terms, see below
//	tracks/<track>/<slug>/index.md          an article
//	tracks/<track>/<slug>/name.mmd          the Mermaid source of a diagram
//	tracks/<track>/<slug>/name.svg          the same, rendered by `make diagrams`, or a drawing made by hand
//
// Names of folders are lower-case letters, digits and single dashes; they are
// the slugs in addresses, so an article's must be unique in the whole library
// and should never change. Tracks and the articles of a track are ordered by
// their order, then by title. All files are checked strictly: `drydock content
// lint` prints every problem with file and line, and what else an author should
// mend (lines of code over 100 columns, names of products, long summaries, files
// that nothing uses); `drydock content new` begins an article. A library with a problem
// is not loaded. A folder may be a link to one. Hidden files are no content.
//
// # Front matter
//
// An article begins with YAML between two lines of three dashes:
//
//	---
//	title: What is a service mesh?
//	summary: One or two sentences for lists and search results.
//	published: 2026-11-22
//	order: 2               # in its track
//	lab: init-containers   # optional: the slug of the lab that goes with it
//	minutes: 12            # optional: else counted, 220 words a minute plus code
//	after: [pods, dns]     # optional: slugs of articles to read before this one
//	---
//
// A track may name tracks in the same way. Nothing waits for itself, not in a
// circle either, nor for what comes later in its track.
//
// The title is the page's only heading of level 1. Headings in the text begin
// at ##, and no level is left out.
//
// # Text
//
// The text is GitHub's Markdown (tables, strikethrough, task lists, plain
// addresses become links) with footnotes (a[^1] and [^1]: text) and definition
// lists (a line, then one that begins with a colon). HTML is refused. A
// heading gets an id made from its words, or the one it names:
//
//	## How a pod gets its address {#pod-address}
//
// Links go to http, https and mailto addresses, to a heading (#pod-address),
// or to a page of this site (/articles/service-mesh#cost, /labs/init-containers).
//
// # Callouts
//
// A callout is a quotation that begins with its kind. NOTE, TIP, WARNING and
// DEPTH may have a title of their own; DEPTH is for what can be skipped at
// first, and folded:
//
//	> [!WARNING] This deletes the volume
//	> There is no way back.
//
// ASIDE is a side note, one paragraph of up to 60 words and no title. It stands
// in the margin where there is room, so it goes before the paragraph it belongs
// to:
//
//	> [!ASIDE]
//	> The name is older than the program.
//
// TABS show one of several things at a time. The title says what differs, the
// first paragraph of each item is the tab's name:
//
//	> [!TABS] The container runtime
//	> - containerd
//	>
//	>   It keeps its sockets below `/run/containerd`.
//	> - CRI-O
//	>
//	>   It keeps them below `/var/run/crio`.
//
// Without script all are there, one below the other. The tab that a reader
// chose is shown wherever the names are the same, so write them the same way.
//
// # Quizzes
//
// QUIZ is a question to the reader, who is never held up by it. What stands
// between the question and the answers, such as code, belongs to the question.
// A choice has boxes, [x] where it is right and [ ] where it is wrong, and each
// says in a paragraph below it why it is:
//
//	> [!QUIZ] Who puts the address into the pod's network namespace?
//	> - [ ] the kubelet
//	>
//	>   It asks for it through the runtime, and never touches the interface.
//	> - [x] the CNI plugin
//	>
//	>   The runtime calls it with the path of the namespace.
//
// Several choices may be right. Things to put in order are a numbered list in
// the right one (the page shows another); what explains it follows:
//
//	> [!QUIZ] In which order does it start?
//	> 1. the init containers
//	> 2. the containers
//	> 3. the readiness probes
//	>
//	> Nothing else runs until the last init container has ended.
//
// An answer to type is compared without case and outer spaces with those in
// code:
//
//	> [!QUIZ] Which signal ends a process that ignores all others?
//	> Answer: `SIGKILL`, `KILL`, `9`
//	>
//	> The kernel does not deliver it, it ends the process.
//
// What a reader answered is kept with the words of the question and of the
// choices: who changes them asks anew.
//
// Two kinds are something else than an aside. [!LAB] names a lab; in its place
// stands a card that starts the lab and says how the reader stands in it, with
// the text, which may be left out. It stands in no list and no other callout:
//
//	> [!LAB] init-containers
//	> Now find out which of them holds the pods back.
//
// [!STEPS] is a picture to step through: a drawing (see Figures) and a
// numbered list with an item for each of its 2 to 12 steps. At a step, the
// elements with its class, s1, s2 and so on, are lit, those of other steps
// dimmed; what has no such class stays as it is. Every step has an element, an
// element may belong to several (class="s2 s3"), but stands in none of another.
// Without a script, and on paper, it is the whole picture and the whole list:
//
//	> [!STEPS] A packet's way
//	> ![A packet goes from pod to pod](way.svg "Two nodes")
//	>
//	> 1. The process writes to its socket.
//	> 2. What goes into `eth0` comes out on the node.
//
// # Glossary
//
// The glossaries of all tracks are one: a term and its forms are in it once.
// Capital letters, dashes and spaces make no difference.
//
//   - term: kube-proxy
//     also: [kube-proxies]            # optional: other forms
//     means: The program on each …    # plain text, one or two sentences, at most 320 characters
//     article: services               # optional: the slug of the one that explains it
//
// A text links the first use of a term, in no heading or title, and only that;
// its definition is shown to who points at it:
//
//	Then [kube-proxy](term:) changes, and [the same program](term:kube-proxy) …
//
// # Code
//
// The first word after the fence is the language, then come words that say
// more:
//
//	```sh run            a button types it into the lab's terminal
//	```sh machine        where it is run: cluster or machine
//	```sh none: it takes a second machine    or why it is not
//	```sh machine tab=2  in a terminal of its own; without it all are typed into the first
//	```sh machine root   as root of the machine or the cluster's node, in no terminal
//	```sh machine fails  its last command ends with another exit code than 0
//	```sh cluster until  again and again, up to a minute, until it prints what it should
//	```yaml file=pod.yaml    the name of the file it shows, which lies in the home of the
//	                     sandbox for the commands below
//	```yaml cluster      an object that an API server has to accept
//	```output            what the commands above printed; … stands for any text, on a line
//	                     of its own for any lines
//	```output shape      the same with other numbers and made-up names
//	```go mark=3,5-7     lines to mark: the third, and from the fifth to the seventh
//
// `drydock content test` runs an article from top to bottom in fresh sandboxes,
// typed line by line into terminals of 100 columns, and names each block that
// lies, or of which nobody says where it is run or why it is not.
//
// # Figures
//
// An image on a line of its own is a figure. Its alternative text is needed;
// the title is the caption. An SVG is put into the page itself, so that it
// follows the page's light and dark colours:
//
//	![Two containers share one network namespace](pod.svg "One pod, one address")
//
// Diagrams are Mermaid sources that begin with their title and description
// (for people who cannot see them), and `make diagrams` renders those that
// changed:
//
//	%% title: One pod, one address
//	%% desc: The containers web and proxy are inside one network namespace …
//	flowchart LR
//	  web[web]:::good --> proxy[proxy]:::bad
//
// In flowcharts, state and class diagrams the classes good, bad, accent and
// muted give a node a meaning by colour; never say something by colour alone.
// With class NODE s1 in a flowchart a node belongs to the first step of a
// [!STEPS], with A e1@--> B and class e1 s1 an arrow does.
//
// An SVG without a Mermaid source is a drawing made by hand. It begins with its
// <title> and <desc>, its viewBox is at most 720 wide (the column of an
// article), its words have a font-size of 13 or more. It follows light and dark
// pages: fill and stroke are none, currentColor, or given by the classes
// fill-NAME and stroke-NAME, where NAME is one of [DiagramColours]: page, text,
// line, and node, group, note, good, bad, accent, muted, each with its -border.
// What has no fill is filled with the text's colour. Elements may be g, path,
// rect, circle, ellipse, line, polyline, polygon, text, tspan, defs and marker;
// there is no style, script, link, image or use:
//
//	<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300" font-size="15">
//	  <title>A packet's way</title><desc>Two nodes side by side …</desc>
//	  <g class="s1"><rect x="9" y="9" width="99" height="40" class="fill-node stroke-node-border"/> …</g>
//	</svg>
//
// PNG and JPEG files may be used where a drawing will not do.
package content

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Library is all that can be read, as it was when it was loaded: it keeps the
// sources of the texts and figures, so that no page depends on files that have
// changed since. It is safe for concurrent use.
type Library struct {
	Tracks   []Track    // in order
	Articles []*Article // newest first
	Glossary []*Term    // A to Z

	bySlug map[string]*Article
	shared [sha256.Size]byte // of the files that are about more than one article
	pages  *pages
}

// Article returns the article with the slug.
func (l *Library) Article(slug string) (*Article, bool) {
	a, ok := l.bySlug[slug]
	return a, ok
}

// Track is an ordered course.
type Track struct {
	Slug, Title, Summary string
	Order                int
	After                []string   // slugs of the tracks to read before
	Articles             []*Article // in order

	afterLine int
}

// Article is one page of reading.
type Article struct {
	Slug, Title, Summary string
	Track, Lab           string   // slugs; Lab may be empty
	Order                int      // in the track
	After                []string // slugs of the articles to read before
	Minutes              int      // to read
	Words                int      // without code
	Published            time.Time
	Excerpt              string // the beginning, as plain text
	Contents             []Heading
	Quizzes              []Quiz    // in the order of the text
	Links                []Link    // of the text, to pages of this site
	Blocks               []Block   // of code, in the order of the text
	Terms                []string  // ids of those of the glossary that it explains
	Sections             []Section // what it says, for a search
	Cards                []LabCard // places in the HTML where labs are to be done; see [Article.Pieces]
	Dir                  string    // in the file system that was loaded

	afterLine int
	glossary  *glossary
	source
	pages *pages // of the library
}

// Heading is a line of the table of contents.
type Heading struct {
	Level int // 2 or more
	ID    string
	Title string
}

// Link is a link to another page of this site, for checks across packages.
type Link struct {
	URL  string // such as /labs/init-containers
	Line int
}

// Problem is a mistake in a file, for the author to mend.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Msg  string `json:"message"`
}

func (p Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Msg) }

// Problems returns the problems that an error of [Load] or [Render] is made
// of, in order. What is no problem of a file, such as a folder that cannot be
// read, has no place in a file and is left out.
func Problems(err error) []Problem {
	var p Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []Problem
		for _, e := range joined.Unwrap() {
			all = append(all, Problems(e)...)
		}
		return all
	}
	if errors.As(err, &p) {
		return []Problem{p}
	}
	return nil
}

// problems collects what is wrong with one file.
type problems struct {
	file  string
	found []Problem
}

// add notes a problem, once: two tags on a line are one mistake to mend.
func (p *problems) add(line int, format string, args ...any) {
	one := Problem{File: p.file, Line: max(line, 1), Msg: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.found, one) {
		p.found = append(p.found, one)
	}
}

// err joins the problems in the order of the file.
func (p *problems) err() error {
	slices.SortStableFunc(p.found, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(p.found))
	for i, one := range p.found {
		errs[i] = one
	}
	return errors.Join(errs...)
}
