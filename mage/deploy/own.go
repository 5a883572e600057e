package deploy

import (
	"context"
	"io"

	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/remote"
)

// OpenStreams reads the project in dir for targets of your own. What is answered
// goes to stdout, what happens to stderr, and questions are answered on stdin if
// both are terminals. A command line passes os.Stdin, os.Stdout and os.Stderr.
func OpenStreams(dir string, stdin io.Reader, stdout, stderr io.Writer) (*Project, error) {
	return Open(dir, term.New(stdin, stdout, stderr))
}

// Login logs in to a host as the workflows do: the same names, keys and checks of
// its host key. The caller closes the client.
func (p *Project) Login(ctx context.Context, host string) (*remote.Client, error) {
	h, err := p.host(ctx, host)
	if err != nil {
		return nil, err
	}
	client, err := p.Dialer.Dial(ctx, h.Target)
	if err != nil {
		return nil, connectFailure(h.Name, err)
	}
	return client, nil
}
