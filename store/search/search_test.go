package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"drydock/content"
)

// harbour is a small library whose pages share their words.
func harbour() []Page {
	section := func(id, title, text, code string) content.Section {
		return content.Section{Heading: content.Heading{Level: 2, ID: id, Title: title}, Text: text, Code: code}
	}
	return []Page{
		{Kind: "article", Track: "kubernetes", URL: "/articles/services", Title: "Services and endpoints", Summary: "How a stable address finds pods that come and go.", Sections: []content.Section{
			section("", "", "A Service has an address. Pods behind it are its endpoints.", ""),
			section("proxy", "What kube-proxy writes", "On each node kube-proxy turns Services into rules of the kernel. It reads EndpointSlices.", "iptables-save | grep KUBE-SVC"),
			section("dns", "Names", "The pod's /etc/resolv.conf names the cluster's DNS and its search list.", "cat /etc/resolv.conf\nnslookup web 2>&1"),
		}},
		{Kind: "article", Track: "kubernetes", URL: "/articles/dns", Title: "DNS in a cluster", Summary: "From a name to an address.", Sections: []content.Section{
			section("", "", "CoreDNS answers for Services.", ""),
			section("ndots", "Five dots", "The option ndots:5 in resolv.conf makes queries multiply. A scheduler of queries does not exist.", "options ndots:5"),
		}},
		{Kind: "article", Track: "kubernetes", URL: "/articles/scheduling", Title: "Scheduling, requests and limits", Summary: "Who decides where a pod runs.", Sections: []content.Section{
			section("", "", "The scheduler filters nodes, then scores them. A pod that is scheduled stays.", ""),
			section("pressure", "When a node runs out of memory", "The kubelet evicts pods; the kernel sends SIGKILL, and the pod is in CrashLoopBackOff.", "kubectl describe node | grep -A5 Allocated"),
		}},
		{Kind: "article", Track: "linux", URL: "/articles/files", Title: "Files, descriptors and pipes", Summary: "Everything that a process has open.", Sections: []content.Section{
			section("", "", "A process refers to open files by number. A pipe has two ends.", "ls -l /proc/self/fd"),
			section("append", "Writing at the end", "With O_APPEND each write goes to the end. Café owners don't know that.", `int fd = open("log", O_WRONLY|O_APPEND);`),
			section("redirect", "Redirection", "2>&1 copies a descriptor. Order matters.", "make > log 2>&1"),
		}},
		{Kind: "article", Track: "linux", URL: "/articles/signals", Title: "Signals", Summary: "How a process is told to end.", Sections: []content.Section{
			section("", "", "SIGTERM asks and SIGKILL does not. A container gets SIGTERM first, and a pod has thirty seconds.", "kill -TERM $$"),
			section("handlers", "Handlers, and the self-pipe", "A handler may do little. It writes to a pipe.", ""),
		}},
		{Kind: "lab", Track: "linux", URL: "/labs/full-disk", Title: "A disk full of nothing", Summary: "The disk is full, and du finds nothing.", Sections: []content.Section{
			section("", "", "A till takes no orders: No space left on device.", "df -h /srv/shop"),
			section("who", "Find what holds the space", "Deleted files keep their blocks while a descriptor is open.", ""),
		}},
	}
}

