package trail

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
)

// Mask stands where a secret stood.
const Mask = "•••"

// sensitive are the words that the name of a secret value has in it.
const sensitive = `(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential)`

// replacement is one kind of secret in free text.
type replacement struct {
	find *regexp.Regexp
	with string
}

// The order matters: what names itself comes before what is told by its name.
var replacements = []replacement{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), Mask},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.?[A-Za-z0-9_-]*`), Mask},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}`), "$1 " + Mask},
	// The user of an address may be told, the password not.
	{regexp.MustCompile(`(://[^\s:/@"']*:)[^\s@/"']+@`), "${1}" + Mask + "@"},
	{regexp.MustCompile(`(?i)((?:^|\s)(?:-u|--user)[ =]?["']?[^\s:"']+:)[^\s"']+`), "${1}" + Mask},
	{regexp.MustCompile(`(\bmysql[a-z]*\b[^|;&]*\s-p)([^\s]+)`), "${1}" + Mask},
	// password=…, "token": "…", MY_SECRET_KEY='…'
	{regexp.MustCompile(`(?i)([a-z0-9_.-]*` + sensitive + `[a-z0-9_.-]*["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s"',;&]+)`), "${1}" + Mask},
	{regexp.MustCompile(`(?i)(\s--?` + sensitive + `\s+)(?:"[^"]*"|'[^']*'|[^\s-]\S*)`), "${1}" + Mask},
}

var (
	sensitiveName = regexp.MustCompile(`(?i)` + sensitive)
	// makesSecret and literal: the values of a Secret that is made on the command line.
	makesSecret = regexp.MustCompile(`\bsecrets?\b`)
	literal     = regexp.MustCompile(`(--from-literal[= ]["']?[^=\s]+=)(?:"[^"]*"|'[^']*'|[^\s"']+)`)
)

// MaskText replaces what looks like a secret in text: private keys, tokens,
// passwords in addresses, in assignments and behind flags. What a secret is
// called by no name, it cannot know.
func MaskText(text string) string {
	if makesSecret.MatchString(text) {
		text = literal.ReplaceAllString(text, "${1}"+Mask)
	}
	for _, r := range replacements {
		text = r.find.ReplaceAllString(text, r.with)
	}
	return text
}

// MaskJSON masks a JSON value and indents it for reading. Unlike what is kept of
// a request, its texts stay whole. What is no JSON is masked as text.
func MaskJSON(raw []byte) string {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return MaskText(string(raw))
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if out.Encode(masked(value, func(s string) string { return clean(MaskText(s), true) })) != nil {
		return ""
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// maskValue is a JSON value, masked, without what only repeats it, and with its
// texts cut to maxText.
func maskValue(value any) any {
	return masked(value, func(s string) string { return cut(clean(MaskText(s), true), maxText) })
}

// masked masks a JSON value, and its texts by a function.
func masked(value any, text func(string) string) any {
	switch v := value.(type) {
	case map[string]any:
		return maskFields(v, text)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = masked(v[i], text)
		}
		return out
	case string:
		return text(v)
	}
	return value
}

// maskFields masks what a name says to be secret, be it a field or an
// environment variable.
func maskFields(fields map[string]any, text func(string) string) map[string]any {
	out := make(map[string]any, len(fields))
	name, _ := fields["name"].(string)
	for key, value := range fields {
		_, isText := value.(string)
		switch {
		case key == lastApplied:
		case isText && (sensitiveName.MatchString(key) && !namesOnly(key) || key == "value" && sensitiveName.MatchString(name)):
			out[key] = Mask
		default:
			out[key] = masked(value, text)
		}
	}
	return out
}

// namesOnly: the field holds the name of a secret, and not the secret.
func namesOnly(field string) bool {
	return strings.HasSuffix(field, "Name") || strings.HasSuffix(field, "Ref") || strings.HasSuffix(field, "Path")
}

// lastApplied is kubectl's copy of what it applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// clean removes control characters; lines and tabs stay if they may.
func clean(text string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case lines && (r == '\n' || r == '\t'):
			return r
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar, bidirectional(r):
			return -1
		}
		return r
	}, text)
}

// bidirectional characters make text read otherwise than it is.
func bidirectional(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f
}

// cut shortens text to most bytes, at the end of a character, and says so.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}
