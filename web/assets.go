package web

import (
	"fmt"

	"drydock/content"
	"drydock/web/assets"
)

const (
	// highlightSheet is the style sheet of highlighted code, which package content makes.
	highlightSheet = "highlight.css"
	// iconName is the icon of a browser's tab.
	iconName = "icon.svg"
)

// icon is the mark of layout.templ in colours that show on any tab.
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">` +
	`<path d="M1.5 6v5h3v6h3v6h3v5.5h11V23h3v-6h3v-6h3V6" fill="none" stroke="#6b7c86" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"/>` +
	`<path d="M9 5h14c0 7.5-1.6 13.5-7 17C10.600 18.500 9 12.500 9 5z" fill="#168b99"/>` +
	`<path d="M16 23.500v3.500" stroke="#6b7c86" stroke-width="2" stroke-linecap="round"/></svg>`

// loadAssets returns the bundled files and those that are made at start.
func loadAssets() (*assets.Set, error) {
	set, err := assets.Load()
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{highlightSheet: content.StyleSheet(), iconName: icon} {
		if err := set.Add(name, []byte(text)); err != nil {
			return nil, fmt.Errorf("make the pages' assets: %w", err)
		}
	}
	return set, nil
}
