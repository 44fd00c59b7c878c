package content

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxDrawingWidth is the column of an article: what is wider is shown
	// smaller, with its words.
	maxDrawingWidth = 720
	// minDrawingFont can still be read where a drawing fills the column.
	minDrawingFont = 13
)

// checkClass checks one class of an element: a colour that follows light and
// dark pages, or a step.
func checkClass(class string) error {
	if _, ok := stepOf(class); ok {
		return nil
	}
	property, colour, _ := strings.Cut(class, "-")
	if (property == "fill" || property == "stroke") && isDiagramColour(colour) {
		return nil
	}
	var known []string
	for _, c := range DiagramColours() {
		known = append(known, "fill-"+c.Name, "stroke-"+c.Name)
	}
	if near := nearestWord(class, known); near != "" {
		return fmt.Errorf("there is no class %q in drawings: did you mean %q?", class, near)
	}
	return fmt.Errorf("there is no class %q in drawings: there are s1, s2, … for steps, and fill- and stroke- with the name of a colour, such as fill-node", class)
}

func isDiagramColour(name string) bool {
	for _, c := range diagramColours() {
		if c.Name == name {
			return true
		}
	}
	return false
}

// checkHandDrawn checks what Mermaid does for drawings made from it: that an
// element's colours follow light and dark pages, and that its words can be read.
func checkHandDrawn(t xml.StartElement) error {
	classes := strings.Fields(attribute(t, "class"))
	for _, property := range []string{"fill", "stroke"} {
		switch colour := attribute(t, property); colour {
		case "", "none", "currentColor", "inherit", "context-fill", "context-stroke":
		default:
			named := slices.ContainsFunc(classes, func(c string) bool { return strings.HasPrefix(c, property+"-") })
			if !named {
				return fmt.Errorf("%s=%q is the same on light and dark pages: use %s=\"currentColor\" or a class such as %s-line", property, colour, property, property)
			}
		}
	}
	if size := attribute(t, "font-size"); size != "" {
		if n, err := strconv.ParseFloat(size, 64); err != nil || n < minDrawingFont {
			return fmt.Errorf("font-size=%q is too small to read, or not a plain number: use %d or more", size, minDrawingFont)
		}
	}
	return nil
}

// checkRoot checks the size of a drawing made by hand.
func checkRoot(t xml.StartElement) error {
	box := viewBox(t)
	if len(box) != 4 {
		return errors.New(`a drawing needs a viewBox of four numbers, such as viewBox="0 0 720 300"`)
	}
	width, err := strconv.ParseFloat(box[2], 64)
	if err != nil || width <= 0 || width > maxDrawingWidth {
		return fmt.Errorf("the viewBox is %s wide: a drawing is at most %d wide, as the column it stands in", box[2], maxDrawingWidth)
	}
	return nil
}

func viewBox(t xml.StartElement) []string {
	return strings.Fields(strings.ReplaceAll(attribute(t, "viewBox"), ",", " "))
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
