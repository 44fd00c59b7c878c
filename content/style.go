package content

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/styles"
)

// Protesilaos Stavrou's Modus themes are made for a contrast of 7 and more
// (WCAG 2.2, 1.4.6) on white and on black.
const (
	lightStyle = "modus-operandi"
	darkStyle  = "modus-vivendi"
)

// StyleSheet returns the CSS of highlighted code and of diagrams. Each rule
// has the colours of light and dark pages in light-dark(), so it follows the
// color-scheme of the page.
func StyleSheet() string {
	var b strings.Builder
	codeRules(&b)
	diagramRules(&b)
	return b.String()
}

// codeRules writes a rule for each class of chroma that has a look.
func codeRules(b *strings.Builder) {
	light, dark := styles.Get(lightStyle), styles.Get(darkStyle)
	types := make([]chroma.TokenType, 0, len(chroma.StandardTypes))
	for t, class := range chroma.StandardTypes {
		if t >= 0 && class != "" {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	fmt.Fprintf(b, ".chroma{%s}\n", look(light.Get(chroma.Text), dark.Get(chroma.Text)))
	for _, t := range types {
		if rule := look(light.Get(t), dark.Get(t)); rule != look(light.Get(chroma.Text), dark.Get(chroma.Text)) {
			fmt.Fprintf(b, ".chroma .%s{%s}\n", chroma.StandardTypes[t], rule)
		}
	}
}

// look is the declarations of one class. Backgrounds are the page's.
func look(light, dark chroma.StyleEntry) string {
	rule := fmt.Sprintf("color:light-dark(%s,%s)", light.Colour, dark.Colour)
	if light.Bold == chroma.Yes {
		rule += ";font-weight:bold"
	}
	if light.Italic == chroma.Yes {
		rule += ";font-style:italic"
	}
	if light.Underline == chroma.Yes {
		rule += ";text-decoration:underline"
	}
	return rule
}

// diagramRules sets the colours of diagrams and uses them. An SVG has the
// light ones as attributes too, for where there is no style sheet.
func diagramRules(b *strings.Builder) {
	b.WriteString(":root{")
	for _, c := range DiagramColours() {
		fmt.Fprintf(b, "--diagram-%s:light-dark(%s,%s);", c.Name, c.Light, c.Dark)
	}
	b.WriteString("}\n.diagram{max-width:100%;height:auto}\n")
	for _, c := range DiagramColours() {
		fmt.Fprintf(b, ".diagram .fill-%s{fill:var(--diagram-%s)}.diagram .stroke-%s{stroke:var(--diagram-%s)}\n", c.Name, c.Name, c.Name, c.Name)
	}
}
