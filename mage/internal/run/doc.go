// Package run knows what runs on a NixOS server of ours, and how to talk to
// it: the scripts that are sent there, the command lines that call them, and the
// parsers of what they print. It opens no connection itself.
//
// What a server prints is foreign input. Every parser here is bounded, takes
// nothing on trust beyond what it returns, and returns an error instead of a
// guess.
package run
