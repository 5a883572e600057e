package config

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generatedConfigs is how many ssh_configs are made up; a few thousand found
// what the table in ssh_both_test.go now holds.
const generatedConfigs = 24

// pieces are lines to make ssh_configs of; each keyword with some arguments.
var pieces = []struct {
	keyword string
	args    []string
}{
	{"Host", []string{"web", "*", "w?b", "!web *", "* !web", "db web", `"web"`, "'web' # c", "WEB", "*.example"}},
	{"Host=", []string{"web", "*"}},
	{"Match", []string{"all", "final all", "canonical", "host web", "!host web", "originalhost web", "host=web.example",
		`host "web,db" user bob`, "user bob", "final host web.example", "!final host web", "host web.example,!web", "host w*"}},
	{"HostName", []string{"web.example", "%h.example", "10.0.0.1", "2001:DB8::1", `"x.example"`, "X.example # c", "web"}},
	{"Port", []string{"22", "=24", "2222", "99 # c", `"25"`}},
	{"User", []string{"root", "bob", `"bob"`, "al"}},
	{"IdentityFile", []string{"~/a", "none", "%d/%r", "rel", `"~/a b"`, `a\ b`, "~/%n-%h-%p"}},
	{"ProxyJump", []string{"none", "gate.example", "me@gate.example:24", "a.example,b.example", "NONE"}},
	{"ProxyCommand", []string{"none", "nc x"}},
	{"IdentitiesOnly", []string{"yes", "no", "FALSE"}},
	{"IdentityAgent", []string{"none", "~/x-%h", "SSH_AUTH_SOCK"}},
	{"HostKeyAlias", []string{"AbC"}},
	{"UserKnownHostsFile", []string{"none", "/a /b", "~/x", `"/a b" /c`, "%d/x-%k"}},
	{"GlobalKnownHostsFile", []string{"none", "/g /h"}},
	{"Compression", []string{"yes"}},
}

func generate(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(9) + 1 {
		piece := pieces[r.IntN(len(pieces))]
		fmt.Fprintf(&b, " %s %s\n", piece.keyword, piece.args[r.IntN(len(piece.args))])
	}
	return b.String() + "Host web db\n HostName %h.example\n"
}

func TestBothWaysAgreeOnGeneratedConfigs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(generatedConfigs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			text := generate(rand.New(rand.NewPCG(seed, 0)))
			own := resolver(t, "", text)
			asked := withSSH(t, own)
			own.Home, own.User, own.UID = asked.Home, asked.User, asked.UID
			require.NoError(t, os.WriteFile(own.SSHConfig, []byte(text), 0o600))
			for _, arg := range []string{"web", "bob@web.example", "db:24"} {
				want, wantErr := asked.ResolveOne(context.Background(), arg)
				got, gotErr := own.ResolveOne(context.Background(), arg)
				assert.Equal(t, wantErr == nil, gotErr == nil, "%s: %v, %v\n%s", arg, wantErr, gotErr, text)
				assert.Equal(t, want, got, "%s\n%s", arg, text)
			}
		})
	}
}
