package container

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Volume is a named volume and where it is mounted. There are no bind mounts:
// an engine on another machine could not see the laptop's folders.
type Volume struct {
	Name string
	Path string
}

// Tmpfs is a folder that lives in memory, emptied with the container.
type Tmpfs struct {
	Path string
	Mode fs.FileMode // permissions of the folder itself
	Exec bool        // whether programs in it may be run
	Size string      // for example "2g"; empty for the engine's default, half of the memory
}

// RunSpec is one container. Nothing in it may be secret except what Stdin
// yields: all the rest can be read by whoever may ask the engine.
type RunSpec struct {
	Image      string
	Name       string            // unique; names the run
	Labels     map[string]string // by which it is found again
	Env        []string          // NAME=value
	Volumes    []Volume
	Tmpfs      []Tmpfs
	Init       bool   // a first process that passes signals on and collects orphans
	LogDriver  string // "none" keeps the output out of the engine's logs
	Network    string // empty for the engine's default
	Entrypoint string // empty for the image's own
	Command    []string
	// Stdin is read to its end; the container's standard input then stays open
	// until the container ends. Its Read must not block for ever.
	Stdin io.Reader
}

// runArgs is the command line that runs the container. The image is never
// pulled here: a download needs a progress display and another deadline.
func (e Engine) runArgs(spec RunSpec) []string {
	args := []string{"run", "--rm", "--interactive", "--pull=never", "--name", spec.Name}
	if spec.Init {
		args = append(args, "--init")
	}
	if spec.LogDriver != "" {
		args = append(args, "--log-driver", spec.LogDriver)
	}
	if spec.Network != "" {
		args = append(args, "--network", spec.Network)
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Labels)) {
		args = append(args, "--label", key+"="+spec.Labels[key])
	}
	for _, pair := range spec.Env {
		args = append(args, "--env", pair)
	}
	for _, volume := range spec.Volumes {
		args = append(args, "--volume", volume.Name+":"+volume.Path)
	}
	for _, folder := range spec.Tmpfs {
		args = append(args, "--tmpfs", folder.arg())
	}
	if spec.Entrypoint != "" {
		args = append(args, "--entrypoint", spec.Entrypoint)
	}
	args = append(args, spec.Image)
	return append(args, spec.Command...)
}

func (t Tmpfs) arg() string {
	exec := "noexec"
	if t.Exec {
		exec = "exec"
	}
	arg := fmt.Sprintf("%s:rw,%s,nosuid,nodev,mode=%04o", t.Path, exec, unixMode(t.Mode))
	if t.Size != "" {
		arg += ",size=" + t.Size
	}
	return arg
}

// unixMode adds the sticky bit, which fs.FileMode keeps elsewhere.
func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// objectName is what both engines accept as a name of a container or a volume.
var objectName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// validate refuses what the engine would misread: an empty or odd name, an
// image that looks like an option, and a "volume" that is a folder of ours.
func (s RunSpec) validate() error {
	if !objectName.MatchString(s.Name) {
		return fmt.Errorf("container name %q: want letters, digits, dots, dashes and underscores", s.Name)
	}
	if s.Image == "" || strings.HasPrefix(s.Image, "-") {
		return fmt.Errorf("container %q: %q is no image name", s.Name, s.Image)
	}
	for _, volume := range s.Volumes {
		if !objectName.MatchString(volume.Name) {
			return fmt.Errorf("container %q: %q is no volume name", s.Name, volume.Name)
		}
	}
	return nil
}
