// Package axetest holds axe-core, which looks for what keeps people from using
// a page, for tests in a browser. It is pinned by web/assets/package-lock.json and
// put here by "go generate ./web/assets", so that a test needs neither Node nor a
// network. It is under the Mozilla Public License 2.0, whose text is beside it, and
// no part of the program: only tests import this package.
package axetest

import _ "embed" // the script

//go:embed dist/axe.min.js
var script string

// Script returns axe-core: run on a page it makes the global object axe.
func Script() string { return script }

// Run is an expression of JavaScript for what axe-core finds on the page that it
// was run on, once no colour changes any more (some things move for ever: at most a
// second later): a promise of a text, empty when it finds nothing. The rules are
// those of WCAG 2.2 A and AA and axe-core's own best practices.
const Run = `Promise.race([new Promise(end => setTimeout(end, 1000)), Promise.all(document.getAnimations().map(a => a.finished.catch(() => {})))])
	.then(() => axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}))
	.then(found => found.violations.map(v => v.id + " (" + v.impact + "): " + v.nodes.slice(0, 5).map(n =>
		n.target.join(" ") + ": " + [...n.any, ...n.all, ...n.none].map(c => c.message).join("; ")).join(" | ")).join("\n"))`
