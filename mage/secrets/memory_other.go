//go:build !linux

package secrets

// inMemory is never true: macOS has no tmpfs, and its $TMPDIR is private.
func inMemory(string) bool { return false }
