package e2e

import (
	"testing"
	"time"
)

// What testify does, for code that is not a test itself.

// noError ends the test if err is one, with what was said about it.
func noError(t testing.TB, err error, said ...string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

// eventually asks until the answer is yes, and ends the test when the limit has
// passed.
func eventually(t testing.TB, limit time.Duration, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
