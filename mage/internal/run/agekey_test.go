package run

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const secretLine = "AGE-SECRET-KEY-1TESTTESTTEST\n"

// runPutKey carries the command out below a folder of the test's own.
func runPutKey(t *testing.T, root, path, sent string) error {
	t.Helper()
	c := Shell{}.PutKey(path, []byte(secretLine))
	require.NotContains(t, c.Line, strings.TrimSpace(secretLine), "the key is no argument")
	c.Stdin = strings.Replace(c.Stdin, secretLine, sent, 1)
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Env = append(os.Environ(), "VPS_ROOT="+root)
	cmd.Stdin = strings.NewReader(c.Stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return ParsePutKey(out)
}

func needSHA256(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("needs sha256sum, which macOS does not have")
	}
}

func TestPutKeyReplacesTheFileWhole(t *testing.T) {
	t.Parallel()
	needSHA256(t)
	root := t.TempDir()
	file := filepath.Join(root, "var/lib/sops-nix/key.txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Dir(file)+"/.vps-key-1", []byte("of a run that was killed"), 0o600))

	require.NoError(t, runPutKey(t, root, "/var/lib/sops-nix/key.txt", secretLine))

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, secretLine, string(text))
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
	list, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, list, 1, "nothing else holds the key")
}

func TestPutKeyKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	needSHA256(t)
	root := t.TempDir()
	file := filepath.Join(root, "keys/key.txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o600))

	for _, sent := range []string{"", secretLine[:10], secretLine + "x"} {
		require.ErrorContains(t, runPutKey(t, root, "/keys/key.txt", sent), "did not arrive whole")
	}
	require.NoError(t, os.Symlink("key.txt", filepath.Join(root, "keys/link")))
	require.ErrorContains(t, runPutKey(t, root, "/keys/link", secretLine), "not a plain file")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "old\n", string(text))
	info, err := os.Stat(filepath.Dir(file))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm(), "a folder of another purpose keeps its mode")
	list, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, list, 2, "the key and the link, and no rest of the new key")
}

// TestPutKeyAddsAndDropsOfItsOwn: a server's own identity is known to the server alone,
// so that a new one is put beside it, and the old one dropped, without reading it.
func TestPutKeyAddsAndDropsOfItsOwn(t *testing.T) {
	t.Parallel()
	needSHA256(t)
	root := t.TempDir()
	file := filepath.Join(root, "key.txt")
	own, other := "AGE-SECRET-KEY-1OWN", "AGE-SECRET-KEY-1OTHER"
	require.NoError(t, os.WriteFile(file, []byte("# created: long ago\n"+own+"\n"+other), 0o600))
	hash := func(line string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(line))) }
	put := func(key string, keep ...string) error {
		c := Shell{}.PutKey("/key.txt", []byte(key), keep...)
		cmd := exec.Command("/bin/sh", "-c", c.Line)
		cmd.Env, cmd.Stdin = append(os.Environ(), "VPS_ROOT="+root), strings.NewReader(c.Stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return ParsePutKey(out)
	}
	has := func(want string) {
		t.Helper()
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
	require.NoError(t, put(secretLine, hash(own), hash(other)))
	has(own + "\n" + other + "\n" + secretLine)
	require.ErrorContains(t, put("", hash(own), hash("AGE-SECRET-KEY-1GONE")), "changed meanwhile")
	has(own + "\n" + other + "\n" + secretLine)
	require.NoError(t, put("", hash(strings.TrimSpace(secretLine))))
	has(secretLine)
	list, err := os.ReadDir(root)
	require.NoError(t, err)
	assert.Len(t, list, 1, "nothing else holds a key")
}

func TestPutKeyBecomesRootBySudo(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "sudo -n /bin/sh -s", Shell{Root: Sudo}.PutKey("/k", nil).Line)
}

func TestParsePutKeyRefusesSilence(t *testing.T) {
	t.Parallel()
	require.Error(t, ParsePutKey(nil))
	require.Error(t, ParsePutKey([]byte("Welcome!\n")))
	require.NoError(t, ParsePutKey([]byte("Welcome!\nput=1\n")))
}

