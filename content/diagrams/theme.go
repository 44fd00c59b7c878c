package main

import "drydock/content"

// fontSize of a diagram's text is the page's: a diagram is shown at its own
// size where there is room.
const fontSize = 15

// minNodeWidth, of the words in a node: Mermaid's own makes short names very
// wide, and a page is narrow.
const minNodeWidth = 24

// mermaidConfig draws with SVG text only and in the light colours of package
// content, by which the script then finds each colour's name.
func mermaidConfig() map[string]any {
	return map[string]any{
		"startOnLoad": false, "securityLevel": "strict", "deterministicIds": true, "suppressErrorRendering": true,
		"htmlLabels": false, "look": "classic", "layout": "dagre", "fontFamily": "Arimo", "fontSize": fontSize,
		"theme": "base", "themeVariables": themeVariables(),
		"flowchart": map[string]any{"htmlLabels": false, "useMaxWidth": false, "curve": "basis", "padding": 9, "nodeSpacing": 32, "rankSpacing": 40, "minNodeWidth": minNodeWidth,
			"subGraphTitleMargin": map[string]any{"top": 4, "bottom": 10}},
		"sequence": map[string]any{"useMaxWidth": false, "mirrorActors": false, "diagramMarginX": 12, "diagramMarginY": 12, "actorMargin": 48,
			"actorFontSize": fontSize, "messageFontSize": fontSize, "noteFontSize": fontSize,
			"actorFontFamily": "Arimo", "messageFontFamily": "Arimo", "noteFontFamily": "Arimo"},
		"state": map[string]any{"useMaxWidth": false, "minNodeWidth": minNodeWidth},
		"pie":   map[string]any{"useMaxWidth": false},
		"er":    map[string]any{"useMaxWidth": false},
		"class": map[string]any{"useMaxWidth": false, "htmlLabels": false, "minNodeWidth": minNodeWidth},
	}
}

// themeVariables gives each thing that Mermaid draws one of our colours.
func themeVariables() map[string]any {
	variables := map[string]any{"fontFamily": "Arimo", "fontSize": "15px", "useGradient": false, "dropShadow": "none", "pieOpacity": "1"}
	uses := map[string][]string{
		"page": {"background", "edgeLabelBackground", "labelBackgroundColor", "labelBackground", "transitionLabelBackground", "relationLabelBackground", "sequenceNumberColor", "pieStrokeColor"},
		"text": {"textColor", "primaryTextColor", "secondaryTextColor", "tertiaryTextColor", "nodeTextColor", "titleColor", "actorTextColor", "signalTextColor",
			"labelTextColor", "loopTextColor", "noteTextColor", "transitionLabelColor", "stateLabelColor", "classText", "relationLabelColor"},
		"line": {"lineColor", "arrowheadColor", "defaultLinkColor", "signalColor", "actorLineColor", "transitionColor", "specialStateColor",
			"innerEndBackground", "relationColor", "pieOuterStrokeColor"},
		"node":         {"primaryColor", "mainBkg", "nodeBkg", "actorBkg", "stateBkg", "labelBoxBkgColor", "personBkg", "activationBkgColor", "pie6"},
		"node-border":  {"primaryBorderColor", "nodeBorder", "actorBorder", "labelBoxBorderColor", "personBorder", "activationBorderColor", "border1", "stateBorder"},
		"group":        {"secondaryColor", "tertiaryColor", "secondBkg", "clusterBkg", "altBackground", "compositeBackground", "compositeTitleBackground"},
		"group-border": {"secondaryBorderColor", "tertiaryBorderColor", "clusterBorder", "compositeBorder", "border2"},
		"note":         {"noteBkgColor", "pie3"},
		"note-border":  {"noteBorderColor"},
		"accent":       {"pie1"},
		"good":         {"pie2"},
		"bad":          {"pie4"},
		"muted":        {"pie5"},
	}
	for _, c := range content.DiagramColours() {
		for _, name := range uses[c.Name] {
			variables[name] = c.Light
		}
	}
	return variables
}
