package term

// style is an SGR parameter.
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// paint sets text in a style where the stream shows colour.
func (u *UI) paint(stream any, s style, text string) string {
	if text == "" || !u.colour(stream) {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func (u *UI) colour(stream any) bool {
	force := u.env("CLICOLOR_FORCE")
	switch {
	case u.env("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	case u.env("CLICOLOR") == "0":
		return false
	}
	return u.env("TERM") != "dumb" && u.isTerminal(stream)
}

// canRedraw says whether lines can change in place.
func (u *UI) canRedraw() bool {
	return u.isTerminal(u.err) && u.env("TERM") != "dumb"
}
