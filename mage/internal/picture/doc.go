// Package picture makes pictures of terminal sessions: it runs a program in a
// terminal of its own, keeps what that terminal would show in the end, and draws
// it as SVG. What the pictures show has happened.
package picture
