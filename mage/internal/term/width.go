package term

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// runeWidth is the number of columns that a character takes.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1 // most text, and quickly
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Width is the number of columns that clean text takes on a terminal, near
// enough: terminals differ about some emoji.
func Width(s string) int {
	sum := 0
	for _, r := range s {
		sum += runeWidth(r)
	}
	return sum
}

// cut shortens clean text to a number of columns, with "…" at the end if
// something is missing.
func cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	if columns <= 0 {
		return ""
	}
	left := columns - 1
	for i, r := range s {
		if left -= runeWidth(r); left < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// pad fills clean text with blanks to a number of columns.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}
