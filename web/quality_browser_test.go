package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"drydock/content"
	"drydock/content/xsstest"
	"drydock/labs/catalogue"
	"drydock/web/assets/axetest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	browserpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// call asks the browser for something that returns nothing of interest.
func call[P, R any](w *window, what string, method cdp.Command[P, R], params P) {
	w.t.Helper()
	w.do(what, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, method, params)
		return err
	}))
}

// promised is the text that a promise of the page is kept with.
func (w *window) promised(expression string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("evaluate %.200s: %v", expression, err)
	}
	return text
}

// accessible fails the test for everything that axe-core finds on the page.
func (w *window) accessible(what string) {
	w.t.Helper()
	w.promised(axetest.Script() + "\n;''")
	if found := w.promised(axetest.Run); found != "" {
		w.t.Errorf("%s: axe-core finds\n%s", what, found)
	}
}

// addressesOf are the addresses of all pages that somebody finds by following links.
func addressesOf(t *testing.T, b *browser) []string {
	t.Helper()
	var pages []string
	for path, answer := range b.crawl(t, "/", "/sign-out") {
		if strings.HasPrefix(answer.header.Get("Content-Type"), "text/html") && answer.status == http.StatusOK && !strings.Contains(path, "return=") {
			pages = append(pages, path)
		}
	}
	slices.Sort(pages)
	return pages
}

// axe-core finds nothing on any page, light and wide as well as dark and narrow.
func TestNothingKeepsPeopleFromUsingAPage(t *testing.T) {
	site := readingSite(t)
	teacher := site.instructor()
	learner, _ := site.learner("ada", 0)
	seen := map[string]bool{}
	for _, who := range []struct {
		name string
		as   *browser
	}{{"visitor", site.browser()}, {"learner", learner}, {"instructor", teacher}} {
		t.Run(who.name, func(t *testing.T) {
			pages := addressesOf(t, who.as)
			if who.name == "visitor" {
				pages = append(pages, "/no-such-page", "/sign-in?return=%2F")
			}
			w := openWindow(t, &labSite{testSite: site}, who.as)
			for _, path := range pages {
				if seen[path] && strings.HasPrefix(path, "/articles/") {
					continue // for those who are signed in an article differs by the masthead alone, which other pages have
				}
				seen[path] = true
				w.sized(wideScreen, 900)
				w.colours("light")
				w.open(path)
				w.accessible(who.name + " at " + path + ", light and wide")
				w.sized(narrowScreen, 844)
				w.colours("dark")
				w.accessible(who.name + " at " + path + ", dark and narrow")
				w.sees(`document.documentElement.scrollWidth <= innerWidth`)
			}
			t.Logf("%d pages", len(pages))
		})
	}
}

// The screens of a laptop and of a phone, in CSS pixels.
const (
	wideScreen   = 1280
	narrowScreen = 390
)

// weight notes what a window fetched, as it came over the wire, headers included.
type weight struct {
	mu    sync.Mutex
	urls  map[network.RequestID]string
	bytes map[string]int
}

func (v *weight) listen(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		v.urls[e.RequestID] = e.Request.URL
	case *network.EventLoadingFinished:
		v.bytes[v.urls[e.RequestID]] += int(e.EncodedDataLength)
	}
}

func (v *weight) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.urls, v.bytes = map[network.RequestID]string{}, map[string]int{}
}

func (v *weight) total() (sum int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range v.bytes {
		sum += n
	}
	return sum
}

// shifts is a promise of how far things moved on the page by themselves, once it
// was read to its end.
const shifts = `(async () => {
	let sum = 0, what = [];
	new PerformanceObserver(list => list.getEntries().forEach(e => {
		if (!e.hadRecentInput) { sum += e.value; e.sources?.forEach(s => what.push(s.node?.className || s.node?.nodeName)); }
	})).observe({type: "layout-shift", buffered: true});
	const frame = () => new Promise(requestAnimationFrame);
	for (let y = 0; y < document.body.scrollHeight; y += innerHeight) { scrollTo(0, y); await frame(); await frame(); }
	await document.fonts.ready; await frame(); await frame();
	return sum === 0 ? "" : sum + " by " + what.join(", ");
})()`

// blocking is a text of the scripts, and of styles from elsewhere, that keep a page from being painted.
const blocking = `performance.getEntriesByType("resource").filter(e => e.renderBlockingStatus === "blocking" && e.initiatorType === "script"
	|| new URL(e.name).origin !== location.origin).map(e => e.name).join(" ")
	+ [...document.querySelectorAll("script:not([type=module]):not([defer]):not([async])")].map(s => s.outerHTML).join(" ")`

