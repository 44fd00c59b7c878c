package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// strictStyles rewrites the two ways in which xterm.js styles its parts that a
// content security policy of style-src 'self' refuses: <style> elements become
// constructed style sheets, style attributes become CSSOM declarations. Both
// are allowed by the policy. The number of places is checked, so that a new
// version of xterm.js that has others fails the build and not the page.
func strictStyles() api.Plugin {
	return api.Plugin{Name: "strict-styles", Setup: func(build api.PluginBuild) {
		build.OnLoad(api.OnLoadOptions{Filter: `@xterm/xterm/lib/xterm\.mjs$`}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			source, err := os.ReadFile(args.Path)
			if err != nil {
				return api.OnLoadResult{}, fmt.Errorf("read xterm.js: %w", err)
			}
			patched, err := patchXterm(string(source))
			if err != nil {
				return api.OnLoadResult{}, err
			}
			return api.OnLoadResult{Contents: &patched, Loader: api.LoaderJS, ResolveDir: build.InitialOptions.AbsWorkingDir}, nil
		})
	}}
}

// patchXterm replaces the places named in strictStyles.
func patchXterm(source string) (string, error) {
	replacements := []struct {
		old, new string
		count    int
	}{
		{`n.mainDocument.createElement("style")`, `drydockStyleElement(n.mainDocument)`, 1},
		{`this._document.createElement("style")`, `drydockStyleElement(this._document)`, 2},
		{"t.setAttribute(\"style\",`${t.getAttribute(\"style\")||\"\"}${e};`)", "t.style.cssText+=e+\";\"", 1},
	}
	for _, r := range replacements {
		if got := strings.Count(source, r.old); got != r.count {
			return "", fmt.Errorf("xterm.js has %d places of %q where %d are known: look at what changed", got, r.old, r.count)
		}
		source = strings.ReplaceAll(source, r.old, r.new)
	}
	for _, left := range []string{`createElement("style")`, `setAttribute("style"`} {
		if strings.Contains(source, left) {
			return "", fmt.Errorf("xterm.js has a further %s, which the content security policy would refuse", left)
		}
	}
	return `import {styleElement as drydockStyleElement} from "./src/stylesheet.ts";` + source, nil
}
