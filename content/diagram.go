package content

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// diagramFormat counts changes of how diagrams are rendered: one that was
// rendered before counts as stale.
const diagramFormat = 1

// DiagramMark returns the comment that the SVG of a diagram begins with. It
// tells, without Mermaid or a browser, whether the SVG belongs to the source.
func DiagramMark(source []byte) string {
	return fmt.Sprintf("<!-- Rendered by `make diagrams`, format %d, from the source with SHA-256 %x. Do not edit. -->", diagramFormat, sha256.Sum256(source))
}

// DiagramFresh says whether the SVG was rendered from this very source.
func DiagramFresh(source, svg []byte) bool {
	return bytes.HasPrefix(svg, []byte(DiagramMark(source)))
}

// DiagramColour is one of the colours that diagrams are drawn in. In a page
// they are CSS variables, --diagram-NAME, which [StyleSheet] sets for light
// and dark pages and a page's own sheet may set anew.
type DiagramColour struct{ Name, Light, Dark string }

// DiagramColours returns the colours. Text on node, group and note, and on
// the four meanings, has a contrast of 7 and more; lines and borders 3 and
// more (WCAG 2.2, 1.4.6 and 1.4.11).
func DiagramColours() []DiagramColour {
	all := diagramColours()
	return all[:]
}

// diagramColours is an array, so that who looks one up makes nothing.
func diagramColours() [17]DiagramColour {
	return [...]DiagramColour{
		{"page", "#ffffff", "#14181f"},
		{"text", "#17202b", "#e9eef5"},
		{"line", "#4a5a6d", "#9fb0c4"},
		{"node", "#edf2f9", "#222c3a"},
		{"node-border", "#5b7391", "#8199b8"},
		{"group", "#f7f9fc", "#1a212b"},
		{"group-border", "#7c8795", "#738194"},
		{"note", "#fdf5d9", "#393116"},
		{"note-border", "#94802a", "#b19d49"},
		{"good", "#e0f4e5", "#16351f"},
		{"good-border", "#2a7c41", "#57b472"},
		{"bad", "#fde7e5", "#421d1a"},
		{"bad-border", "#b83a30", "#ea7f76"},
		{"accent", "#e3e9ff", "#232c5a"},
		{"accent-border", "#3f58c9", "#8fa1f7"},
		{"muted", "#f0f0f0", "#262626"},
		{"muted-border", "#808080", "#858585"},
	}
}
