package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/getsops/sops/v3/config"
)

// askAgain shows why an edit was not taken, and waits for the person: nothing
// goes back to the editor, `abort` ends it. Where nobody answers it ends too.
func (e *editing) askAgain(ctx context.Context, reason error) error {
	e.at("asking")
	if !e.Console.Interactive() {
		return fail(reason, "The file is as it was; run the command in a terminal to correct the edit.", "the edit was not taken over")
	}
	e.Console.Say("%v", reason)
	if hint := hintOf(reason); hint != "" {
		e.Console.Say("%s", hint)
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
	name := "secrets.yaml.kept-" + time.Now().Format("20060102-150405")
	var faults []error
	for _, dir := range []string{e.project.SecretsDir(), os.TempDir()} {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_, err = file.Write(data)
			err = errors.Join(err, file.Sync(), file.Close())
		}
		if err == nil {
			return fail(reason, fmt.Sprintf("Your edit is kept, encrypted, in %s. Look at the other change with `git diff`, then run `mage secrets:edit -from=%s`, and remove it afterwards.", path, path),
				"the edit was not written")
		}
		faults = append(faults, err)
	}
	return errors.Join(append([]error{reason}, faults...)...)
}

// interrupted is the end of an edit by a signal. What had been saved in the
// editor by then is kept.
func (e *editing) interrupted(ctx context.Context) error {
	reason := fail(context.Cause(ctx), "Nothing was changed; run the command again.", "the edit was interrupted")
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
	f, err := open(data, e.ids, config.NewStoresConfig())
	if err != nil {
		return false
	}
	same, err := f.sameAs(now, e.ids)
	return err == nil && same
}
