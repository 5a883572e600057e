package config

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzParse: any bytes are a configuration or errors that name a place in the
// file; and what parses can be pinned, or is left alone.
func FuzzParse(f *testing.F) {
	f.Add([]byte(fullFile))
	f.Add([]byte(threeHosts))
	for _, tc := range badFiles {
		if len(tc.text) < 1000 {
			f.Add([]byte(tc.text))
		}
	}
	for _, tc := range pins {
		f.Add([]byte(tc.before))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("v", data)
		if err != nil {
			checkParseErrors(t, data, err)
			return
		}
		for _, h := range cfg.Hosts {
			after, err := pinned("v", data, h.Name, keyB)
			if err != nil || after == nil {
				continue
			}
			if got, err := Parse("v", after); err != nil || got.Lookup(h.Name).HostKey != keyB {
				t.Errorf("pinning %q broke the file: %v\n%s", h.Name, err, after)
			}
		}
	})
}

func checkParseErrors(t *testing.T, data []byte, err error) {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		t.Fatalf("not joined: %v", err)
	}
	lines := 2
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML's
		lines += bytes.Count(data, []byte(end))
	}
	for _, one := range many.Unwrap() {
		var p *ParseError
		if !errors.As(one, &p) || p.File != "v" || p.Line < 0 || p.Line > lines || p.Problem == "" {
			t.Errorf("not a place in the file: %#v", one)
		}
	}
}

// FuzzParseAnswer: any output of a program called ssh is an answer with an
// address, a user and a port, or an error.
func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("host web\nuser me\nhostname web.example\nport 22\nidentityfile ~/.ssh/id_rsa\nidentitiesonly yes\n" +
		"userknownhostsfile /a b /c\nglobalknownhostsfile none\nproxyjump a,b\nproxycommand none\nidentityagent $X\n"))
	f.Add([]byte("port 0\n"))
	f.Add([]byte("hostname x\r\nuser \r\nport 22\r\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		a, err := parseAnswer(out)
		if err == nil && (a.hostName == "" || a.user == "" || a.port < 1 || a.port > 65535) {
			t.Errorf("incomplete answer %+v", a)
		}
	})
}
