package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/sys/unix"
)

// EditOptions say how to edit; the zero value of each field but Console is
// the usual thing.
type EditOptions struct {
	Console  Console
	Declared []Declared               // secrets that must not disappear
	From     string                   // continue with an edit that was kept, instead of the file
	Getenv   func(name string) string // os.Getenv
	Stdin    io.Reader                // os.Stdin, for the editor
	Stdout   io.Writer                // os.Stdout, for the editor
	Stderr   io.Writer                // os.Stderr, for the editor

	bases []string           // where plaintext may be
	at    func(phase string) // tests stop here
}

func (o EditOptions) withDefaults() EditOptions {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Stdin == nil {
		o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	if o.bases == nil {
		o.bases = plainBases(o.Getenv)
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	return o
}

// editing is one edit under way.
type editing struct {
	EditOptions
	project Project
	ids     *Identities
	file    *file
	old     []byte // the encrypted file as it was
	before  []byte // the plaintext as it was
	path    string // of the plaintext
	warned  bool   // of what the editor may keep
}

// Edit opens the decrypted file of the project in dir in the person's editor
// and encrypts the result. It reports whether the file was changed. Whatever
// goes wrong, the old file stays; the plaintext folder is gone when Edit
// returns, after SIGINT, SIGTERM and SIGHUP too. An edit that cannot be
// written because somebody else changed the file is kept, encrypted.
func Edit(ctx context.Context, dir string, ids *Identities, options EditOptions) (changed bool, err error) {
	return Project{Dir: dir}.Edit(ctx, ids, options)
}

// Edit is the function [Edit] for the file of p.
func (p Project) Edit(ctx context.Context, ids *Identities, options EditOptions) (changed bool, err error) {
	e := &editing{EditOptions: options.withDefaults(), project: p, ids: ids}
	if count := sweep(e.bases); count > 0 {
		e.Console.Say("removed %d folder(s) of plaintext that a killed editor left behind", count)
	}
	if e.file, e.old, err = e.project.open(ids); err != nil {
		return false, err
	}
	if err := checkWritable(e.project.SecretsFile()); err != nil {
		return false, fail(err, next.Words("Correct the folder's owner, mode or free space first."), "%q cannot be written", e.project.SecretsFile())
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	folder, err := newPlainDir(e.bases)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, folder.remove()) }()
	e.path = filepath.Join(folder.path, filepath.Base(e.project.SecretsFile()))
	return e.run(ctx)
}

func (e *editing) run(ctx context.Context) (bool, error) {
	if err := e.writePlain(); err != nil {
		return false, err
	}
	e.at("plaintext")
	for {
		next, err := e.once(ctx)
		if err == nil {
			return next == written, nil
		}
		if ctx.Err() == nil && next == again {
			err = e.askAgain(ctx, err)
		}
		switch {
		case ctx.Err() != nil:
			return false, e.interrupted(ctx)
		case err != nil:
			return false, err
		}
	}
}

// writePlain writes what the editor opens.
func (e *editing) writePlain() error {
	var err error
	if e.before, err = e.file.plain(); err != nil {
		return err
	}
	content := e.before
	if e.From != "" {
		if content, err = e.kept(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(e.path, content, 0o600); err != nil {
		return fail(err, next.Words("Make room there, or point TMPDIR at a private folder."), "writing the plaintext for the editor")
	}
	return nil
}

func (e *editing) kept() ([]byte, error) {
	data, err := readFile(e.From)
	if err != nil {
		return nil, err
	}
	f, err := openAs(data, e.ids, e.file.store, e.From)
	if err != nil {
		return nil, err
	}
	return f.plain()
}

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
	argv, warning, err := editorCommand(e.Getenv, e.path)
	if err != nil {
		return failed, err
	}
	if warning != "" && !e.warned {
		e.warned = true
		e.Console.Say("%s", warning)
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
		return nil, fail(err, next.Words("Nothing was changed; run the command again."), "reading what the editor wrote")
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
	if err := e.project.rememberLogins(ctx, e.old, data, e.ids); err != nil {
		e.Console.Say("%v", err)
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
	for _, declared := range inFile(e.Declared, e.project.name()) {
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

// askAgain shows why an edit was not taken, and waits for the person: nothing
// goes back to the editor, `abort` ends it. Where nobody answers it ends too.
func (e *editing) askAgain(ctx context.Context, reason error) error {
	e.at("asking")
	if !e.Console.Interactive() {
		return fail(reason, next.Words("The file is as it was; run the command in a terminal to correct the edit."), "the edit was not taken over")
	}
	e.Console.Say("%v", reason)
	if step := next.Of(reason); !step.IsZero() {
		e.Console.Say("%s", step)
	}
	answer, err := e.Console.Ask(ctx, "Press Enter to go back to the editor, or type abort: ")
	if errors.Is(err, io.EOF) || strings.EqualFold(strings.TrimSpace(answer), "abort") {
		return ErrAborted
	}
	return err
}

// confirm says what sops would change, before it does.
func (e *editing) confirm(ctx context.Context, problems []string) error {
	for _, problem := range problems {
		e.Console.Say("%s", problem)
	}
	if len(problems) == 0 || !e.Console.Interactive() {
		return nil
	}
	answer, err := e.Console.Ask(ctx, "Type yes to write it like that, or press Enter to decide: ")
	if err != nil {
		return err
	}
	if strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return nil
	}
	return errors.New("not written, because sops would change it")
}

// keep saves an edit that must not replace the file. It is encrypted, so it may
// lie anywhere.
func (e *editing) keep(data []byte, reason error) error {
	name := filepath.Base(e.project.SecretsFile()) + ".kept-" + time.Now().Format("20060102-150405")
	var faults []error
	for _, dir := range []string{e.project.SecretsDir(), os.TempDir()} {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_, err = file.Write(data)
			err = errors.Join(err, file.Sync(), file.Close())
		}
		if err == nil {
			return fail(reason, next.Say("Your edit is kept, encrypted, in %s. Look at the other change with %s, then run %s, and remove it afterwards.", path, next.Shell("git", "diff"), next.Target("secrets:edit", "-from="+path)),
				"the edit was not written")
		}
		faults = append(faults, err)
	}
	return errors.Join(append([]error{reason}, faults...)...)
}

// interrupted is the end of an edit by a signal. What had been saved in the
// editor by then is kept.
func (e *editing) interrupted(ctx context.Context) error {
	reason := fail(context.Cause(ctx), next.Words("Nothing was changed; run the command again."), "the edit was interrupted")
	edited, err := e.readEdited()
	if err != nil || bytes.Equal(edited, e.before) {
		return reason
	}
	next, _, err := e.understand(edited)
	if err != nil {
		return reason
	}
	data, err := next.sealChecked(e.ids)
	if err != nil || e.alreadyWritten(data) {
		return reason
	}
	return e.keep(data, reason)
}

// alreadyWritten reports whether the signal came after the file was replaced.
func (e *editing) alreadyWritten(data []byte) bool {
	now, err := readFile(e.project.SecretsFile())
	if err != nil {
		return false
	}
	f, err := open(data, e.ids, e.file.store)
	if err != nil {
		return false
	}
	same, err := f.sameAs(now, e.ids)
	return err == nil && same
}
