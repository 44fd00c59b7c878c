package search

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxWord is the longest word that is told from others, in bytes: longer ones
// are hashes and keys, which nobody types to their end.
const maxWord = 40

// word is a word of a text, or an operator of a shell.
type word struct {
	start, end int
	// joined: it is part of a longer name together with the word before, as
	// proxy is in kube-proxy and Off in BackOff.
	joined bool
}

// words calls found with each word of the text until it returns false. A word
// is letters and digits. Names are parted where a person hears a new word: at
// punctuation (kube-proxy, O_APPEND, /proc/self, resolv.conf) and where capitals
// begin (CrashLoopBackOff, HTTPRoute). Operators of a shell (2>&1, $?, ||) are
// words of their own, other punctuation only parts words.
func words(text string, found func(word) bool) {
	joint := false // a name may go on here
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		switch {
		case isLetter(r):
			end := wordEnd(text, i)
			if !parts(text, i, end, joint, found) {
				return
			}
			i, joint = end, end < len(text) && strings.IndexByte("-_.", text[end]) >= 0
			if joint {
				i++
			}
		case isOperator(text[i]):
			end := i
			for end < len(text) && isOperator(text[end]) {
				end++
			}
			if strings.ContainsAny(text[i:end], "|&<>$") && !found(word{start: i, end: end}) {
				return
			}
			i, joint = end, false
		default:
			i, joint = i+size, false
		}
	}
}

// isOperator reports whether operators are made of the character. Those without
// one of |&<>$ are punctuation: What is a pod?
func isOperator(c byte) bool { return strings.IndexByte("|&<>$?!#*", c) >= 0 }

func isLetter(r rune) bool {
	if r < utf8.RuneSelf {
		return r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

// wordEnd is where letters and digits end that begin at i. An apostrophe between
// letters is part of the word: don't, a pod's.
func wordEnd(text string, i int) int {
	for i < len(text) {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		if r == '\'' || r == '’' {
			next, _ := utf8.DecodeRuneInString(text[i+size:])
			if !isLetter(next) {
				return i
			}
		} else if !isLetter(r) {
			return i
		}
		i += size
	}
	return i
}

// parts parts letters and digits where capitals begin a new word.
func parts(text string, start, end int, joint bool, found func(word) bool) bool {
	for i := start + 1; i < end; i++ {
		if !newWord(text, i, end) {
			continue
		}
		if !found(word{start, i, joint}) {
			return false
		}
		start, joint = i, true
	}
	return found(word{start, end, joint})
}

// newWord reports whether a capital at i begins a new word: that after a small
// letter (kubeDNS), and the last of several before small ones (HTTPRoute), but
// not before a single one (APIs, IPv4).
func newWord(text string, i, end int) bool {
	switch before := text[i-1]; {
	case !isUpper(text[i]):
		return false
	case isLower(before):
		return true
	default:
		return isUpper(before) && i+2 < end && isLower(text[i+1]) && isLower(text[i+2])
	}
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// fold makes words equal that a reader takes for the same: capitals and small
// letters, é and e. The result is of a to z and 0 to 9 only: other letters and
// operators are written as their numbers.
func fold(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; !isLower(c) && (c < '0' || c > '9') {
			plain = false
			break
		}
	}
	if !plain {
		s = foldOthers(s)
	}
	return s[:min(len(s), maxWord)]
}

func foldOthers(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(s)) {
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			b.WriteRune(r)
		case r == 'ß':
			b.WriteString("ss")
		case r == '\'' || r == '’' || unicode.IsMark(r):
		default:
			fmt.Fprintf(&b, "u%x", r)
		}
	}
	if b.Len() == 0 { // nothing but accents
		return "u"
	}
	return b.String()
}

// minStem is the shortest word whose ending is taken off, less one: dns is no
// plural.
const minStem = 3

// stem takes off the ending that forms of a word differ by: pods, pod;
// scheduling, scheduled, schedule; policies, policy. It never has to be a word
// itself, only the same for all of them, and different for different words.
func stem(w string) string {
	s := w
	switch {
	case len(s) <= minStem || strings.ContainsAny(s, "0123456789"):
		return s
	case strings.HasSuffix(s, "ies"):
		return s[:len(s)-3] + "y"
	case strings.HasSuffix(s, "s") && !strings.HasSuffix(s, "ss") && !strings.HasSuffix(s, "us") && !strings.HasSuffix(s, "is"):
		s = s[:len(s)-1]
		if strings.HasSuffix(s, "sse") || strings.HasSuffix(s, "xe") || strings.HasSuffix(s, "che") || strings.HasSuffix(s, "she") {
			return s[:len(s)-1]
		}
	}
	for _, ending := range []string{"ing", "ed"} {
		if before, ok := strings.CutSuffix(s, ending); ok && len(before) >= minStem && strings.ContainsAny(before, "aeiouy") {
			return undouble(before)
		}
	}
	if before, ok := strings.CutSuffix(s, "e"); ok && len(before) >= minStem {
		return before
	}
	return s
}

// undouble: stopped and stop, but not missed and mis.
func undouble(s string) string {
	if n := len(s); s[n-1] == s[n-2] && strings.IndexByte("bdgmnprt", s[n-1]) >= 0 {
		return s[:n-1]
	}
	return s
}

// isFiller reports whether the word says nothing about what is looked for, as
// most words of "how does a pod get its address" do.
func isFiller(w string) bool {
	return slices.Contains([]string{
		"a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "how", "i", "if", "in", "is", "it", "its", "my",
		"of", "on", "or", "that", "the", "their", "there", "this", "to", "was", "what", "when", "where", "which", "who", "why", "will", "with", "you", "your",
	}, w)
}

// oneOff reports whether the typed word is another with one letter too many, too
// few, wrong, or two swapped. With prefix it may be the beginning of the other.
func oneOff(typed, other string, prefix bool) bool {
	if n := len(typed) - len(other); n > 1 || n < -1 && !prefix {
		return false
	}
	i := 0
	for i < len(typed) && i < len(other) && typed[i] == other[i] {
		i++
	}
	a, b := typed[i:], other[i:]
	same := func(a, b string) bool { return a == b || prefix && strings.HasPrefix(b, a) }
	switch {
	case a == "":
		return same(a, b) || len(b) == 1
	case b == "":
		return len(a) == 1
	}
	return same(a[1:], b) || same(a, b[1:]) || same(a[1:], b[1:]) ||
		len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] && same(a[2:], b[2:])
}

// distance is how many letters have to be added, left out, changed or swapped to
// make a word another. Words of package search have at most [maxWord] letters.
func distance(a, b string) int {
	var before, row, next [maxWord + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
