package container

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ageKey = "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN54K"

func payload() Payload {
	return Payload{
		Tree: []File{
			{Path: "flake.nix", Mode: 0o600, Data: []byte("{ }\n")},
			{Path: "secrets/secrets.yaml", Mode: 0o644, Data: []byte("a: ENC[x]\n")},
			{Path: "modules", Mode: fs.ModeDir | 0o700},
			{Path: "modules/run.sh", Mode: 0o744, Data: []byte("#!/bin/sh\n")},
			{Path: "link.nix", Mode: fs.ModeSymlink | 0o777, LinkTarget: "flake.nix"},
		},
		InstallKey:    []byte("install key\n"),
		KnownKeys:     []string{"ssh-ed25519 AAAAC3 comment\n", "ssh-rsa AAAAB3"},
		AgeKey:        []byte(ageKey + "\n"),
		HostKey:       []byte("private host key\n"),
		HostKeyPublic: []byte("ssh-ed25519 AAAAHOST\n"),
	}
}

// list shows an archive one line for each member: type, mode, owner, time, path.
func list(t *testing.T, archive []byte) (lines []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, content
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		content[h.Name] = string(data)
		line := fmt.Sprintf("%c %04o %d:%d %d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		lines = append(lines, line)
	}
}

func TestInstallArchiveMembersAndModes(t *testing.T) {
	t.Parallel()
	archive, err := systemInstall().Archive(payload())
	require.NoError(t, err)
	lines, content := list(t, archive)
	assert.Equal(t, []string{
		"5 0700 0:0 0 work/",
		"0 0644 0:0 0 work/flake.nix",
		"2 0777 0:0 0 work/link.nix -> flake.nix",
		"5 0755 0:0 0 work/modules/",
		"0 0755 0:0 0 work/modules/run.sh",
		"5 0755 0:0 0 work/secrets/",
		"0 0644 0:0 0 work/secrets/secrets.yaml",
		"5 0700 0:0 0 key/",
		"0 0600 0:0 0 key/id_ed25519",
		"0 0600 0:0 0 key/known_hosts",
		"5 0700 0:0 0 extra-files/",
		"5 0755 0:0 0 extra-files/etc/",
		"5 0755 0:0 0 extra-files/etc/ssh/",
		"0 0600 0:0 0 extra-files/etc/ssh/ssh_host_ed25519_key",
		"0 0644 0:0 0 extra-files/etc/ssh/ssh_host_ed25519_key.pub",
		"5 0755 0:0 0 extra-files/var/",
		"5 0755 0:0 0 extra-files/var/lib/",
		"5 0700 0:0 0 extra-files/var/lib/sops-nix/",
		"0 0600 0:0 0 extra-files/var/lib/sops-nix/key.txt",
		"5 0700 0:0 0 tmp/vps/",
		"0 0700 0:0 0 tmp/vps/ssh",
		"0 0600 0:0 0 tmp/vps/complete",
	}, lines)
	assert.Equal(t, "{ }\n", content["work/flake.nix"])
	assert.Equal(t, "install key\n", content["key/id_ed25519"])
	assert.Equal(t, "server ssh-ed25519 AAAAC3 comment\nserver ssh-rsa AAAAB3\n", content["key/known_hosts"])
	assert.Equal(t, ageKey+"\n", content["extra-files/var/lib/sops-nix/key.txt"])
	assert.Equal(t, "private host key\n", content["extra-files/etc/ssh/ssh_host_ed25519_key"])
	assert.Equal(t, "ssh-ed25519 AAAAHOST\n", content["extra-files/etc/ssh/ssh_host_ed25519_key.pub"])
	assert.Contains(t, content["tmp/vps/ssh"], "-o HostName=203.0.113.10 \\\n")
	assert.Contains(t, content["tmp/vps/ssh"], "-o UserKnownHostsFile=/key/known_hosts \\\n")
	assert.NotContains(t, content["tmp/vps/ssh"], "@known_hosts@")
}

// The age key has one place. A second copy anywhere in the archive would land
// in a folder that Nix or the installer copies elsewhere.
func TestInstallArchiveHoldsTheAgeKeyOnce(t *testing.T) {
	t.Parallel()
	archive, err := systemInstall().Archive(payload())
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(archive, []byte(ageKey)))
}

