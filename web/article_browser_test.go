package web

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"drydock/labs/catalogue"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// openReading opens an article of readingLibrary in a visitor's browser.
func openReading(t *testing.T, path string) *window {
	t.Helper()
	site := newLabSiteOf(t, catalogue.FS())
	site.library = readingLibrary(t)
	w := openWindow(t, site, site.browser())
	w.open(path)
	w.sees(`document.querySelector("[data-shortcuts-open]:not([hidden])")`) // reading.js has run
	return w
}

// press presses a key that has a name, such as Escape.
func (w *window) press(key string) {
	w.t.Helper()
	w.do("press "+key, chromedp.KeyEvent(key))
}

// media has the page shown as on a screen or on paper.
func (w *window) media(medium string) {
	w.t.Helper()
	w.do("show it on "+medium, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium})
		return err
	}))
}

// definition is an expression: the definition of the nth term that is shown, or undefined.
func definition(n int) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".term-means")][%d].checkVisibility()`, n)
}

// focused is an expression for what has the focus.
func focused(selector string) string {
	return fmt.Sprintf("document.activeElement.matches(%q)", selector)
}

// TestTermsInABrowser: a definition is there for keyboard, pointer and finger,
// goes with Escape while they stay, and is never cut off.
func TestTermsInABrowser(t *testing.T) {
	w := openReading(t, "/articles/pod-to-pod")
	w.sees("!" + definition(0))

	for range 60 { // by keyboard, from the top of the page
		if w.value(`String(`+focused(".term a")+`)`) == "true" {
			break
		}
		w.press(kb.Tab)
	}
	w.sees(definition(0))
	w.sees(`document.getElementById(document.activeElement.getAttribute("aria-describedby")).textContent.startsWith("A network of its own")`)
	w.press(kb.Escape)
	w.sees("!" + definition(0))
	w.sees(focused(".term a")) // and the focus stays
	w.press(kb.Tab)
	w.sees(definition(1))
	w.sees("!" + definition(0))
	w.do("go back", chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	w.sees(definition(0)) // what was closed opens again

	w.do("leave", chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	w.sees("!" + definition(0))
	w.pointAt(`document.querySelectorAll(".term a")[1]`)
	w.sees(definition(1))
	w.pointAt(`document.querySelectorAll(".term-means")[1]`) // it can be pointed at itself
	w.sees(definition(1))
	w.press(kb.Escape)
	w.sees("!" + definition(1))

	w.sized(390, 844)
	for i := range 3 {
		w.do("come to a term", chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelectorAll(".term a")[%d].focus()`, i)))
		w.sees(definition(i))
		w.sees(fmt.Sprintf(`(({left, right, top, bottom}) => left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight)(document.querySelectorAll(".term-means")[%d].getBoundingClientRect())`, i))
	}
	w.sees(`document.documentElement.scrollWidth <= innerWidth`)
	w.sound()
}

// TestTermsByTouchInABrowser: the first touch explains, the second leads to the glossary.
func TestTermsByTouchInABrowser(t *testing.T) {
	w := openReading(t, "/articles/pod-to-pod")
	w.do("have a touch screen", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
		return err
	}))
	w.touch(`document.querySelectorAll(".term a")[1]`)
	w.sees(definition(1))
	w.sees(`location.pathname === "/articles/pod-to-pod"`)
	w.touch(`document.querySelector("h1")`)
	w.sees("!" + definition(1))
	w.touch(`document.querySelectorAll(".term a")[1]`)
	w.sees(definition(1))
	w.touch(`document.querySelectorAll(".term a")[1]`)
	w.sees(`location.pathname === "/glossary" && location.hash === "#term-veth"`)
	w.sound()
}

// middle is where the middle of an element is in the window.
func (w *window) middle(element string) (x, y float64) {
	w.t.Helper()
	at := w.value(`((e) => { e.scrollIntoView({block: "nearest"}); const r = e.getClientRects()[0]; return (r.left + r.right) / 2 + " " + (r.top + r.bottom) / 2; })(` + element + `)`)
	if _, err := fmt.Sscan(at, &x, &y); err != nil {
		w.t.Fatalf("%s is at %q: %v", element, at, err)
	}
	return x, y
}

