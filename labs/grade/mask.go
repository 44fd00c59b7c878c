package grade

import (
	"encoding/json"
	"regexp"
	"strings"
)

// What is seen of a sandbox is stored and shown, and secrets are not to be.
// Everything here is replaced before it is judged, so that a condition sees
// what is kept. Equal secrets have equal masks: whether two are the same, or
// one has changed, can still be told.
var (
	// privateKey is a PEM block, also one that was cut off. In JSON it ends with
	// its string.
	privateKey       = regexp.MustCompile(`(?s)(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----)(.*?)(-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\z)`)
	privateKeyInJSON = regexp.MustCompile(`(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----)((?:\\n|[^"\\])*)`)
	// webToken is a JSON web token, such as a service account's: its header is
	// the Base64 of {"…. One that was cut off has less than three parts.
	webToken = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{14,}(?:\.[A-Za-z0-9_-]*){0,4}`)
	// credentials are those of an Authorization header.
	credentials = regexp.MustCompile(`(?i)\b(bearer|basic|token)( +)([A-Za-z0-9._~+/-]{8,}=*)`)
	// urlPassword is the password in a URL.
	urlPassword = regexp.MustCompile(`\b([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'<>\\]*:)([^\s/@"'<>\\]+)(@)`)
	// assigned is a value that is given to a name of a secret: on a command
	// line, in an environment, in the query of a URL. In JSON quotes are no part of it.
	assigned       = regexp.MustCompile(`(?i)(` + secretName + `=)("[^"\\\n]+"|'[^'\\\n]+'|[^\s"'\\&;,<>]+)`)
	assignedInJSON = regexp.MustCompile(`(?i)(` + secretName + `=)([^\s"'\\&;,<>]+)`)
	// field is the same as a field of JSON that is text; quotedField of JSON within
	// JSON, where every quote has a backslash, and nestedField of JSON in there.
	field       = regexp.MustCompile(`(?i)("[a-z0-9_.-]*` + secretName + `"\s*:\s*")([^"\\]+)`)
	quotedField = regexp.MustCompile(`(?i)(\\"[a-z0-9_.-]*` + secretName + `\\"\s*:\s*\\")([^"\\]+)`)
	nestedField = regexp.MustCompile(`(?i)(\\\\\\"[a-z0-9_.-]*` + secretName + `\\\\\\"\s*:\s*\\\\\\")([^"\\]+)`)
	// line is the same in YAML, on a line of its own.
	line = regexp.MustCompile(`(?im)^([ \t]*(?:- )?[a-z0-9_.-]*` + secretName + `:[ \t]+["']?)([^\s"'\\]+)(["']?[ \t]*)$`)
	// cookie is the value of one that a server sets.
	cookie = regexp.MustCompile(`(^|, )([!#$%&'*+.^_|~0-9A-Za-z-]+=)([^;,\s]+)`)
)

// secretName is the last word of names that secrets have.
const secretName = `(?:password|passwd|passphrase|secret|token|credential|(?:api|access|secret|private)[_-]?key)`

// maskPrefix begins every mask; what has one is masked already.
const maskPrefix = "sha256:"

// maskText returns the text with every secret that can be recognised replaced.
// It is pure, and masks what it has masked no second time.
func maskText(text string) string {
	key, assignment := privateKey, assigned
	if json.Valid([]byte(text)) { // and must stay so: conditions see response.json
		key, assignment = privateKeyInJSON, assignedInJSON
	}
	lower := strings.ToLower(text)
	for _, m := range []struct {
		needs   string // what the text must have for the pattern to be worth trying
		pattern *regexp.Regexp
		group   int
	}{
		{"private key", key, 2}, {"eyj", webToken, 0}, {"://", urlPassword, 2},
		{"bearer ", credentials, 3}, {"basic ", credentials, 3}, {"token ", credentials, 3},
		{"=", assignment, 2}, {"\"", field, 2}, {"\"", quotedField, 2}, {"\"", nestedField, 2}, {": ", line, 2}, {":\t", line, 2},
	} {
		if strings.Contains(lower, m.needs) {
			text = maskGroup(m.pattern, text, m.group)
		}
	}
	return text
}

// maskGroup masks what the pattern's group matches. A word that follows
// "bearer", "basic" or "token" is a secret only where it looks like one.
func maskGroup(pattern *regexp.Regexp, text string, group int) string {
	var out strings.Builder
	end := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(text, -1) {
		from, to := at[2*group], at[2*group+1]
		value := text[from:to]
		quote := ""
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			quote, value = value[:1], value[1:len(value)-1]
		}
		if strings.HasPrefix(value, maskPrefix) || strings.TrimSpace(value) == "" || pattern == credentials && !looksRandom(value) {
			continue
		}
		out.WriteString(text[end:from])
		out.WriteString(quote + mask(value) + quote)
		end = to
	}
	if end == 0 {
		return text
	}
	return out.String() + text[end:]
}

// looksRandom tells a token from a word of prose.
func looksRandom(word string) bool {
	return strings.ContainsAny(word, "0123456789=+/") || strings.ToLower(word) != word && strings.ToUpper(word[:1])+strings.ToLower(word[1:]) != word
}

// secretHeaders are those of an answer whose whole value is a secret.
var secretHeaders = []string{"authorization", "proxy-authorization", "x-api-key", "x-auth-token", "x-vault-token"}

// maskHeader returns the value of a header of an answer as it may be kept.
func maskHeader(name, value string) string {
	switch {
	case value == "" || strings.HasPrefix(value, maskPrefix):
		return value
	case name == "set-cookie":
		return maskGroup(cookie, value, 3)
	}
	for _, secret := range secretHeaders {
		if name == secret {
			return mask(value)
		}
	}
	return maskText(value)
}

// mask replaces the secrets in texts: bodies and headers, output, logs. Of
// objects, those of a Secret are replaced where they are read; see [trim]. The
// fields of other objects are as they are: a condition may be about them.
func (d *data) mask() {
	if r := d.Response; r != nil {
		r.Body = maskText(r.Body)
		for name, value := range r.Headers {
			r.Headers[name] = maskHeader(name, value)
		}
	}
	if c := d.Connection; c != nil {
		c.Received = maskText(c.Received)
	}
	if r := d.Result; r != nil {
		r.Stdout, r.Stderr = maskText(r.Stdout), maskText(r.Stderr)
	}
	if f := d.File; f != nil {
		f.Text = maskText(f.Text)
	}
	for i := range d.Events {
		d.Events[i].Message = maskText(d.Events[i].Message)
	}
	for i := range d.Logs {
		d.Logs[i].Text = maskText(d.Logs[i].Text)
	}
}
