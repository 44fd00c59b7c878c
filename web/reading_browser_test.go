package web

import (
	"context"
	"fmt"
	"testing"

	"drydock/labs/terminaltest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tabTo presses Tab until the focus is on what the selector names, as someone
// without a mouse does.
func (w *window) tabTo(selector string) {
	w.t.Helper()
	const most = 100 // more than any page of the tests has to focus
	for range most {
		w.keys(kb.Tab)
		if w.value(fmt.Sprintf(`String(document.activeElement.matches(%q))`, selector)) == "true" {
			return
		}
	}
	w.t.Fatalf("Tab does not come to %s", selector)
}

// The four quizzes of quizArticle.
const (
	oneQuiz     = `[data-kind="choice"]:not(:has([data-several]))`
	severalQuiz = `[data-kind="choice"]:has([data-several])`
	orderQuiz   = `[data-kind="order"]`
	textQuiz    = `[data-kind="text"]`
)

// says waits until the quiz tells so where screen readers listen.
func (w *window) says(quiz, words string) {
	w.t.Helper()
	w.sees(fmt.Sprintf(`document.querySelector(%q)?.querySelector("[role=status]")?.textContent.replace(/\s+/g, " ").includes(%q)`, quiz, words))
}

// allRight is what the page shows once all is answered as it should be.
func (w *window) allRight() {
	w.t.Helper()
	w.says(oneQuiz, "✓ B is right")
	w.says(severalQuiz, "✓ Right, that is all.")
	w.says(orderQuiz, "✓ Right.")
	w.says(textQuiz, "✓ Right.")
	w.sees(`document.querySelectorAll(".quiz-right").length === 4`)
}

func TestQuizzesByKeyboardInABrowser(t *testing.T) {
	site := newSite(t)
	site.library = quizLibrary(t)
	_, user := site.learner("ada", 0)
	w := openWindow(t, &labSite{testSite: site}, site.browser())
	w.open("/articles/pods")

	// Nothing chosen, then the wrong answer, then the right one.
	w.tabTo(oneQuiz + " .quiz-actions button")
	w.keys(kb.Enter)
	w.says(oneQuiz, "Choose an answer first.")
	w.open("/articles/pods")
	w.tabTo(oneQuiz + " input")
	w.keys(" " + kb.Enter)
	w.says(oneQuiz, "✗ A is wrong It asks for it.")
	w.sees(`document.activeElement.matches('` + oneQuiz + ` .quiz-actions button') && document.activeElement.textContent === "Try again"`)
	w.keys(kb.Enter + kb.ArrowDown + kb.Enter)
	w.says(oneQuiz, "✓ B is right It is called for it.")

	w.tabTo(severalQuiz + " input")
	w.keys(" ")
	w.tabTo(severalQuiz + " .quiz-actions button")
	w.keys(kb.Enter)
	w.says(severalQuiz, "✗ More than that is right.")
	w.keys(kb.Enter)
	w.tabTo(severalQuiz + " li:last-child input")
	w.keys(" " + kb.Enter)
	w.says(severalQuiz, "✓ Right, that is all.")
	w.says(severalQuiz, "All is the pod's.")

	// As it is shown it is wrong. By the button down, by the arrow key up, and by the button up.
	w.tabTo(orderQuiz + " .quiz-actions button")
	w.keys(kb.Enter)
	w.says(orderQuiz, "✗ 1 of 3 are in their places.")
	w.keys(kb.Enter)
	w.tabTo(orderQuiz + ` [aria-label="Down: the sandbox"]`)
	w.keys(kb.Enter)
	w.says(orderQuiz, "Now 3 of 3.")
	w.keys(kb.ArrowUp)
	w.says(orderQuiz, "Now 2 of 3.")
	w.keys(kb.Tab, chromedp.ModifierShift)
	w.keys(kb.Enter)
	w.says(orderQuiz, "Now 1 of 3.")
	w.tabTo(orderQuiz + " .quiz-actions button")
	w.keys(kb.Enter)
	w.says(orderQuiz, "✓ Right. One after the other.")

	w.tabTo(textQuiz + " input")
	w.keys("SIGTERM" + kb.Enter)
	w.says(textQuiz, "✗ Not that.")
	w.keys(kb.Enter + " kill " + kb.Enter)
	w.allRight()
	w.picture("quizzes-answered")

	// A visitor finds it again; so does who signs in then, on the server too.
	w.open("/articles/pods")
	w.allRight()
	w.do("scroll to the end", chromedp.Evaluate[chromedp.Void](`scrollTo(0, document.body.scrollHeight)`))
	w.open("/sign-in") // notes how far it was read
	w.sees(`Number(localStorage.getItem("reading:pods")) > 0.9`)
	w.tabTo("#login")
	w.keys("ada" + kb.Tab + testPassword + kb.Enter)
	w.sees(`document.querySelector("[action='/sign-out']")`)
	w.sees(`!Object.keys(localStorage).some((key) => /^(reading|answer):/.test(key))`)
	answers, err := site.store.Answers(t.Context(), user.ID, "pods")
	if err != nil || len(answers) != 4 {
		t.Fatalf("the server has %+v (%v)", answers, err)
	}
	readings, err := site.store.Readings(t.Context(), user.ID)
	if err != nil || len(readings) != 1 || readings[0].Article != "pods" || !readings[0].Done {
		t.Errorf("the server has read %+v (%v)", readings, err)
	}
	w.open("/articles/pods")
	w.allRight()

	// What is answered from now on goes to the server.
	w.tabTo(textQuiz + " .quiz-actions button")
	w.keys(kb.Enter + "9" + kb.Enter)
	w.says(textQuiz, "✗ Not that.")
	terminaltest.Eventually(t, "the server has the new answer", func() bool {
		answers, err := site.store.Answers(t.Context(), user.ID, "pods")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			if a.Answer == "9" {
				return true
			}
		}
		return false
	})
	w.open("/articles/pods")
	w.says(textQuiz, "✗ Not that.")
	w.sees(`document.querySelectorAll(".quiz-right").length === 3`)
	w.sound()
}

