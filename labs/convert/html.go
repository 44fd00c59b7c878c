package convert

import (
	"html"
	"regexp"
	"slices"
	"strings"
)

// tagReader turns the HTML in prose into Markdown, line by line. What it does
// not know, such as <namespace>, is no HTML but a placeholder, and stays as it
// is, escaped.
type tagReader struct {
	scanner *scanner
	first   int             // line of what has been gathered
	prose   strings.Builder // of the lines so far
	links   []string        // addresses of open <a>
	until   string          // the closing tag that ends what is skipped or taken as it is
	taken   strings.Builder // what stands in <pre> or <summary>
	takenAt int
}

var (
	tag       = regexp.MustCompile(`^<(/?)([A-Za-z][A-Za-z0-9]*)((?:\s+[A-Za-z_:@-][A-Za-z0-9_:.-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>` + "`" + `]+))?)*)\s*/?>`)
	attribute = regexp.MustCompile(`([A-Za-z_:@-][A-Za-z0-9_:.-]*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>]+))`)
	autolink  = regexp.MustCompile(`^<(?:https?://|mailto:)[^\s<>]*>`)
)

// inside says whether what follows is no Markdown.
func (t *tagReader) inside() bool { return t.until != "" }

// line reads one line of prose.
func (t *tagReader) line(text string, number int) {
	if t.prose.Len() == 0 {
		t.first = number
	}
	t.read(text, number)
	if t.until == "" {
		t.prose.WriteString("\n")
		t.flushParagraph()
	} else if t.until != "-->" {
		t.taken.WriteString("\n")
	}
}

// flushParagraph hands over what has been gathered.
func (t *tagReader) flushParagraph() {
	text := strings.TrimSuffix(t.prose.String(), "\n")
	t.prose.Reset()
	t.scanner.add(piece{line: t.first, prose: []string{text}})
}

// end is the end of the page: what is still open is closed.
func (t *tagReader) end() {
	if t.until == "</pre>" || t.until == "</summary>" {
		t.close(t.scanner.at)
	}
	t.flushParagraph()
}

func (t *tagReader) read(text string, number int) {
	for text != "" {
		if t.until != "" {
			before, after, found := cutFold(text, t.until)
			if t.until != "-->" {
				t.taken.WriteString(before)
			}
			if !found {
				return
			}
			t.close(number)
			text = after
			continue
		}
		i := strings.IndexAny(text, "<`\\")
		if i < 0 {
			t.prose.WriteString(text)
			return
		}
		t.prose.WriteString(text[:i])
		text = t.special(text[i:], number)
	}
}