func (w *window) pointAt(element string) {
	w.t.Helper()
	x, y := w.middle(element)
	w.do("point at "+element, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y})
		return err
	}))
}

func (w *window) touch(element string) {
	w.t.Helper()
	x, y := w.middle(element)
	w.do("touch "+element, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for _, e := range []input.DispatchTouchEventParams{
			{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: x, Y: y}}}, {Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
		} {
			if _, err := cdp.Call(ctx, target, input.DispatchTouchEvent, e); err != nil {
				return err
			}
		}
		return nil
	}))
}

// dimmed is an expression: which parts of the picture are dimmed.
const dimmed = `[...document.querySelectorAll(".steps .dimmed")].map((e) => e.getAttribute("class").replaceAll(/stroke-line|dimmed/g, "").trim()).join(" ")`

// TestStepsInABrowser: a picture is stepped through with buttons and arrows,
// and told; on paper it is whole.
func TestStepsInABrowser(t *testing.T) {
	w := openReading(t, "/articles/pod-to-pod")
	shown := `[...document.querySelectorAll(".steps li")].filter((li) => li.checkVisibility({visibilityProperty: true})).length`
	position := func(text string) string {
		return fmt.Sprintf(`document.querySelector(".steps-position").textContent === %q`, text)
	}
	told := `document.querySelector(".steps [role=status]").textContent`
	w.sees(position("1 of 5"))
	w.sees(shown + " === 1")
	w.sees(dimmed + ` === "s2 s3 s3 s4 s4 s5"`)
	w.sees(told + ` === ""`) // nothing is told that nobody asked for

	w.do("press Next", chromedp.Click(chromedp.JSPath(`[...document.querySelectorAll(".steps-tools button")].find((b) => b.textContent === "Next")`)))
	w.sees(position("2 of 5"))
	w.sees(dimmed + ` === "s1 s3 s3 s4 s4 s5"`)
	w.sees(told + `.startsWith("Step 2 of 5: What goes into eth0")`)

	w.press(kb.ArrowRight)
	w.sees(dimmed + ` === "s1 s2 s4 s5"`) // one arrow belongs to two steps
	w.press(kb.End)
	w.sees(position("5 of 5"))
	w.press(kb.ArrowRight) // no further, and the focus stays
	w.sees(position("5 of 5"))
	w.sees(focused(".steps-tools button") + ` && document.activeElement.getAttribute("aria-disabled") === "true"`)
	w.press(kb.ArrowLeft)
	w.sees(position("4 of 5"))
	w.press(kb.Home)
	w.sees(position("1 of 5"))
	before := w.value(`location.hash + document.querySelector(".steps").offsetHeight`)
	w.press(kb.ArrowRight)
	w.sees(position("2 of 5"))
	if after := w.value(`location.hash + document.querySelector(".steps").offsetHeight`); after != before {
		t.Errorf("what stands below moves: %s, then %s", before, after)
	}

	w.media("print")
	w.sees(shown + " === 5")
	w.sees(`[...document.querySelectorAll(".steps .dimmed")].every((e) => getComputedStyle(e).opacity === "1")`)
	w.sees(`!document.querySelector(".steps-tools").checkVisibility() && !document.querySelector(".masthead").checkVisibility()`)
	w.media("")

	w.do("press All steps", chromedp.Click(chromedp.CSS(".steps-all")))
	w.sees(shown + " === 5 && " + dimmed + ` === ""`)
	w.sound()
}

// TestStepsWithoutAScript: the whole picture and the whole list are there.
func TestStepsWithoutAScript(t *testing.T) {
	site := newReadingSite(t)
	b := site.browser()
	page := b.must(200, b.get("/articles/pod-to-pod")).body
	for _, gone := range []string{"dimmed", "stepping", "<button type=\"button\">Next"} {
		if strings.Contains(page, gone) {
			t.Errorf("the page has %q before its script ran", gone)
		}
	}
	if got := words(t, page, "steps"); !strings.Contains(got, "The process writes to its socket.") || !strings.Contains(got, "The process reads it.") {
		t.Errorf("the list is %q", got)
	}
}