func TestParseKeyUses(t *testing.T) {
	t.Parallel()
	uses, err := ParseKeyUses(strings.NewReader("generation=10\ntree=1\nuses=secrets/a.yaml\nfile=secrets/a.yaml\nrecipient=age1new\nrecipient=age1old\n" +
		"file=b.json\nrecipient=age1old\ngeneration=2\nend\n"))
	require.NoError(t, err)
	assert.Equal(t, []KeyUse{
		{Generation: 2},
		{Generation: 10, Known: true, Uses: []string{"secrets/a.yaml"}, Files: []KeyFile{
			{"secrets/a.yaml", []string{"age1new", "age1old"}}, {"b.json", []string{"age1old"}},
		}},
	}, uses)
	old := []string{"age1old"}
	assert.True(t, uses[0].Needs(old, "age1new"), "what is not known may need the old key")
	assert.True(t, uses[1].Needs(old, "age1new"), "the second file does")
	assert.False(t, uses[1].Needs([]string{"age1other"}, "age1new"))
	assert.False(t, KeyUse{Known: true, Files: uses[1].Files[:1]}.Needs(old, "age1new"))
	assert.True(t, KeyUse{Known: true, Files: uses[1].Files[:1], Uses: []string{"/nix/store/x"}}.Needs(old, "age1new"), "a file of another tree")
	_, err = ParseKeyUses(strings.NewReader("generation=1\nrecipient=age1x\nend\n"))
	require.Error(t, err)
}

// The script looks at every sops file of a tree, whatever its name and format.
func TestKeyUsesOfATree(t *testing.T) {
	t.Parallel()
	needSHA256(t)
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	one, two := "age1"+strings.Repeat("q", 58), "age1"+strings.Repeat("z", 58)
	armour := "-----BEGIN AGE ENCRYPTED FILE-----"
	write("var/lib/vps/generations/1", "digest=abc\n")
	write("var/lib/vps/trees/abc/secrets/secrets.yaml", "sops:\n  age:\n  - enc: |\n      "+armour+"\n    recipient: "+one+"\n  - recipient: "+two+"\n")
	write("var/lib/vps/trees/abc/hosts/a b.json", `{"sops":{"age":[{"recipient":"`+one+`","enc":"`+armour+`\n"}]}}`)
	write("var/lib/vps/trees/abc/app.env", "sops_age__list_0__map_enc="+armour+"\nsops_age__list_0__map_recipient="+two+"\n")
	write("var/lib/vps/trees/abc/.sops.yaml", "age: "+one+","+two+"\n")
	write("var/lib/vps/trees/abc/module.nix", "# "+one+"\n")
	write("nix/store/system/etc/vps/facts.json", `{"version":1,"secrets":[{"name":"a","file":"secrets/secrets.yaml"},{"name":"b","file":"/nix/store/x,y"}]}`)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "nix/var/nix/profiles"), 0o755))
	for _, name := range []string{"system-1-link", "system-7-link"} {
		require.NoError(t, os.Symlink(filepath.Join(root, "nix/store/system"), filepath.Join(root, "nix/var/nix/profiles", name)))
	}
	c := Shell{}.KeyUses()
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Env = append(os.Environ(), "VPS_ROOT="+root)
	cmd.Stdin = strings.NewReader(c.Stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	uses, err := ParseKeyUses(strings.NewReader(string(out)))
	require.NoError(t, err, "%s", out)
	require.Len(t, uses, 2)
	for _, use := range uses { // the second was made by the server, from the same tree
		assert.True(t, use.Known)
		assert.Equal(t, []string{"/nix/store/x,y", "secrets/secrets.yaml"}, use.Uses)
		assert.ElementsMatch(t, []KeyFile{{"secrets/secrets.yaml", []string{one, two}}, {"hosts/a b.json", []string{one}}, {"app.env", []string{two}}}, use.Files)
	}
}

func FuzzParseKeyUses(f *testing.F) {
	for _, seed := range []string{"", "end\n", "generation=1\ntree=1\nfile=x\nrecipient=age1x\nuses=/y\nend\n", "generation=-1\nend\n", "recipient=x\nend\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		uses, err := ParseKeyUses(strings.NewReader(text))
		if err != nil {
			assert.Empty(t, uses)
		}
		assert.LessOrEqual(t, len(uses), maxList)
	})
}
