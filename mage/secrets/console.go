package secrets

import "context"

// Console is the person at the terminal. Answers never include the line end.
type Console interface {
	// Interactive reports whether somebody can answer.
	Interactive() bool
	// Say tells something. It goes to stderr and is never a secret.
	Say(format string, args ...any)
	// Ask asks a question; io.EOF means that nobody answers.
	Ask(ctx context.Context, question string) (string, error)
	// AskHidden asks for a secret and shows nothing of the answer.
	AskHidden(ctx context.Context, question string) (string, error)
}
