package mage

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVulncheckSaysWhatItDidNotCheck: CI fails on a vulnerability that is called and on
// what it does not understand, and claims nothing where the database is out of reach.
func TestVulncheckSaysWhatItDidNotCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says   string // govulncheck
		status int
		fails  bool
		shows  string
	}{
		"none":          {"No vulnerabilities found.", 0, false, "none that is called"},
		"one":           {"Vulnerability #1: GO-2099-0001", 3, true, "GO-2099-0001"},
		"no database":   {`govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": dial tcp: no such host`, 1, false, "not checked: the database is out of reach: Get"},
		"does not load": {"govulncheck: loading packages: there are errors", 1, true, "loading packages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stand := filepath.Join(t.TempDir(), "govulncheck")
			require.NoError(t, program.Write(stand, fmt.Sprintf("#!/bin/sh\n[ \"$*\" = ./... ] || exit 9\necho '%s'\nexit %d\n", c.says, c.status)))
			cmd := exec.Command(filepath.Join("..", ".ci", "vulncheck"))
			cmd.Env = append(cmd.Environ(), "GOVULNCHECK="+stand)
			out, err := cmd.CombinedOutput()
			assert.Equal(t, c.fails, err != nil, "%s", out)
			assert.Contains(t, string(out), c.shows)
		})
	}
}
