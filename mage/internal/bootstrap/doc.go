// Package bootstrap installs NixOS on a server that runs any Linux.
//
// [Project.Run] does it, step by step, and can be called again wherever it ended:
// it looks at what an earlier run left (record.go), checks this laptop (local.go)
// and the server (look.go), asks before it erases anything (consent.go), runs the
// installer in a container (install.go), waits for the new system (await.go) and
// makes it one like any other (finish.go). The installer is nixos-anywhere, whose
// output is followed step by step (installer.go, watch.go).
package bootstrap