// shownTab is an expression for the names of the tabs that are shown.
const shownTab = `[...document.querySelectorAll("[role=tab][aria-selected=true]")].map((tab) => tab.textContent).join()`

func TestTabsByKeyboardInABrowser(t *testing.T) {
	site := newSite(t)
	site.library = quizLibrary(t)
	w := openWindow(t, &labSite{testSite: site}, site.browser())
	w.open("/articles/pods")
	w.sees(shownTab + ` === "containerd,containerd"`)
	w.tabTo("[role=tab]")
	w.keys(kb.ArrowRight)
	w.sees(shownTab + ` === "CRI-O,CRI-O" && document.activeElement.textContent === "CRI-O"`)
	w.keys(kb.ArrowRight)
	w.sees(shownTab + ` === "containerd,containerd"`)
	w.keys(kb.End)
	w.sees(`[...document.querySelectorAll("[role=tabpanel]")].map((panel) => panel.hidden).join() === "true,false,true,false"`)
	w.open("/articles/pods")
	w.sees(shownTab + ` === "CRI-O,CRI-O"`)
	w.keys(kb.Tab)

	// A link to what is in a tab that is not shown opens it.
	w.tabTo("[role=tab]")
	w.keys(kb.ArrowLeft)
	w.sees(shownTab + ` === "containerd,containerd"`)
	w.tabTo(".footnote-backref ~ .footnote-backref")
	w.keys(kb.Enter)
	w.sees(`document.querySelector(".tab [href='#fn:1']").checkVisibility()`)
	w.sound()
}

// On paper nothing is folded, and nothing is there to press; without script neither.
func TestReadingOnPaperAndWithoutScript(t *testing.T) {
	site := newSite(t)
	site.library = quizLibrary(t)
	w := openWindow(t, &labSite{testSite: site}, site.browser())
	w.open("/articles/pods")
	w.do("print", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		return err
	}))
	w.sees(`[...document.querySelectorAll(".tab, .tab-name, .depth p, .quiz-answer .quiz-why p, .side-note")].every((e) => e.getBoundingClientRect().height > 0)`)
	w.sees(`![...document.querySelectorAll("main button, main input[type=radio]")].some((e) => e.checkVisibility())`)
	w.do("turn scripts off", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	w.open("/articles/pods")
	w.sees(`[...document.querySelectorAll(".tab, .tab-name, .quiz-items li, .side-note, summary")].every((e) => e.checkVisibility())`)
	w.sees(`!document.querySelector(".prose button, .prose input")`)
}
