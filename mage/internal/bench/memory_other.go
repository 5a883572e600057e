//go:build !linux

package main

import "os"

// inMemory is for Linux, as all of this program is.
func inMemory() string { return os.TempDir() }
