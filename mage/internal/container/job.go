package container

import (
	"bytes"
	_ "embed" // for the entry script
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"regexp"
	"strconv"
	"strings"
)

// The labels by which a container is found, and by which it is known whose it is:
// many projects may share an engine, and have hosts of one name.
const (
	LabelHost    = "vps.host"    // the host that it works for
	LabelRun     = "vps.run"     // the run that started it
	LabelProject = "vps.project" // the project, by an id that no other has
	LabelServer  = "vps.server"  // the server, by its host key
	LabelWho     = "vps.who"     // the person, and the machine
)

// programGrace is what the program in a container gets between SIGTERM and
// SIGKILL when its client is gone; in seconds. Nobody waits for it then.
const programGrace = 10

//go:embed entry.sh
var entryScript string

// Job is what every container of ours needs to know.
type Job struct {
	Run     string // name of the run, and so of the container
	Host    string // the host it works for; a label, empty for none
	Project string // likewise, see the labels
	Server  string
	Who     string
	Image   string // with a tag, for example nixos/nix:2.31.2
	Network string // see HostAccess; empty for the engine's default
	// TmpSize limits /tmp, for example "2g"; empty for half of the engine's
	// memory.
	TmpSize string
}

// spec is a container that unpacks the archive and then does what the words
// say, which are the entry script's.
func (j Job) spec(archive []byte, folders []Tmpfs, words ...string) RunSpec {
	command := []string{"-c", entryScript, "entry", "/",
		strconv.Itoa(len(archive)), strconv.Itoa(programGrace)}
	return RunSpec{
		Image:      j.Image,
		Name:       j.Run,
		Labels:     j.labels(),
		Volumes:    []Volume{{Name: VolumeName(j.Image), Path: "/nix"}},
		Tmpfs:      append(folders, Tmpfs{Path: "/tmp", Mode: 0o777 | fs.ModeSticky, Exec: true, Size: j.TmpSize}),
		Init:       true,
		LogDriver:  "none",
		Network:    j.Network,
		Entrypoint: "/bin/sh",
		Command:    append(command, words...),
		Stdin:      bytes.NewReader(archive),
	}
}

func (j Job) labels() map[string]string {
	labels := map[string]string{LabelRun: j.Run, LabelHost: j.Host, LabelProject: j.Project, LabelServer: j.Server, LabelWho: j.Who}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

// private is a tmpfs folder that only root may enter, and from which nothing
// can be run.
func private(path string) Tmpfs { return Tmpfs{Path: path, Mode: 0o700} }

var notInVolumeName = regexp.MustCompile(`[^a-zA-Z0-9_.-]+`)

// VolumeName is the volume that keeps /nix between runs of an image. It
// carries the image's tag, for reading, and a hash of its whole name: the
// store of one image must never appear in another.
func VolumeName(image string) string {
	tag := "latest"
	if at := strings.LastIndexAny(image, ":@"); at > strings.LastIndex(image, "/") {
		tag = image[at+1:]
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(image)) // never fails
	tag = notInVolumeName.ReplaceAllString(tag, "-")
	return fmt.Sprintf("vps-nix-%.40s-%08x", tag, hash.Sum32())
}

// nixCommand is the front of every Nix command line. The global registry is
// switched off: what is not pinned by the flake's own lock must not be found.
func nixCommand(args ...string) []string {
	front := []string{"nix", "--extra-experimental-features", "nix-command flakes",
		"--option", "flake-registry", ""}
	return append(front, args...)
}