// maxArticle is what an article may ship, with all that it loads, compressed and
// with the headers of the answers.
const maxArticle = 60 << 10

// An article is small, nothing in it moves while it is read, and no script
// keeps it from being painted.
func TestArticlesLoadLightly(t *testing.T) {
	site := readingSite(t)
	w := openWindow(t, &labSite{testSite: site}, site.browser())
	v := &weight{}
	v.reset()
	if err := chromedp.Listen(w.ctx, v.listen); err != nil {
		t.Fatal(err)
	}
	call(w, "watch the network", network.Enable, network.EnableParams{})
	call(w, "keep nothing", network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
	for _, article := range site.library.Articles {
		path := "/articles/" + article.Slug
		for _, width := range []int64{wideScreen, narrowScreen} {
			w.sized(width, 844)
			v.reset()
			w.open(path)
			w.sees(`document.readyState === "complete"`)
			if moved := w.promised(shifts); moved != "" {
				t.Errorf("%s at %d pixels: things move by %s", path, width, moved)
			}
			if found := w.value(blocking); found != "" {
				t.Errorf("%s waits for %s", path, found)
			}
			if total := v.total(); total > maxArticle || total < 10<<10 || len(v.bytes) < 4 {
				t.Errorf("%s ships %d bytes, and at most %d are allowed: %v", path, total, maxArticle, v.bytes)
			} else {
				t.Logf("%s at %d pixels: %d bytes in %d answers", path, width, total, len(v.bytes))
			}
		}
	}
	w.sound()
}

// Without scripts every article can be read, its contents lead to its parts, and
// forms can be sent.
func TestReadingWithoutScripts(t *testing.T) {
	site := readingSite(t)
	site.learner("ada", 0)
	w := openWindow(t, &labSite{testSite: site}, site.browser())
	call(w, "switch scripts off", emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	for _, article := range site.library.Articles {
		w.open("/articles/" + article.Slug)
		if ran := w.value(`String(document.querySelectorAll(".copy, [data-copied]").length)`); ran != "0" {
			t.Fatalf("scripts run: %s elements of theirs", ran)
		}
		for _, h := range article.Contents {
			visible := fmt.Sprintf(`document.getElementById(%q)?.checkVisibility()`, h.ID)
			if h.Level == 2 && w.value("String("+visible+")") != "true" {
				t.Errorf("%s: the part #%s cannot be seen", article.Slug, h.ID)
			}
		}
		last := article.Contents[len(article.Contents)-1]
		for _, h := range article.Contents {
			if h.Level == 2 {
				last = h
			}
		}
		w.click(fmt.Sprintf(`.toc a[href="#%s"]`, last.ID))
		w.sees(fmt.Sprintf(`decodeURIComponent(location.hash) === "#%s" && document.getElementById(%[1]q).getBoundingClientRect().top < innerHeight`, last.ID))
	}
	w.open("/sign-in")
	w.do("sign in", chromedp.SendKeys(chromedp.CSS("#login"), "ada"), chromedp.SendKeys(chromedp.CSS("#password"), testPassword))
	w.click("main form button")
	w.sees(`document.querySelector(".who-name")?.textContent.includes("Learner ada")`)
	w.open("/account")
	w.do("fill in the form", chromedp.SendKeys(chromedp.CSS("main form input[type=password]"), "wrong password"))
	w.sees(`[...document.querySelectorAll("main form button")].every(b => b.checkVisibility())`)
}

// open pages that run a script of the corpus say so.
const noteScripts = `for (const name of ["alert", "confirm", "prompt", "print"]) window[name] = () => { window.scriptsRan = (window.scriptsRan ?? 0) + 1; };`

// provoke does to every element of the page what a reader might, and returns what
// ran, and every address that a browser takes for something to run.
const provoke = `(async () => {
	const found = [];
	for (const e of document.querySelectorAll("body *")) {
		for (const name of e.getAttributeNames()) if (/^on/i.test(name)) found.push(e.nodeName + " has " + name);
		for (const type of ["mouseover", "mouseenter", "focus", "focusin", "pointerover", "pointerdown", "mousedown", "keydown", "toggle", "load", "error", "begin"]) e.dispatchEvent(new Event(type, {bubbles: true}));
		if (e.href !== undefined && e.protocol !== undefined && !["http:", "https:", "mailto:"].includes(e.protocol)) found.push("a link leads to " + e.href);
	}
	for (const bad of ["script:not([src])", "iframe", "object", "embed", "base", "form[action^=javascript]"]) if (document.querySelector(".hostile " + bad)) found.push(bad);
	await new Promise(r => setTimeout(r)); await new Promise(requestAnimationFrame);
	if (window.scriptsRan) found.push(window.scriptsRan + " scripts ran");
	return found.join("\n");
})()`

// No script of the corpus runs in a browser, even where no content policy would
// stop it: in articles, in the texts of labs, in titles and summaries.
func TestHostileTextsRunNoScript(t *testing.T) {
	hostile := hostilePage(t)
	texts := testArticles()
	for i, payload := range xsstest.Payloads("front") {
		quoted := "'" + strings.ReplaceAll(payload, "'", "''") + "'"
		src := "---\ntitle: " + quoted + "\nsummary: " + quoted + "\npublished: 2026-11-01\n---\nText.\n\n## Part\n"
		file := *texts["linux/pipes/index.md"]
		file.Data = []byte(src)
		texts[fmt.Sprintf("linux/hostile-%d/index.md", i)] = &file
		if _, err := content.Load(texts); err != nil {
			delete(texts, fmt.Sprintf("linux/hostile-%d/index.md", i)) // refused: a control character
		}
	}
	site := newSiteOf(t, catalogue.FS())
	site.library = loadArticles(t, texts)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hostile":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, hostile)
		case "/control":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, `<!DOCTYPE html><main><img src="/no" onerror="alert(1)"><a href="java&#9;script:alert(1)">x</a></main>`)
		default:
			site.handler.ServeHTTP(withoutPolicy{w}, r)
		}
	}))
	t.Cleanup(server.Close)
	open := *site
	open.url = server.URL
	w := openWindow(t, &labSite{testSite: &open}, open.browser())
	call(w, "note scripts that run", browserpage.AddScriptToEvaluateOnNewDocument, browserpage.AddScriptToEvaluateOnNewDocumentParams{Source: noteScripts})
	w.open("/control")
	w.sees(`window.scriptsRan > 0`) // what runs is noticed
	if found := w.promised(provoke); !strings.Contains(found, "scripts ran") || !strings.Contains(found, "a link leads to javascript:") || !strings.Contains(found, "has onerror") {
		t.Errorf("on a page that is really hostile: %q", found)
	}
	paths := []string{"/hostile", "/", "/articles", "/tracks/linux"}
	for slug := range maps.Keys(texts) {
		if rest, ok := strings.CutPrefix(slug, "linux/hostile-"); ok {
			paths = append(paths, "/articles/hostile-"+strings.TrimSuffix(rest, "/index.md"))
		}
	}
	for _, path := range paths {
		w.open(path)
		w.sees(`document.readyState === "complete"`)
		if found := w.promised(provoke); found != "" {
			t.Errorf("%s:\n%s", path, found)
		}
	}
}

