package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertRefused: what was said, and that the server is as it was.
func (r *rented) assertRefused(end said, code int, says, next string) {
	r.t.Helper()
	text := end.stdout + end.stderr
	assert.Equal(r.t, code, end.code)
	assert.Contains(r.t, text, says)
	assert.Contains(r.t, text, next)
	assert.Contains(r.t, text, "state: ")
	assert.Equal(r.t, "debian", r.server.Life())
	r.server.Exec("test -e /disk/old-data")
	r.assertNobodyElseGetsIn()
}

// Every reason not to begin, on one server, which then is installed from a kexec
// image of ours.
func TestE2EBootstrapRefusesAndThenTakesItsKexecImage(t *testing.T) {
	t.Parallel()
	r := rent(t)
	for _, tc := range []struct {
		name       string
		change     func()
		undo       string
		bootstrap  func() said
		code       int
		says, next string
	}{
		{name: "no terminal", bootstrap: func() said { return r.mage("bootstrap", r.name) },
			code: 2, says: "there is no terminal to ask on", next: "give -yes"},
		{name: "not the typed name", bootstrap: func() said { return r.typing("web", r.target("bootstrap", r.name)) },
			code: 1, says: "its name was not typed", next: " bootstrap " + r.name},
		{name: "unknown host key", bootstrap: func() said { return r.mage("bootstrap", r.name, "-yes") },
			code: 1, says: fingerprintOf(t, r.server.HostKey), next: "-hostkey="},
		{name: "another host key", bootstrap: func() said {
			return r.mage("bootstrap", r.name, "-yes", "-hostkey=SHA256:"+strings.Repeat("A", 43))
		}, code: 1, says: fingerprintOf(t, r.server.HostKey), next: "-hostkey="},
		{name: "wrong architecture", change: func() { r.host = "    system: " + otherSystem() + "\n" },
			code: 1, says: "the server is", next: "system"},
		{name: "too little RAM", change: func() {
			r.server.Exec("echo 'MemTotal: 500000 kB' >/run/meminfo && mount --bind /run/meminfo /proc/meminfo")
		}, undo: "umount /proc/meminfo", code: 1, says: "too little memory: 488 MB", next: "1 GB"},
		{name: "missing disk", change: func() { r.disk("/dev/sdx") },
			code: 1, says: `no disk "/dev/sdx"`, next: "disk.nix"},
		{name: "no cpio", change: func() { r.server.Exec("mv /usr/bin/cpio /usr/bin/cpio-") }, undo: "mv /usr/bin/cpio- /usr/bin/cpio",
			code: 1, says: "cpio", next: "install it"},
		{name: "sudo with a password", change: func() {
			r.user = "admin"
			r.server.Exec("mv /etc/sudoers.d /etc/sudoers.d-")
		}, undo: "mv /etc/sudoers.d- /etc/sudoers.d", code: 1, says: "sudo", next: "without a password"},
		{name: "engine not installed", change: func() { r.env = []string{"PATH=" + t.TempDir()} },
			code: 1, says: `"docker" is not installed`, next: "install Docker"},
		{name: "engine not running", change: func() { r.env = []string{"DOCKER_HOST=unix:///no/such/docker.sock"} },
			code: 1, says: "its engine does not answer", next: "start the engine"},
		{name: "image missing", change: func() { r.image = "127.0.0.1:1/no/nix:1" },
			code: 1, says: `image "127.0.0.1:1/no/nix:1"`, next: "install.image"},
		{name: "another kexec image", change: func() { r.kexec(strings.Repeat("0", 64)) },
			code: 1, says: "is not the one with that hash", next: "next: "},
	} {
		was := *r
		if tc.change != nil {
			tc.change()
		}
		r.config()
		begin := r.bootstrapping()
		if tc.bootstrap != nil {
			r.assertRefused(tc.bootstrap(), tc.code, tc.says, tc.next)
		} else {
			r.assertRefused(r.mage(begin...), tc.code, tc.says, tc.next)
		}
		if tc.undo != "" {
			r.server.Exec(tc.undo)
		}
		*r = was
		r.disk("/dev/sda")
		require.False(t, t.Failed(), "%s\n%s", tc.name, r.story)
	}

	r.kexec("")
	r.config()
	end := r.bootstrap()
	assert.Contains(t, end.stderr, "an image of our own")
	r.assertOurs(end)
}

func otherSystem() string {
	if e2e.Output() == "vps-arm" {
		return "x86"
	}
	return "arm"
}

// disk says in nix/ which disk is the server's.
func (r *rented) disk(device string) {
	r.t.Helper()
	r.project.Write("nix/modules/disk.nix", fmt.Sprintf("{\n  disko.devices.disk.main = {\n    type = \"disk\";\n    device = %q;\n  };\n}\n", device))
}

// kexec makes a kexec image of ours, serves it where containers reach it, and
// names it in vps.yaml, with its own sum unless another is given.
func (r *rented) kexec(sum string) {
	t := r.t
	t.Helper()
	script, err := os.ReadFile(filepath.Join(e2e.Recipe("..", "installer", "nixpkgs", "kexec.sh")))
	require.NoError(t, err)
	script = append(script, "echo an image of our own\n"...)
	var image bytes.Buffer
	zip := gzip.NewWriter(&image)
	archive := tar.NewWriter(zip)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: "kexec/run", Mode: 0o755, Size: int64(len(script))}))
	_, err = archive.Write(script)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.NoError(t, zip.Close())
	if sum == "" {
		sum = fmt.Sprintf("%x", sha256.Sum256(image.Bytes()))
	}
	gate := r.server.Address().As4() // of the servers' network: this machine
	listener, err := net.Listen("tcp", fmt.Sprintf("%d.%d.0.1:0", gate[0], gate[1]))
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image.Bytes()) })}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	r.install = fmt.Sprintf("  kexec:\n    url: http://%s/kexec.tar.gz\n    sha256: %q\n", listener.Addr(), sum)
}