// TestKeysOfReadingInABrowser: single keys lead through a page, never while
// one types or with a modifier, and can be switched off.
func TestKeysOfReadingInABrowser(t *testing.T) {
	w := openReading(t, "/articles/services")
	w.keys("p")
	w.sees(`location.pathname === "/articles/pod-to-pod" && document.querySelector("[data-shortcuts-open]:not([hidden])")`)
	w.keys("j")
	w.sees(focused("h2#the-way"))
	w.keys("j")
	w.sees(focused("h2#do-it"))
	w.keys("k")
	w.sees(focused("h2#the-way"))
	w.keys("k")
	w.sees(focused("main"))
	w.keys("jj")
	w.sees(focused("h2#do-it"))
	w.keys("g")
	w.sees(focused("main") + " && scrollY === 0")
	w.keys("c")
	w.sees(focused(".toc a"))
	w.keys("t")
	w.sees(`document.documentElement.dataset.theme === "dark"`)

	w.keys("t", chromedp.ModifierCtrl)
	w.keys("n", chromedp.ModifierAlt)
	w.keys("n", chromedp.ModifierMeta)
	w.do("type into a field", chromedp.Evaluate[chromedp.Void](`document.querySelector("main").append(Object.assign(document.createElement("input"), {id: "typed"})); document.getElementById("typed").focus()`))
	w.keys("tn?")
	w.sees(`document.getElementById("typed").value === "tn?" && document.documentElement.dataset.theme === "dark" && location.pathname === "/articles/pod-to-pod"`)
	w.do("leave the field", chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))

	w.keys("?")
	w.sees(`document.getElementById("shortcuts").open`)
	w.sees(`document.querySelector("[data-key=n]").checkVisibility() && !document.querySelector("[data-key=p]").checkVisibility()`) // the first of its track
	w.keys("n")                                                                                                                     // does nothing behind the sheet
	w.sees(`document.getElementById("shortcuts").open && location.pathname === "/articles/pod-to-pod"`)
	w.click("[data-shortcuts-switch]")
	w.press(kb.Escape)
	w.sees(`!document.getElementById("shortcuts").open`)
	w.keys("t?")
	w.sees(`document.documentElement.dataset.theme === "dark" && !document.getElementById("shortcuts").open`)

	w.open("/articles/pod-to-pod") // and it is remembered
	w.sees(`document.querySelector("[data-shortcuts-open]:not([hidden])")`)
	w.keys("t?")
	w.sees(`document.documentElement.dataset.theme === "dark" && !document.getElementById("shortcuts").open`)
	w.keys("/")
	w.sees(`!document.activeElement.matches("[data-search-field]")`)
	w.click("[data-shortcuts-open] button")
	w.sees(`document.getElementById("shortcuts").open && !document.querySelector("[data-shortcuts-switch]").checked`)
	w.click("[data-shortcuts-switch]")
	w.press(kb.Escape)
	w.keys("/")
	w.sees(focused("[data-search-field]"))
	w.do("leave the field", chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	w.keys("n")
	w.sees(`location.pathname === "/articles/services"`)
	w.sound()
}

// TestProgressBeforeSignInInABrowser: what this browser remembers is shown to a visitor.
func TestProgressBeforeSignInInABrowser(t *testing.T) {
	w := openReading(t, "/articles/services")
	state := `[...document.querySelectorAll("[data-read]")].map((e) => e.checkVisibility() && e.textContent).join()`
	w.sees(state + ` === "Not yet,Not yet"`)
	w.do("have read", chromedp.Evaluate[chromedp.Void](`localStorage.setItem("reading:namespaces", "0.93"); localStorage.setItem("reading:pod-to-pod", "0.5")`))
	w.open("/articles/services")
	w.sees(state + ` === "Not yet,Read"`)
	w.open("/tracks/network")
	w.sees(state + ` === "Read"`)
	w.sees(`document.querySelector(".track-progress").checkVisibility() && document.querySelector(".track-progress").textContent === "0 of 2 read, 2 min left"`)
	w.sound()
}
