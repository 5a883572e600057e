package deploy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// newID names a run: sorted by time, and never the same twice. By the millisecond,
// because two updates that find little to do fit into a second.
func newID(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	date := strings.ReplaceAll(now.UTC().Format("20060102T150405.000Z"), ".", "")
	return date + "-" + hex.EncodeToString(b[:])
}

// parcel is what a run is made of, before it is one archive.
type parcel struct {
	request run.Request
	tree    *tree.Tree
	diff    tree.Difference
	secrets []string
}

// pack makes the one archive that is sent, whatever the number of files.
func (c parcel) pack() ([]byte, error) {
	request, err := c.request.Encode()
	if err != nil {
		return nil, err
	}
	a := tree.NewArchive()
	a.Add("request", 0o600, request)
	a.Add("supervisor.sh", 0o700, run.Supervisor())
	a.Add("delete", 0o600, c.deleted())
	a.Add("secrets", 0o600, lines(c.secrets))
	if c.tree != nil {
		a.AddTree("tree", c.tree, c.diff.Upload())
	}
	return a.Bytes()
}

// deleted lists what must go from the staged copy before the archive is laid
// over it: a file that became a link is not written through. It is as xargs -0
// wants it, for paths that no program can take for a flag.
func (c parcel) deleted() []byte {
	var list []byte
	for _, e := range slices.Concat(c.diff.Removed, c.diff.Replaced()) {
		list = append(list, "./"+e.Path+"\x00"...)
	}
	return list
}

func lines(list []string) []byte {
	if len(list) == 0 {
		return nil
	}
	return []byte(strings.Join(list, "\n") + "\n")
}

// start sends a parcel and starts its run, which s then shows. When it fails before
// the server said that the run started, the caller cannot tell whether it did: see
// follow.
func (l *link) start(ctx context.Context, s *sight, c parcel) error {
	data, err := c.pack()
	if err != nil {
		return usage(err)
	}
	upload, sum := ".vps-upload-"+c.request.ID, sha256.Sum256(data)
	if err := l.upload(ctx, upload, data); err != nil {
		return l.askFailure("send the tree", err)
	}
	ctx, cancel := within(ctx, l.p.bounds.answerWithin(), "answer")
	defer cancel()
	a := s.begin(ctx, l.shell().Start(c.request.ID, upload, hex.EncodeToString(sum[:])).Stdin)
	switch {
	case a.refused != nil:
		return &Failure{Host: l.host.Name, Code: CodeFailed, Err: fmt.Errorf("start the run: %w", a.refused), Now: asItWas}
	case a.err != nil:
		return fmt.Errorf("start the run: %w", a.err) // whether it started is open
	}
	return nil
}

func (l *link) upload(ctx context.Context, path string, data []byte) error {
	ctx, cancel := within(ctx, l.p.bounds.sendWithin(len(data)), "take the archive")
	defer cancel()
	return l.client.Upload(ctx, path, 0o600, data)
}

// forget makes sure that a run whose start was cut off never starts. It fails,
// with false, when the run is there: then it can be followed.
func (l *link) forget(ctx context.Context, id string) bool {
	out, err := l.ask(ctx, l.shell().Forget(id))
	return err == nil && run.Forgotten(out)
}
