// Package container runs short-lived containers for the jobs that need a program
// the laptop does not have: Nix, and the installer that Nix brings.
//
// It has two halves. The builders ([Install], [NixCommand], [RunSpec]) are pure:
// from plain values they make a command line and one tar archive, and nothing
// else happens. The runner ([Engine]) starts the engine's own program, docker
// or podman, so DOCKER_HOST, contexts and CONTAINER_HOST work as they do by
// hand. No terminal is asked for: it works in a pipe and in CI.
//
// # How inputs travel
//
// Everything a container needs arrives as one tar archive on its standard
// input, unpacked by a small script into tmpfs folders that only root may
// enter. Nothing is mounted from the laptop, so an engine on another machine
// works too, and no secret is ever an argument, an environment variable, a
// file on the laptop or a part of an image. Standard input then stays open:
// when it ends, because the client was killed or the connection was lost, the
// script ends the program it started.
//
// # What is left behind
//
// A container is gone after [Engine.Run] returns, whether it succeeded, failed,
// was cancelled or ran out of time. Only the named volume that holds /nix
// stays, so that the next run downloads nothing twice.
//
// # Caveats
//
// A process that is killed outright (SIGKILL) cannot clean up. The container
// then ends by itself, because its standard input does; find one that has not
// yet by its labels with [Engine.FindByLabel].
package container
