package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"drydock/content"
	"drydock/store/search"
)

const (
	searchPages  = 2000 // the size that searching is promised for
	searchRounds = 20   // over all queries, after one that is not counted
	searchSeed   = 5    // always the same pages and queries
	// searchVocabulary is how many words the made-up pages have besides those of
	// real articles: about what technical prose of this size does.
	searchVocabulary = 30000
	searchSections   = 10
	sectionWords     = 160 // of text; a quarter as many of code
)

// benchSearch measures a query at two thousand pages of some two thousand words:
// those of the articles that come with Drydock, as often as they are there, and
// made-up ones, spread by Zipf's law.
func benchSearch(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	pages, queries, err := madeUpPages()
	if err != nil {
		return nil, err
	}
	before, err := residentMemory()
	if err != nil {
		return nil, err
	}
	index := search.New()
	defer func() { err = errors.Join(err, index.Close()) }()
	began := time.Now()
	if err := index.Build(ctx, pages); err != nil {
		return nil, err
	}
	built := seconds(began)
	after, err := residentMemory()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "  %d pages, built in %.1f s\n", len(pages), built)
	var took []float64
	for round := range searchRounds + 1 {
		for _, q := range queries {
			began := time.Now()
			if _, err := index.Find(ctx, search.Query{Text: q}); err != nil {
				return nil, err
			}
			if round > 0 { // the first warms up
				took = append(took, seconds(began))
			}
		}
	}
	slices.Sort(took)
	note := fmt.Sprintf("%d pages, %d queries; of words, phrases, names, beginnings and typing errors", len(pages), len(queries))
	memory := fmt.Sprintf("in the background; %.0f MiB more resident memory", float64(after-before)/(1<<20))
	return []measurement{
		{Name: "search", Value: median(took), Unit: "s", N: len(took), Note: note},
		{Name: "search.p99", Value: took[len(took)*99/100], Unit: "s", N: len(took), Note: note},
		{Name: "search.build", Value: built, Unit: "s", N: 1, Note: memory},
	}, nil
}

// residentMemory is what this process takes, in bytes, without what Go could give back.
func residentMemory() (int64, error) {
	for range 2 { // what pools keep, such as those of a benchmark before, goes at the second
		debug.FreeOSMemory()
	}
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("read this process's memory: %w", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0, fmt.Errorf("read this process's memory: %w", err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// prose makes texts of words that are used as often as Zipf's law says.
type prose struct {
	random      *rand.Rand
	words, code *rand.Zipf
	vocabulary  []string // the frequent ones first
	commands    []string
}

// madeUpPages are the pages and what is looked for in them.
func madeUpPages() ([]search.Page, []string, error) {
	library, err := content.Load(content.Embedded())
	if err != nil {
		return nil, nil, err
	}
	p := newProse(library)
	var pages []search.Page
	for i := range searchPages {
		track := library.Tracks[i%len(library.Tracks)]
		page := search.Page{Kind: "article", Track: track.Slug, URL: fmt.Sprintf("/articles/%d", i), Title: p.sentence(3 + i%4), Summary: p.sentence(20)}
		for n := range searchSections {
			s := content.Section{Text: p.sentence(sectionWords), Code: p.listing(sectionWords / 4)}
			if n > 0 {
				s.Heading = content.Heading{Level: 2, ID: fmt.Sprintf("s%d", n), Title: p.sentence(2 + n%4)}
			}
			page.Sections = append(page.Sections, s)
		}
		pages = append(pages, page)
	}
	return pages, p.queries(), nil
}

func newProse(library *content.Library) *prose {
	count, lines := map[string]int{}, map[string]bool{}
	for _, a := range library.Articles {
		for _, s := range a.Sections {
			for _, w := range strings.Fields(s.Text) {
				count[strings.Trim(w, ".,;:()?!\"")]++
			}
			for line := range strings.Lines(s.Code) {
				lines[strings.TrimSpace(line)] = true
			}
		}
	}
	p := &prose{random: rand.New(rand.NewPCG(searchSeed, searchSeed))}
	for w := range count {
		p.vocabulary = append(p.vocabulary, w)
	}
	slices.SortFunc(p.vocabulary, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	for range searchVocabulary {
		p.vocabulary = append(p.vocabulary, p.word())
	}
	for line := range lines {
		p.commands = append(p.commands, line)
	}
	slices.Sort(p.commands)
	p.random.Shuffle(len(p.commands), func(i, j int) { p.commands[i], p.commands[j] = p.commands[j], p.commands[i] })
	// Offset and slope of English prose.
	p.words = rand.NewZipf(p.random, 1.1, 2.7, uint64(len(p.vocabulary)-1))
	p.code = rand.NewZipf(p.random, 1.1, 2.7, uint64(len(p.commands)-1))
	return p
}

// word is one of two to four syllables that no article has.
func (p *prose) word() string {
	w := ""
	for range 2 + p.random.IntN(3) {
		w += string("bcdfghklmnprstvw"[p.random.IntN(16)]) + string("aeiou"[p.random.IntN(5)]) + []string{"", "", "n", "r", "st", "l"}[p.random.IntN(6)]
	}
	return w
}

func (p *prose) sentence(words int) string {
	list := make([]string, words)
	for i := range list {
		list[i] = p.vocabulary[p.words.Uint64()]
	}
	return strings.Join(list, " ")
}

// listing is lines of real code, with at least so many words.
func (p *prose) listing(words int) string {
	var list []string
	for n := 0; n < words; {
		line := p.commands[p.code.Uint64()]
		n += len(strings.Fields(line))
		list = append(list, line)
	}
	return strings.Join(list, "\n")
}

// queries are what people type, a letter at a time, too.
func (p *prose) queries() []string {
	all := []string{
		"kube-proxy", "kubeproxy", "/proc/self", "resolv.conf", "2>&1", "CrashLoopBackOff", "crashloop", "init containers", "init container logs",
		"how does a pod get its address", "what is a service mesh", "service mesh identity", `"exit code"`, "fork exec pipe", "container", "process", "python",
		"kubectl get pods", "kubctl", "conatiner", "contaner", "procses", "proces file", "pyhton", "sevrice mesh", "kubernets netwrok", "zxqwvzx", "zxqwvzx kubectl",
	}
	for _, typed := range []string{"pods", "contain", "service m", "file des"} {
		for i := range typed {
			all = append(all, typed[:i+1])
		}
	}
	for range 40 { // two or three words of any frequency
		all = append(all, p.sentence(2+p.random.IntN(2)))
	}
	for range 20 { // with a letter left out
		w := p.vocabulary[200+p.random.IntN(len(p.vocabulary)-200)]
		if cut := len(w) / 2; cut > 1 {
			w = w[:cut] + w[cut+1:]
		}
		all = append(all, w)
	}
	return all
}