// cutFold is strings.Cut without regard to case.
func cutFold(text, sep string) (before, after string, found bool) {
	if i := strings.Index(strings.ToLower(text), sep); i >= 0 && i+len(sep) <= len(text) {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

// special reads what begins with <, ` or \ and returns what follows it.
func (t *tagReader) special(text string, number int) string {
	switch text[0] {
	case '\\':
		n := min(2, len(text))
		t.prose.WriteString(text[:n])
		return text[n:]
	case '`':
		n := codeSpan(text)
		t.prose.WriteString(text[:n])
		return text[n:]
	}
	if strings.HasPrefix(text, "<!--") {
		t.until = "-->"
		return text[len("<!--"):]
	}
	if m := autolink.FindString(text); m != "" {
		t.prose.WriteString(m)
		return text[len(m):]
	}
	if m := tag.FindStringSubmatch(text); m != nil && t.tag(m[1] != "", strings.ToLower(m[2]), m[3], text, number) {
		return strings.TrimPrefix(text, m[0])
	}
	t.prose.WriteString("&lt;")
	return text[1:]
}

// codeSpan is the length of the code that begins here; of the backticks only,
// when nothing closes them on this line.
func codeSpan(text string) int {
	n := len(text) - len(strings.TrimLeft(text, "`"))
	for i := n; i < len(text); {
		j := strings.IndexByte(text[i:], '`')
		if j < 0 {
			break
		}
		i += j
		run := len(text[i:]) - len(strings.TrimLeft(text[i:], "`"))
		if run == n {
			return i + run
		}
		i += run
	}
	return n
}

// marks are the tags that Markdown has signs for.
func marks() map[string]string {
	return map[string]string{"strong": "**", "b": "**", "em": "*", "i": "*", "code": "`", "kbd": "`", "samp": "`", "tt": "`", "s": "~~", "del": "~~", "strike": "~~"}
}

// plain are the tags that say nothing in Markdown.
func plain() []string {
	return []string{"span", "font", "u", "small", "big", "sub", "sup", "mark", "ins", "abbr", "label", "tbody", "thead", "figure", "figcaption", "body", "html", "head", "button", "var", "nobr", "wbr"}
}

// paragraphs begin and end a paragraph.
func paragraphs() []string {
	return []string{"p", "div", "center", "section", "article", "ul", "ol", "table", "tr", "dl", "dd", "dt", "header", "footer", "main", "nav", "blockquote"}
}

// tag writes a tag as Markdown; false when it is none.
func (t *tagReader) tag(closing bool, name, attributes, text string, number int) bool {
	switch mark, marked := marks()[name]; {
	case marked:
		t.mark(mark, closing)
	case name == "details":
		t.fold(closing, number)
	case name == "summary" && closing, slices.Contains(plain(), name):
	case slices.Contains(paragraphs(), name):
		t.prose.WriteString("\n\n")
	case name == "br":
		t.lineBreak(text)
	case name == "hr":
		t.prose.WriteString("\n\n---\n\n")
	case len(name) == 2 && name[0] == 'h' && '1' <= name[1] && name[1] <= '6':
		t.prose.WriteString("\n\n")
		if !closing {
			t.prose.WriteString(strings.Repeat("#", int(name[1]-'0')) + " ")
		}
	case name == "li":
		if !closing {
			t.prose.WriteString("\n- ")
		}
	case name == "td" || name == "th":
		if closing {
			t.prose.WriteString(" ")
		}
	case name == "a":
		t.link(closing, attributes)
	case name == "pre" || name == "summary":
		t.until, t.takenAt = "</"+name+">", number
	default:
		return t.embedded(closing, name, attributes, number)
	}
	return true
}

// embedded leaves out what a text without HTML can't show.
func (t *tagReader) embedded(closing bool, name, attributes string, number int) bool {
	switch name {
	case "img":
		if alt := strings.TrimSpace(attr(attributes, "alt")); alt != "" {
			t.prose.WriteString("*(" + alt + ")*")
		}
		t.scanner.report.leaveOut(t.scanner.file, number, "the picture %s", attr(attributes, "src"))
	case "script", "style", "title":
		if !closing {
			t.until = "</" + name + ">"
		}
	case "iframe", "video", "audio", "source", "object", "embed", "link", "meta", "input", "svg", "form", "select", "option":
		if !closing {
			t.scanner.report.leaveOut(t.scanner.file, number, "HTML's <%s>", name)
		}
	default:
		return false
	}
	return true
}

// mark writes a sign of emphasis beside the text, without the space between:
// Markdown knows none there.
func (t *tagReader) mark(sign string, closing bool) {
	if closing {
		text := t.prose.String()
		if trimmed := strings.TrimRight(text, " "); trimmed != text {
			t.prose.Reset()
			t.prose.WriteString(trimmed)
			sign += " "
		}
	}
	t.prose.WriteString(sign)
}

// lineBreak: in a table a line can't be broken.
func (t *tagReader) lineBreak(text string) {
	rest := strings.TrimSpace(text[strings.IndexByte(text, '>')+1:])
	switch before := t.prose.String(); {
	case strings.HasPrefix(strings.TrimSpace(before), "|"):
		t.prose.WriteString(" ")
	case strings.TrimSpace(before) == "" || rest == "":
		t.prose.WriteString("\n\n")
	default:
		t.prose.WriteString("\\\n")
	}
}

func (t *tagReader) link(closing bool, attributes string) {
	if !closing {
		address := attr(attributes, "href")
		t.links = append(t.links, address)
		if address != "" {
			t.prose.WriteString("[")
		}
		return
	}
	if n := len(t.links); n > 0 {
		if address := t.links[n-1]; address != "" {
			t.prose.WriteString("](<" + address + ">)")
		}
		t.links = t.links[:n-1]
	}
}

func (t *tagReader) fold(closing bool, number int) {
	t.flushParagraph()
	t.first = number
	if closing {
		t.scanner.endFold()
	} else {
		t.scanner.beginFold(number)
	}
}

// close ends what was taken as it is: a <pre> is a block of code, a <summary>
// the title of what is folded.
func (t *tagReader) close(number int) {
	text, what := t.taken.String(), t.until
	t.taken.Reset()
	t.until = ""
	switch what {
	case "</pre>":
		t.flushParagraph()
		t.first = number
		body := strings.Trim(html.UnescapeString(stripTags(text)), "\n")
		t.scanner.add(piece{line: t.takenAt, code: &codeText{body: body, line: t.takenAt}})
	case "</summary>":
		title := strings.Join(strings.Fields(html.UnescapeString(stripTags(text))), " ")
		if n := len(t.scanner.open); n > 0 {
			t.scanner.open[n-1].summary = strings.Trim(title, "*_# ")
		} else {
			t.prose.WriteString(title)
		}
	}
}

var anyTag = regexp.MustCompile(`</?[A-Za-z][^<>]*>`)

func stripTags(text string) string { return anyTag.ReplaceAllString(text, "") }

// attr is the value of an attribute.
func attr(attributes, name string) string {
	for _, m := range attribute.FindAllStringSubmatch(attributes, -1) {
		if strings.EqualFold(m[1], name) {
			return html.UnescapeString(m[2] + m[3] + m[4])
		}
	}
	return ""
}
