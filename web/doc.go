// Package web is Drydock in the browser: its routes, handlers, views and
// assets.
//
// Pages are rendered on the server with templ and can be read without
// JavaScript; scripts only add to them. Handlers return errors, and
// [server.fail] alone turns them into pages, so a handler never writes a
// status for something that went wrong. A page is rendered into memory before
// its first byte is sent: a reader gets a whole page or an error page.
//
// One file per subject holds its handlers (article.go), the .templ file of
// the same name its views. layout.templ and ui.templ hold what all pages are
// made of. Assets lie in assets/: css by hand, dist built from src by
// `go generate ./web/...`; both are embedded and served under names that
// carry their content's hash.
//
// The package may import labs, content, sandbox and store.
package web

//go:generate go tool templ generate -path .
