package remote

import "errors"

// maxBanner is how many bytes of greetings a server may send before a login; far
// more than any message of the day.
const maxBanner = 64 << 10

var errBannerTooLong = errors.New("the server's greeting never ends")

// banner keeps the start of what a server says before the login.
type banner struct {
	kept    []byte
	total   int
	err     error
	tooMuch func() // closes the connection
}

// add is the ssh.BannerCallback. Too much ends the connection instead of returning
// an error, so that the library's reader is drained and ends too.
func (b *banner) add(message string) error {
	b.total += len(message)
	if room := 4*maxErrorText - len(b.kept); room > 0 {
		b.kept = append(b.kept, message[:min(room, len(message))]...)
	}
	if b.total > maxBanner && b.err == nil {
		b.err = errBannerTooLong
		b.tooMuch()
	}
	return nil
}

func (b *banner) text() string { return printable(string(b.kept), maxErrorText) }
