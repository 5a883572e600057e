package picture

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// Sizes of the picture, in pixels.
const (
	charWidth  = 8.4
	lineHeight = 19
	margin     = 16
	barHeight  = 30
)

// classes are the looks of the styles that package term uses.
var classes = map[string]string{"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", prompt: "p"}

// prompt is the style of what a person types.
const prompt = "34"

const styleSheet = `<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dae0;white-space:pre}
.b{font-weight:bold}.d{fill:#8b929e}.r{fill:#ff7b72;font-weight:bold}.g{fill:#7ee787}.y{fill:#e3b341}.p{fill:#79c0ff}
</style>
`

// SVG draws the screen in a window with a title.
func (s *Screen) SVG(title string) string {
	lines := strings.Count(s.Text(), "\n")
	width := int(float64(s.columns)*charWidth) + 2*margin
	height := lines*lineHeight + 2*margin + barHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, escaped(title))
	b.WriteString(styleSheet)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", width, height)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`+"\n", 22+20*i, colour)
	}
	fmt.Fprintf(&b, `<text x="%d" y="23" text-anchor="middle" class="d">%s</text>`+"\n", width/2, escaped(title))
	for i, line := range s.lines[:min(lines, len(s.lines))] {
		y := barHeight + margin + i*lineHeight + lineHeight/2
		drawLine(&b, line, y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawLine writes each stretch of one style at its own column, and as wide as its
// columns are, so that every font gives the same picture.
func drawLine(b *strings.Builder, line []cell, y int) {
	for from := 0; from < len(line); {
		to := from
		var text strings.Builder
		for to < len(line) && line[to].style == line[from].style {
			text.WriteRune(line[to].char)
			to++
		}
		if strings.TrimSpace(text.String()) != "" {
			class := ""
			if c := classes[line[from].style]; c != "" {
				class = ` class="` + c + `"`
			}
			fmt.Fprintf(b, `<text x="%.1f" y="%d" textLength="%.1f" lengthAdjust="spacingAndGlyphs"%s xml:space="preserve">%s</text>`+"\n",
				margin+float64(from)*charWidth, y, float64(to-from)*charWidth, class, escaped(text.String()))
		}
		from = to
	}
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder never fails
	return b.String()
}