func indexOf(t *testing.T, pages []Page) *Index {
	t.Helper()
	x := New()
	if err := x.Build(t.Context(), pages); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func find(t *testing.T, x *Index, q Query) Results {
	t.Helper()
	r, err := x.Find(t.Context(), q)
	if err != nil {
		t.Fatalf("%.80q: %v", q.Text, err)
	}
	return r
}

// at is where a hit leads to.
func (h Hit) at() string {
	if id := h.Places[0].ID; id != "" {
		return h.URL + "#" + id
	}
	return h.URL
}

func TestRanking(t *testing.T) {
	x := indexOf(t, harbour())
	for _, c := range []struct{ typed, first string }{
		// Title, then heading, then text.
		{"dns", "/articles/dns"},
		{"services", "/articles/services"},
		{"service", "/articles/services"},
		{"pipe", "/articles/files"},
		{"redirection", "/articles/files#redirect"},
		{"evict", "/articles/scheduling#pressure"},
		{"pod memory", "/articles/scheduling#pressure"},
		// As it is typed.
		{"sched", "/articles/scheduling"},
		{"schedulin", "/articles/scheduling"},
		{"scheduling", "/articles/scheduling"},
		{"kube-p", "/articles/services#proxy"},
		{"endp", "/articles/services"},
		// Words of code.
		{"kube-proxy", "/articles/services#proxy"},
		{"kube proxy", "/articles/services#proxy"},
		{"kubeproxy", "/articles/services#proxy"},
		{"KubeProxy", "/articles/services#proxy"},
		{"/proc/self", "/articles/files"},
		{"proc/self/fd", "/articles/files"},
		{"resolv.conf", "/articles/dns#ndots"},
		{"/etc/resolv.conf", "/articles/services#dns"},
		{"resolvconf ndots", "/articles/dns#ndots"},
		{"ndots:5", "/articles/dns#ndots"},
		{"SIGTERM", "/articles/signals"},
		{"sigterm", "/articles/signals"},
		{"O_APPEND", "/articles/files#append"},
		{"o_append", "/articles/files#append"},
		{"append", "/articles/files#append"},
		{"O_WRONLY|O_APPEND", "/articles/files#append"},
		{"2>&1", "/articles/files#redirect"},
		{"$$", "/articles/signals"},
		{"crashloopbackoff", "/articles/scheduling#pressure"},
		{"crashloop", "/articles/scheduling#pressure"},
		{"CrashLoopBackOff", "/articles/scheduling#pressure"},
		{"loop back", "/articles/scheduling#pressure"},
		{"endpointslice", "/articles/services#proxy"},
		{"coredns", "/articles/dns"},
		{"grep -A5", "/articles/scheduling#pressure"},
		// Whole questions, phrases, accents, and what stands around words.
		{"what is a signal?", "/articles/signals"},
		{"How does DNS work?", "/articles/dns"},
		{`"no space left on device"`, "/labs/full-disk"},
		{`"No space left`, "/labs/full-disk"},
		{"cafe", "/articles/files#append"},
		{"CAFÉ", "/articles/files#append"},
		{"dont know", "/articles/files#append"},
		{"(signals)", "/articles/signals"},
		{"pod*", "/articles/scheduling#pressure"},
		// One letter wrong, missing, too many, or two swapped.
		{"kubctl describe", "/articles/scheduling#pressure"},
		{"desciptors", "/articles/files"},
		{"schedduling", "/articles/scheduling"},
		{"singals", "/articles/signals"},
		{"redirectoin", "/articles/files#redirect"},
		{"kube-proxi", "/articles/services#proxy"},
		{"crashlopbackoff", "/articles/scheduling#pressure"},
		{"descirp", "/articles/files"}, // the beginning of a word, too
	} {
		r := find(t, x, Query{Text: c.typed})
		if len(r.Hits) == 0 || r.Hits[0].at() != c.first {
			t.Errorf("%q leads to %+v, want %s", c.typed, r.Hits, c.first)
		}
	}
}

// A note says in a sentence what others say on a page: it stands behind those
// whose titles have the words, and before those that only use them.
func TestNotesStandBehindPagesOnTheMatter(t *testing.T) {
	x := indexOf(t, append(harbour(),
		Page{Kind: "term", URL: "/glossary#signal", Title: "signal", Summary: "A word to a process, such as SIGTERM."},
		Page{Kind: "term", URL: "/glossary#endpointslice", Title: "EndpointSlice", Names: []string{"EndpointSlices"}, Summary: "The list of a Service's addresses.", Note: true},
		Page{Kind: "term", URL: "/glossary#scheduler", Title: "scheduler", Summary: "It does the scheduling.", Note: true},
	))
	for typed, first := range map[string]string{
		"signal":     "/glossary#signal", // no note: its title is the word
		"scheduling": "/articles/scheduling", "endpointslice": "/glossary#endpointslice", "coredns": "/articles/dns",
	} {
		r := find(t, x, Query{Text: typed})
		if len(r.Hits) == 0 || r.Hits[0].at() != first {
			t.Errorf("%q leads to %+v, want %s", typed, r.Hits, first)
		}
	}
}

// What cannot be told from the first hit.
func TestResults(t *testing.T) {
	x := indexOf(t, harbour())
	for _, c := range []struct {
		q     Query
		total int
		check func(Results) bool
	}{
		{Query{Text: "kubctl"}, 1, func(r Results) bool { return slices.Equal(r.Also, []string{"kubectl"}) && !r.Some }},
		{Query{Text: "crashlopbackoff"}, 1, func(r Results) bool { return slices.Equal(r.Also, []string{"CrashLoopBackOff"}) }},
		{Query{Text: "memory"}, 1, func(r Results) bool { return r.Also == nil }},
		{Query{Text: "evict café"}, 2, func(r Results) bool { return r.Some }},
		{Query{Text: "zebra"}, 0, func(r Results) bool { return r.Nearest == nil && r.Hits == nil }},
		{Query{Text: "descriptions"}, 0, func(r Results) bool { return slices.Equal(r.Nearest, []string{"descriptors"}) }},
		{Query{Text: "signulz"}, 0, func(r Results) bool { return slices.Equal(r.Nearest, []string{"signals"}) }},
		{Query{Text: "pods"}, 3, func(r Results) bool {
			return slices.Equal(r.Kinds, []Count{{"article", 3}}) && slices.Equal(r.Tracks, []Count{{"kubernetes", 2}, {"linux", 1}})
		}},
		{Query{Text: "descriptor", Kind: "lab"}, 1, func(r Results) bool {
			return slices.Equal(r.Kinds, []Count{{"article", 1}, {"lab", 1}}) && slices.Equal(r.Tracks, []Count{{"linux", 1}})
		}},
		{Query{Text: "pods", Track: "linux"}, 1, func(r Results) bool {
			return r.Hits[0].URL == "/articles/signals" && slices.Equal(r.Tracks, []Count{{"kubernetes", 2}, {"linux", 1}})
		}},
		{Query{Text: "pods", Track: "no such"}, 0, func(r Results) bool { return len(r.Hits) == 0 && len(r.Tracks) == 2 }},
		{Query{Text: "pods", Limit: 2}, 3, func(r Results) bool { return len(r.Hits) == 2 }},
		{Query{Text: "how is a"}, 6, func(r Results) bool { return !r.Some }}, // nothing but fillers: the last
	} {
		r := find(t, x, c.q)
		if r.Total != c.total || !c.check(r) {
			t.Errorf("%+v gives %+v", c.q, r)
		}
	}
}

// text writes a marked text with brackets around its marks.
func text(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.Mark {
			p.Text = "[" + p.Text + "]"
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

func TestMarks(t *testing.T) {
	x := indexOf(t, harbour())
	for _, c := range []struct {
		typed, title, heading, snippet string
		code                           bool
	}{
		{"kubeproxy", "Services and endpoints", "What [kube-proxy] writes", "On each node [kube-proxy] turns Services into rules of the kernel. It reads EndpointSlices.", false},
		{"schedul", "[Scheduling], requests and limits", "", "The [scheduler] filters nodes, then scores them. A pod that is [scheduled] stays.", false},
		{"2>&1 order", "Files, descriptors and pipes", "Redirection", "[2>&1] copies a descriptor. [Order] matters.", false},
		{"/proc/self", "Files, descriptors and pipes", "", "ls -l /[proc/self]/fd", true},
		{"cafe", "Files, descriptors and pipes", "Writing at the end", "With O_APPEND each write goes to the end. [Café] owners don't know that.", false},
		{"singals", "[Signals]", "", "SIGTERM asks and SIGKILL does not. A container gets SIGTERM first, and a pod has thirty seconds.", false},
	} {
		r := find(t, x, Query{Text: c.typed})
		if len(r.Hits) == 0 {
			t.Errorf("%q finds nothing", c.typed)
			continue
		}
		h := r.Hits[0]
		p := h.Places[0]
		if text(h.Title) != c.title || text(p.Heading) != c.heading || text(p.Snippet) != c.snippet || p.Code != c.code {
			t.Errorf("%q gives\n%s · %s\n%s (code %v)", c.typed, text(h.Title), text(p.Heading), text(p.Snippet), p.Code)
		}
	}
}

// A snippet is a part of its text, cut between words, around the marks.
func TestSnippetsAreShort(t *testing.T) {
	long := strings.Repeat("Some words that nobody looks for, ähnlich lang. ", 60) + "Here is the needle, and a thread. " + strings.Repeat("Then more words. ", 60)
	x := indexOf(t, []Page{{Kind: "article", URL: "/a", Title: "A", Sections: []content.Section{{Text: long}, {Text: strings.Repeat("x", 9000) + " pin " + strings.Repeat("y", 9000)}}}})
	for _, c := range []struct{ typed, want string }{{"needle thread", "Here is the [needle], and a [thread]. Then"}, {"pin", "[pin]"}} {
		snippet := text(find(t, x, Query{Text: c.typed}).Hits[0].Places[0].Snippet)
		if !strings.Contains(snippet, c.want) || !strings.HasPrefix(snippet, "… ") || !strings.HasSuffix(snippet, " …") || len(snippet) > snippetLength+2*lead {
			t.Errorf("%q: %d bytes: %s", c.typed, len(snippet), snippet)
		}
	}
}

// hostile is what nobody means as a query, and somebody sends.
func hostile() []string {
	return []string{
		"", " ", "\x00", "a\x00b", "\"", "\"\"", "\"\"\"\"", "'", "*", "**", "a*b*", "^pod", "-pod", "+pod", "pod AND", "AND", "OR", "NOT pod", "pod NOT", "NEAR(pod dns, 2)", "NEAR(",
		"title:pod", "pages : x", "{title body} : pod", "(", ")", "((((((", "pod)", "`", ";", "'; DROP TABLE pages; --", `\`, `"pod`, `pod"`, `po"d`, `"a" "b`, "“pod”", "pod\tdns\r\npipe",
		"🚢", "🚢🚢 pod", "👩‍🚀", "日本語", "Ünïcödé", "ß", "ﬁ", "İ", "\u0301", "\u0301\u0302 pod", "\u200b", "\ufeff", "\u202epod", "ﷺﷺﷺﷺ", "½", "K", "\xff\xfe", "pod\xff", string([]byte{0xc3}),
		strings.Repeat("a", 10<<10), strings.Repeat("a ", 5<<10), strings.Repeat("\"", 10<<10), strings.Repeat("pod ", 3000), strings.Repeat("(", 10<<10), strings.Repeat("é", 10<<10),
		strings.Repeat("a-", 5<<10), strings.Repeat("aB", 5<<10), strings.Repeat("$", 10<<10), strings.Repeat("x\x00", 5<<10), strings.Repeat("`'\"*^:", 2000), "a b c d e f g h j k l m n o p q r s t u v w x y z",
		"%00", "%", "_", "..", "../../etc/passwd", "<script>alert(1)</script>", "${jndi:ldap://x}", "0", "-1", "1e999", "u1f6a2",
	}
}

func TestHostileQueries(t *testing.T) {
	x := indexOf(t, harbour())
	for _, typed := range hostile() {
		for _, q := range []Query{{Text: typed}, {Text: typed + "pod"}, {Text: "pod " + typed}, {Text: "pod", Kind: typed, Track: typed}, {Text: `"` + typed + `" x`}, {Text: typed, Limit: -1}} {
			r := find(t, x, q)
			if r.Total < 0 || len(r.Hits) > MaxHits {
				t.Errorf("%.80q: %d hits", q.Text, len(r.Hits))
			}
		}
	}
}

// FuzzQuery: any text is a query that FTS5 takes, the expression for it is
// bounded, and the results are made of the pages' own texts.
func FuzzQuery(f *testing.F) {
	for _, typed := range hostile() {
		f.Add(typed)
	}
	for _, typed := range []string{"kube-proxy", "how does DNS work?", `"exit code" pod`, "crashlopbackoff", "2>&1", "schedulin"} {
		f.Add(typed)
	}
	x := New()
	if err := x.Build(f.Context(), harbour()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := x.Close(); err != nil {
			f.Error(err)
		}
	})
	// Twelve units, each of up to a dozen words of maxWord letters in some ways.
	const longest = 64 << 10
	f.Fuzz(func(t *testing.T, typed string) {
		a := x.now.understand(typed)
		wider, _ := x.now.corrected(a)
		for _, asked := range []asked{a, wider} {
			if len(asked.units) == 0 {
				continue
			}
			if e := x.now.expression(asked, " AND "); len(e) > longest || strings.Trim(e, `abcdefghijklmnopqrstuvwxyz0123456789"() *ANDOR`) != "" {
				t.Fatalf("%d bytes: %.200s", len(e), e)
			}
		}
		r, err := x.Find(t.Context(), Query{Text: typed})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Hits {
			whole := ""
			for _, p := range h.Title {
				whole += p.Text
			}
			if whole != h.Page.Title || len(h.Places) == 0 {
				t.Fatalf("a hit %q with %d places", whole, len(h.Places))
			}
		}
	})
}

func TestIndexComesAndGoes(t *testing.T) {
	x := New()
	if _, err := x.Find(t.Context(), Query{Text: "pod"}); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("before the first build: %v", err)
	}
	pages := harbour()
	for range 2 { // the second takes the first's place
		if err := x.Build(t.Context(), pages); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Build(cancelled, pages); !errors.Is(err, context.Canceled) {
		t.Errorf("a build that was called off: %v", err)
	}
	if r := find(t, x, Query{Text: "pod"}); r.Total == 0 {
		t.Error("a build that failed took the index away")
	}
	if err := errors.Join(x.Build(t.Context(), nil), x.Close()); err != nil {
		t.Fatal(err)
	}
	if err := x.Build(t.Context(), pages); err == nil {
		t.Error("a closed index is built")
	}
	if _, err := x.Find(t.Context(), Query{Text: "pod"}); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("after Close: %v", err)
	}
}

// Searches go on while the index is built anew again and again.
func TestSearchingWhileBuilding(t *testing.T) {
	x := indexOf(t, harbour())
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if r, err := x.Find(t.Context(), Query{Text: "sigterm"}); err != nil || r.Total != 1 {
					t.Errorf("%d, %v", r.Total, err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := x.Build(t.Context(), harbour()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"kube-proxy":                "kube+proxy",
		"O_APPEND":                  "o+append",
		"/proc/self/fd":             "proc self fd",
		"CrashLoopBackOff":          "crash+loop+back+off",
		"HTTPRoute, kubeDNS":        "http+route kube+dns",
		"APIs and PIDs":             "apis and pids",
		"IPv4 x86_64":               "ipv4 x86+64",
		"2>&1":                      "2 u3eu26 1",
		"What is a pod? #1":         "what is a pod 1",
		"a pod's name isn't ‘it’":   "a pods name isnt it",
		"Größe, ﬁle, Ångström":      "grosse file angstrom",
		"end. Begin":                "end begin",
		"日本":                        "u65e5u672c",
		strings.Repeat("a", 50):     strings.Repeat("a", maxWord),
		"--no-headers=true -o json": "no+headers true o json",
	} {
		got := ""
		words(text, func(w word) bool {
			switch {
			case w.joined:
				got += "+"
			case got != "":
				got += " "
			}
			got += fold(text[w.start:w.end])
			return true
		})
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestStem(t *testing.T) {
	for _, same := range []string{
		"pod pods", "probe probes probing probed", "schedule schedules scheduled scheduling", "policy policies", "process processes", "box boxes", "cache caches caching cached",
		"patch patches patching", "stop stopping stopped", "node nodes", "address addresses addressed", "share sharing shared", "retry retries",
	} {
		forms := strings.Fields(same)
		for _, f := range forms {
			if stem(f) != stem(forms[0]) {
				t.Errorf("%s is %s, but %s is %s", f, stem(f), forms[0], stem(forms[0]))
			}
		}
	}
	for _, w := range []string{"dns", "process", "status", "string", "this", "ping", "sh256s"} {
		if stem(w) != w {
			t.Errorf("%s becomes %s", w, stem(w))
		}
	}
}

// oneOff and distance agree with each other, which are written differently.
func TestOneOff(t *testing.T) {
	letters := []string{""}
	for from, n := 0, 0; n < 4; n++ {
		to := len(letters)
		for _, w := range letters[from:to] {
			for _, c := range "abc" {
				letters = append(letters, w+string(c))
			}
		}
		from = to
	}
	for _, a := range letters {
		for _, b := range letters {
			if got, want := oneOff(a, b, false), distance(a, b) <= 1; got != want {
				t.Fatalf("%q and %q: %v", a, b, got)
			}
			begins := false
			for i := range len(b) + 1 {
				begins = begins || distance(a, b[:i]) <= 1
			}
			if got := oneOff(a, b, true); got != begins {
				t.Fatalf("%q and the beginning of %q: %v", a, b, got)
			}
		}
	}
}

// Any number of pages is numbered and named rightly.
func TestManyPages(t *testing.T) {
	var pages []Page
	for i := range 300 {
		pages = append(pages, Page{Kind: "article", URL: fmt.Sprintf("/articles/%d", i), Title: fmt.Sprintf("Page number%d", i), Summary: "One of many."})
	}
	x := indexOf(t, pages)
	if r := find(t, x, Query{Text: "number217 "}); len(r.Hits) != 1 || r.Hits[0].URL != "/articles/217" {
		t.Errorf("%+v", r)
	}
	if r := find(t, x, Query{Text: "page"}); r.Total != 300 || len(r.Hits) != MaxHits {
		t.Errorf("%d pages, %d hits", r.Total, len(r.Hits))
	}
}
