package run

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzParseFacts: any output is facts within bounds, or an error. What the
// manifest says is kept byte for byte, for the server compares its hash.
func FuzzParseFacts(f *testing.F) {
	f.Add([]byte("facts=1\nnixos=1\nos=NixOS\narch=x86_64\nuid=0\ntime=1700000000\nmemory=1000\ngeneration=3\nfree.nix=1\n" +
		"agekey=ab\nreadonly=/etc\nopen=x\nunit=system a.service failed\nupgrade=ActiveState=failed\nupgrade=InactiveEnterTimestamp=Sat 2026-11-28 03:41:07 UTC\nlast.status=1 end result=committed\nm=f ab x\nend\n"))
	f.Add([]byte("facts=1\nholder.id=x\nholder.since=2026-01-01T00:00:00Z\nholder.status=1 building message=a\nrecord.when=1\nrecord.dirty=1\nend\n"))
	f.Add([]byte("motd\nfacts=1\ngeneration=-1\nend\n"))
	f.Add([]byte("facts=1\nmemory=9999999999999999999\nend\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		facts, err := ParseFacts(bytes.NewReader(out))
		if err != nil {
			return
		}
		if facts.Generation < 0 || facts.Memory < 0 || facts.FreeNix < 0 || len(facts.AgeKeys) > maxList || len(facts.Units) > maxList {
			t.Errorf("beyond bounds: %+v", facts)
		}
		for line := range strings.Lines(facts.Manifest) {
			if !bytes.Contains(out, []byte("m="+strings.TrimSuffix(line, "\n"))) {
				t.Errorf("the server never listed %q", line)
			}
		}
		_, _, _ = facts.NixpkgsDate()
	})
}

// FuzzParseGenerations: the list is in order, whatever the server's was.
func FuzzParseGenerations(f *testing.F) {
	f.Add([]byte("profile=2\ncurrent=/s\nbooted=/s\ngeneration=2\nsystem=/s\nmade=1\ntree=1\nrecord.commit=ab\ngeneration=1\nupgraded=1\nend\n"))
	f.Add([]byte("system=/s\ngeneration=\ngeneration=x\nend\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		list, err := ParseGenerations(bytes.NewReader(out))
		for i, g := range list {
			if err != nil || g.Number < 0 || i > 0 && g.Number < list[i-1].Number {
				t.Errorf("%v: %+v", err, list)
			}
		}
	})
}

// FuzzParseStatus: any line is a status with a phase, or an error.
func FuzzParseStatus(f *testing.F) {
	for _, line := range []string{
		"", "gone", "1700000000 gone armed=1", "1700000000 building", "1 end result=failed log=12 reason=reboot message=a b=c",
		"1 end message=", "-1 end", "99999999999999999 x", "1  x = =y",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseStatus(line)
		if err == nil && line != "" && s.Phase == "" {
			t.Errorf("%q has no phase", line)
		}
		if s.End() != (s.Phase == PhaseEnd) || s.Time.Unix() < 0 && !s.Time.IsZero() {
			t.Errorf("%q: %+v", line, s)
		}
	})
}

// FuzzEvidence: whatever a new system says of itself, there is a verdict, and a
// good one only if it runs.
func FuzzEvidence(f *testing.F) {
	f.Add("current=/a\nwanted=/a\nprobed=1\n")
	f.Add("current=/a\nwanted=/a\nmissing=/run/secrets/x\nunit=user:me a.service failed\nprobed=1\n")
	f.Add("unit=\nprobed=1")
	f.Fuzz(func(t *testing.T, out string) {
		var e Evidence
		for line := range strings.Lines(out) {
			if done, err := e.Add(strings.TrimSuffix(line, "\n")); done || err != nil {
				break
			}
		}
		if e.Verdict() == "" && (e.Current == "" || e.Current != e.Wanted || len(e.Missing)+len(e.Units) > 0) {
			t.Errorf("confirmed: %+v", e)
		}
		if answered, err := ParseStart(out); err != nil && !answered {
			t.Errorf("%q refused without an answer", out)
		}
	})
}
