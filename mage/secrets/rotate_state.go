package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// phase is how far the rotation has come on this machine.
type phase int

const (
	phaseNew     phase = iota // nothing is changed yet, but for a key that is of no use
	phaseShare                // both keys everywhere
	phaseReplace              // only the new one in secrets.yaml
)

// hostStep is how far a host has come.
type hostStep int

const (
	stepNone   hostStep = iota
	stepShared          // has both keys, and secrets encrypted to both
	stepPushed          // has secrets encrypted to the new one
	stepForgot          // has only the new key
)

// rotationState is remembered in .vps/rotation.json. It holds no secret.
type rotationState struct {
	Started time.Time           `json:"started"`
	Phase   phase               `json:"phase"`
	New     string              `json:"new"` // recipient
	Old     []string            `json:"old"` // recipients
	Hosts   map[string]hostStep `json:"hosts"`

	path  string
	saved []byte // what the file holds; nil: there is none
}

func loadRotation(project Project) (*rotationState, error) {
	state := &rotationState{path: project.RotationFile(), Hosts: map[string]hostStep{}}
	data, err := os.ReadFile(state.path)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(data, state)
	}
	if err == nil && (state.Phase < phaseNew || state.Phase > phaseReplace || state.New == "" || len(state.Old) == 0) {
		err = errors.New("not what a rotation writes")
	}
	if err != nil {
		return nil, fail(err, fmt.Sprintf("If secrets.yaml and .sops.yaml are as you want them, remove %s and run `mage secrets:rotate`.", state.path),
			"reading the unfinished rotation")
	}
	if state.Hosts == nil {
		state.Hosts = map[string]hostStep{}
	}
	state.saved = data
	return state, nil
}

// save writes the state, unless another rotation has done so meanwhile.
func (s *rotationState) save(ctx context.Context) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o700)
	}
	if err == nil {
		err = replaceFile(ctx, s.path, s.saved, data, 0o600)
	}
	if err != nil {
		return fail(err, "Check that no other rotation is running, and that the disk has room.", "remembering how far the rotation has come")
	}
	s.saved = data
	return nil
}

// reached remembers that a host has come as far as step.
func (s *rotationState) reached(ctx context.Context, host string, step hostStep) error {
	s.Hosts[host] = step
	return s.save(ctx)
}

func (s *rotationState) remove() error {
	err := os.Remove(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the finished rotation: %w", err)
	}
	return nil
}