// hostilePage is a page of all texts of the corpus that are not refused.
func hostilePage(t *testing.T) string {
	t.Helper()
	classes, err := xsstest.Classes()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	all.WriteString("<!DOCTYPE html><html lang=\"en\"><title>Hostile</title><main class=\"hostile\">")
	shown := 0
	for _, class := range classes {
		for i, payload := range class.Payloads {
			text := payload
			if class.Name == "drawings" {
				text = "![A drawing](hostile.svg)"
			}
			doc, err := content.Render("README.md", []byte(text), content.Options{
				IDPrefix: fmt.Sprintf("%s-%d-", class.Name, i), FigureBase: "/labs/x/figures/",
				Open: func(name string) ([]byte, error) {
					if name == "hostile.svg" && class.Name == "drawings" {
						return []byte(payload), nil
					}
					return []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><desc>d</desc></svg>`), nil
				},
			})
			if err == nil {
				shown++
				all.WriteString(doc.HTML)
			}
		}
	}
	if shown < 100 {
		t.Errorf("only %d texts are shown", shown)
	}
	return all.String() + "</main></html>"
}

// withoutPolicy takes the content policy away, to see what stands without it.
type withoutPolicy struct{ http.ResponseWriter }

func (w withoutPolicy) WriteHeader(status int) {
	w.Header().Del("Content-Security-Policy")
	w.ResponseWriter.WriteHeader(status)
}

func (w withoutPolicy) Write(p []byte) (int, error) {
	w.Header().Del("Content-Security-Policy")
	return w.ResponseWriter.Write(p)
}
