package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNoTerminal is wrapped by the error of a question that nobody can answer.
var ErrNoTerminal = errors.New("there is no terminal")

// Confirm asks a question that is answered with yes or no. Anything but a clear
// yes is a no, and so is the end of the input.
func (u *UI) Confirm(ctx context.Context, question string) (bool, error) {
	answer, err := u.ask(ctx, question+" [y/N] ", u.readLine)
	switch strings.ToLower(strings.TrimSpace(string(answer))) {
	case "y", "yes":
		return err == nil, err
	}
	return false, ignoreEOF(err)
}

// AskTyped asks for a word to be typed, such as the name of the host that will
// be wiped. Any other answer is a no.
func (u *UI) AskTyped(ctx context.Context, question, want string) (bool, error) {
	prompt := fmt.Sprintf("%s\nType %q to go on: ", question, want)
	answer, err := u.ask(ctx, prompt, u.readLine)
	if err != nil {
		return false, ignoreEOF(err)
	}
	return strings.TrimSpace(string(answer)) == want, nil
}

// Line asks for a line of text, which may be empty. The end of the input is
// [io.EOF].
func (u *UI) Line(ctx context.Context, prompt string) (string, error) {
	answer, err := u.ask(ctx, prompt, u.readLine)
	return string(answer), err
}

// Password asks for a text that is not shown while it is typed. The end of the
// input is [io.ErrUnexpectedEOF].
func (u *UI) Password(ctx context.Context, prompt string) ([]byte, error) {
	answer, err := u.ask(ctx, prompt, u.readHidden)
	if err == io.EOF {
		return nil, fmt.Errorf("%s: no answer: %w", Clean(strings.TrimRight(prompt, ": ")), io.ErrUnexpectedEOF)
	}
	return answer, err
}

// ask puts one question at a time, while live lines wait.
func (u *UI) ask(ctx context.Context, prompt string, read func(context.Context) ([]byte, error)) ([]byte, error) {
	prompt = cleanLines(prompt)
	if !u.Interactive() {
		last := prompt[strings.LastIndexByte(prompt, '\n')+1:]
		return nil, fmt.Errorf("cannot ask %q: %w", strings.TrimSpace(last), ErrNoTerminal)
	}
	select {
	case u.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-u.asking }()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	u.prompt(prompt)
	defer u.resume()
	answer, err := read(ctx)
	if err != nil {
		u.newline() // the cursor still stands behind the question
	}
	return answer, err
}

func (u *UI) prompt(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live != nil {
		u.live.settle()
		u.live.paused = true
	}
	_, _ = io.WriteString(u.tells, text)
}

func (u *UI) resume() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live != nil {
		u.live.paused = false
		u.live.draw()
	}
}

func (u *UI) newline() {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, _ = io.WriteString(u.tells, "\n")
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
