// Package facts says what a flake makes of a server.
package facts
