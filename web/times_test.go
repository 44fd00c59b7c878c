package web

import (
	"context"
	"strings"
	"testing"
	"time"

	"drydock/labs/catalogue"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func TestTimesAreToldInTheServersZone(t *testing.T) {
	t.Parallel()
	ctx := asOf(t.Context(), noon())
	soon := time.Date(2026, 12, 1, 8, 5, 9, 0, time.UTC)
	for want, got := range map[string]string{
		"Tue 1 December 2026, 09:05 CET": timeWords(ctx, soon, fullForm),
		"Tue 1 Dec, 09:05 CET":           timeWords(ctx, soon, shortForm),
		"Sat 1 Jan 2028, 00:05 CET":      timeWords(ctx, time.Date(2027, 12, 31, 23, 5, 0, 0, time.UTC), shortForm),
		"Tue 1 Dec, 09:05:09 CET":        timeWords(ctx, soon, exactForm),
		"09:05:09 CET":                   timeWords(ctx, soon, clockForm),
		"2026-12-01T09:05:09+01:00":      stamp(ctx, soon),
	} {
		if got != want {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
}

// Whoever sits in another zone than the server reads and types their own times.
func TestTimesAreToldInTheReadersZone(t *testing.T) {
	site := newSiteAt(t, catalogue.FS(), noon)
	autumn, barbara := site.cohort("Autumn"), site.teacher("barbara")
	w := openWindow(t, &labSite{testSite: site}, barbara)
	w.do("move to New York", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "America/New_York"})
		return err
	}))
	give := func(begins, due string) {
		w.sees(`document.querySelector("[name=lab]")`)
		set := func(name, value string) string {
			return `document.querySelector("[name=` + name + `]").value = "` + value + `";`
		}
		w.value(set("lab", labSlug) + set("begins", begins) + set("due", due) + `document.querySelector("[data-own-dates]").requestSubmit(), ""`)
	}
	w.open("/teach/cohorts")
	form := w.value(`document.querySelector("[data-own-dates]").innerText`)
	if want := "Dates are in your time zone. It is Mon 30 November 2026, 06:00 EST now."; !strings.Contains(form, want) {
		t.Errorf("the form does not say %q:\n%s", want, form)
	}
	// Due at half past five in the morning is over, in New York only by half an hour.
	give("2026-11-29T09:00", "2026-11-30T05:30")
	w.sees(`document.querySelector(".field-error")?.innerText.includes("This is over already")`)
	for name, want := range map[string]string{"begins": "2026-11-29T09:00", "due": "2026-11-30T05:30"} {
		if got := w.value(`document.querySelector("[name=` + name + `]").value`); got != want {
			t.Errorf("the form shows %s again as %s, not %s", name, got, want)
		}
	}
	give("2026-12-01T09:00", "2026-12-08T18:30")
	w.sees(`document.body.innerText.includes("Autumn is given the lab")`)
	given := site.given(autumn.ID)
	if len(given) != 1 || !given[0].Begins.Equal(time.Date(2026, 12, 1, 14, 0, 0, 0, time.UTC)) || !given[0].Due.Equal(time.Date(2026, 12, 8, 23, 30, 0, 0, time.UTC)) {
		t.Fatalf("the cohort was given %+v", given)
	}
	cell := `document.querySelector("[data-label=Begins] time")`
	w.sees(cell + `.innerText.endsWith("09:00 EST") && ` + cell + `.title.endsWith("15:00 CET")`)
	w.sound()
}
