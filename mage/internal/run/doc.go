// Package run is a run on a NixOS server, whole: the scripts that perform it there, every
// word that laptop and server exchange, the parsers of what a server prints, and the
// laptop's state machine, which starts a run, follows it, confirms the new system over
// a login of its own and reconnects.
//
// [Link.Open] starts the one shell that a run needs. It prints the server's facts and
// then takes orders; [Follower.Begin] has it start a run and show it. Connections come
// from outside, as a [Conn].
//
// What a server prints is foreign input. Every parser here is bounded, takes
// nothing on trust beyond what it returns, and returns an error instead of a
// guess.
package run