func TestArchiveIsDeterministic(t *testing.T) {
	t.Parallel()
	first, err := systemInstall().Archive(payload())
	require.NoError(t, err)
	p := payload()
	slices.Reverse(p.Tree)
	second, err := systemInstall().Archive(p)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Equal(t, "modules/run.sh", p.Tree[1].Path, "the caller's tree is not reordered")
}

func TestArchiveKeepsLongPaths(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("folder-with-a-name/", 20) + "file ü.nix"
	archive, err := NixCommand{}.Archive([]File{{Path: long, Mode: 0o644, Data: []byte("x")}})
	require.NoError(t, err)
	_, content := list(t, archive)
	assert.Equal(t, "x", content["work/"+long])
}

func TestNixArchiveHoldsTheTreeOnly(t *testing.T) {
	t.Parallel()
	archive, err := NixCommand{}.Archive(payload().Tree[:1])
	require.NoError(t, err)
	lines, _ := list(t, archive)
	assert.Equal(t, []string{
		"5 0700 0:0 0 work/",
		"0 0644 0:0 0 work/flake.nix",
		"5 0700 0:0 0 tmp/vps/",
		"0 0600 0:0 0 tmp/vps/complete",
	}, lines)
}

func TestArchiveRefusesOddTrees(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]File{
		"path outside":       {{Path: "../x"}},
		"path through":       {{Path: "a/../../x"}},
		"absolute path":      {{Path: "/etc/passwd"}},
		"empty path":         {{Path: ""}},
		"the root itself":    {{Path: ".", Mode: fs.ModeDir}},
		"same file twice":    {{Path: "a"}, {Path: "a"}},
		"file as folder":     {{Path: "a/b"}, {Path: "a", Mode: 0o644}, {Path: "a"}},
		"named pipe":         {{Path: "a", Mode: fs.ModeNamedPipe}},
		"age identity":       {{Path: "key.txt", Data: []byte("# x\n" + ageKey)}},
		"OpenSSH key":        {{Path: "id", Data: []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n")}},
		"PKCS 8 key":         {{Path: "id", Data: []byte("-----BEGIN PRIVATE KEY-----\n")}},
		"post-quantum key":   {{Path: "id", Data: []byte("AGE-SECRET-KEY-PQ-1" + strings.Repeat("Q", 60))}},
		"path with zero":     {{Path: "a\x00b/../c"}},
		"path with a slash":  {{Path: "a/"}},
		"path with a dot":    {{Path: "./a"}},
		"path with a double": {{Path: "a//b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NixCommand{}.Archive(files)
			assert.Error(t, err)
		})
	}
}

func TestArchiveTakesTheMereMentionOfAKey(t *testing.T) {
	t.Parallel()
	_, err := NixCommand{}.Archive([]File{{Path: "README", Data: []byte("a line AGE-SECRET-KEY-1… and PRIVATE KEYs")}})
	assert.NoError(t, err)
}

func TestPayloadRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Payload){
		"install key":               func(p *Payload) { p.InstallKey = nil },
		"age key":                   func(p *Payload) { p.AgeKey = nil },
		"host key":                  func(p *Payload) { p.HostKey = nil },
		"public host key":           func(p *Payload) { p.HostKeyPublic = nil },
		"verified keys":             func(p *Payload) { p.KnownKeys = nil },
		"verified key of two lines": func(p *Payload) { p.KnownKeys = []string{"ssh-rsa AAAA\n* ssh-rsa BBBB"} },
		"verified key of one word":  func(p *Payload) { p.KnownKeys = []string{"ssh-rsa"} },
		"certificate authority":     func(p *Payload) { p.KnownKeys = []string{"@cert-authority * ssh-rsa AAAA"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := payload()
			change(&p)
			_, err := systemInstall().Archive(p)
			assert.Error(t, err)
		})
	}
}

// systemInstall is the stage that brings the keys.
func systemInstall() Install {
	in := minimalInstall()
	in.Stage = StageSystem
	return in
}
