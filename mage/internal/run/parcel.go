package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// NewID names a run: sorted by time, and never the same twice. By the millisecond,
// because two updates that find little to do fit into a second.
func NewID(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	date := strings.ReplaceAll(now.UTC().Format("20060102T150405.000Z"), ".", "")
	return date + "-" + hex.EncodeToString(b[:])
}

// Parcel is what a run is made of, before it is one archive.
type Parcel struct {
	Request Request
	Tree    *tree.Tree
	Diff    tree.Difference
	Secrets []string // paths on the server where secrets must be after the switch
}

// pack makes the one archive that is sent, whatever the number of files.
func (c Parcel) pack() ([]byte, error) {
	request, err := c.Request.Encode()
	if err != nil {
		return nil, err
	}
	a := tree.NewArchive()
	a.Add(fileRequest, 0o600, request)
	a.Add(fileSupervisor, 0o700, Supervisor())
	a.Add(fileDelete, 0o600, c.deleted())
	a.Add(fileSecrets, 0o600, lines(c.Secrets))
	if c.Tree != nil {
		a.AddTree(folderTree, c.Tree, c.Diff.Upload())
	}
	return a.Bytes()
}

// deleted lists what must go from the staged copy before the archive is laid
// over it: a file that became a link is not written through. It is as xargs -0
// wants it, for paths that no program can take for a flag.
func (c Parcel) deleted() []byte {
	var list []byte
	for _, e := range slices.Concat(c.Diff.Removed, c.Diff.Replaced()) {
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

// NotStartedError reports a run that did not start, and never will.
type NotStartedError struct {
	Err  error
	Lost bool // the connection broke; else the server refused
}

func (e *NotStartedError) Error() string { return "start the run: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *NotStartedError) Unwrap() error { return e.Err }

// NextStep says what to do about a refusal that has a remedy.
func (e *NotStartedError) NextStep() next.Step {
	text := e.Err.Error()
	for _, full := range []string{"No space left", "Disk quota", "disk is full"} {
		if strings.Contains(text, full) {
			return next.Say("make room on the server: ssh in and run %s", next.Shell("nix-collect-garbage", "--delete-older-than", "14d"))
		}
	}
	if strings.Contains(text, "Read-only") {
		return next.Words("mount it writable on the server, then run this again")
	}
	return next.Step{}
}

// start sends a parcel and starts its run, which s then shows. When it fails other
// than by a [*NotStartedError], the caller cannot tell whether it started: see follow.
func (l *Link) start(ctx context.Context, s *Session, c Parcel) error {
	archive, err := c.pack()
	if err != nil {
		return &NotStartedError{Err: err}
	}
	refused, err := s.start(ctx, c.Request.ID, archive)
	switch {
	case refused != nil:
		return &NotStartedError{Err: refused}
	case err != nil:
		return fmt.Errorf("start the run: %w", err) // whether it started is open
	}
	s.show()
	return nil
}
