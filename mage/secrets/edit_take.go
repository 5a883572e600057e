package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

type outcome int

const (
	failed outcome = iota
	again
	unchanged
	written
)

// once runs the editor and takes over what it left. With again, a person may
// correct the error and try once more.
func (e *editing) once(ctx context.Context) (outcome, error) {
	argv, err := editorCommand(e.Getenv, e.path)
	if err != nil {
		return failed, err
	}
	if err := runEditor(ctx, argv, e.Stdin, e.Stdout, e.Stderr); err != nil {
		return failed, err
	}
	e.at("edited")
	edited, err := e.readEdited()
	if err != nil {
		return failed, err
	}
	if bytes.Equal(edited, e.before) {
		e.Console.Say("%s", editorNote(argv))
		return unchanged, nil
	}
	return e.take(ctx, edited)
}

func (e *editing) readEdited() ([]byte, error) {
	info, err := os.Stat(e.path)
	if err == nil && info.Size() > fileLimit {
		err = fmt.Errorf("%d bytes, the limit is %d", info.Size(), int64(fileLimit))
	}
	if err != nil {
		return nil, fail(err, "Nothing was changed; run the command again.", "reading what the editor wrote")
	}
	return os.ReadFile(e.path)
}

// take encrypts what was edited and writes it.
func (e *editing) take(ctx context.Context, edited []byte) (outcome, error) {
	next, problems, err := e.understand(edited)
	if err != nil {
		return again, err
	}
	if err := e.confirm(ctx, problems); err != nil {
		return again, err
	}
	data, err := next.sealChecked(e.ids)
	if err != nil {
		return again, err
	}
	if same, err := next.sameAs(e.old, e.ids); err != nil || same {
		e.Console.Say("nothing changed")
		return unchanged, err
	}
	e.at("encrypted")
	if ctx.Err() != nil {
		return failed, ctx.Err()
	}
	err = e.project.writeSecrets(ctx, e.old, data)
	if errors.Is(err, ErrChanged) {
		return failed, e.keep(data, err)
	}
	if err != nil {
		return again, err
	}
	e.at("written")
	e.notePlain(next)
	return written, nil
}

// understand parses an edit into a copy of the file.
func (e *editing) understand(edited []byte) (*file, []string, error) {
	branches, problems, err := readPlain(edited, e.file.store)
	if err != nil {
		return nil, nil, err
	}
	next := *e.file
	next.tree.Branches = branches
	if gone := e.missing(&next); len(gone) > 0 {
		return nil, nil, fmt.Errorf("nix/ declares what is no longer there: %s", strings.Join(gone, ", "))
	}
	return &next, problems, nil
}

// missing are the declared names that the file had and the edit has not.
func (e *editing) missing(next *file) []string {
	var out []string
	for _, declared := range e.Declared {
		_, before := lookup(first(e.file.tree.Branches), declared.path())
		_, after := lookup(first(next.tree.Branches), declared.path())
		if before == nil && after != nil {
			out = append(out, formatName(declared.path()))
		}
	}
	return out
}

func (e *editing) notePlain(next *file) {
	plain, err := next.plainNames()
	if err == nil && len(plain) > 0 {
		e.Console.Say("in plain text, as the rules in .sops.yaml say: %s", strings.Join(plain, ", "))
	}
}
