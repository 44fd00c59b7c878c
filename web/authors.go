package web

import (
	"strconv"

	"drydock/content"
	"drydock/content/live"
)

// authorsSheet is the style sheet of what only authors see.
const authorsSheet = "authors.css"

// troubleFor is what the reader of a page is told of problems of the articles:
// readers can't mend them, those who teach can, and so can everybody with --dev.
func (s *server) troubleFor(p Page) live.Trouble {
	if s.Trouble == nil || !p.Instructor() && !s.Dev {
		return live.Trouble{}
	}
	return s.Trouble()
}

// troubleWords say what the problems mean for readers.
func troubleWords(t live.Trouble) string {
	if t.Served {
		return "Readers see this version all the same."
	}
	return "Readers see the last good version until this is mended."
}

func place(p content.Problem) string { return p.File + ":" + strconv.Itoa(p.Line) }
