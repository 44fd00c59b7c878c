package content_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/chroma/v2"

	"drydock/content"
)

func TestStyleSheetCoversEveryClass(t *testing.T) {
	sheet := content.StyleSheet()
	for _, token := range []chroma.TokenType{chroma.Keyword, chroma.Comment, chroma.LiteralString, chroma.NameFunction} {
		if class := ".chroma ." + chroma.StandardTypes[token] + "{"; !strings.Contains(sheet, class) {
			t.Errorf("no rule for %s", class)
		}
	}
	for _, c := range content.DiagramColours() {
		if !strings.Contains(sheet, ".fill-"+c.Name+"{") || !strings.Contains(sheet, "--diagram-"+c.Name+":light-dark("+c.Light+","+c.Dark+")") {
			t.Errorf("no rule for the diagrams' colour %s", c.Name)
		}
	}
	if len(sheet) > 12<<10 {
		t.Errorf("the sheet has %d bytes: a page of reading must stay small", len(sheet))
	}
}

// Contrasts as WCAG 2.2 computes them, in both schemes, as promised by the
// comments on DiagramColours and the code's styles.
func TestContrast(t *testing.T) {
	light, dark := map[string]string{}, map[string]string{}
	for _, c := range content.DiagramColours() {
		light[c.Name], dark[c.Name] = c.Light, c.Dark
	}
	for scheme, colours := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, ground := range []string{"page", "node", "group", "note", "good", "bad", "accent", "muted"} {
			if r := contrast(t, colours["text"], colours[ground]); r < 7 {
				t.Errorf("%s: text on %s has %.1f", scheme, ground, r)
			}
		}
		for _, line := range []string{"line", "node-border", "group-border", "note-border", "good-border", "bad-border", "accent-border", "muted-border"} {
			for _, ground := range []string{"page", "group"} {
				if r := contrast(t, colours[line], colours[ground]); r < 3 {
					t.Errorf("%s: %s on %s has %.1f", scheme, line, ground, r)
				}
			}
		}
	}
	rule := regexp.MustCompile(`\.chroma[^{]*\{color:light-dark\((#\w+),(#\w+)\)`)
	rules := rule.FindAllStringSubmatch(content.StyleSheet(), -1)
	if len(rules) < 10 {
		t.Fatalf("only %d rules for code", len(rules))
	}
	for _, r := range rules { // on grounds a little off white and black, as pages have under code
		if l, d := contrast(t, r[1], "#f4f5f7"), contrast(t, r[2], "#161b22"); l < 4.5 || d < 4.5 {
			t.Errorf("%s has %.1f on light and %.1f on dark", r[0], l, d)
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) (l float64) {
	t.Helper()
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatalf("%q is no colour: %v", hex, err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}
