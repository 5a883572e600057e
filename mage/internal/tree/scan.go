package tree

import (
	"bytes"
	"regexp"

	"github.com/dagadbm/vps/mage/internal/next"
)

// privateKey finds what must never be sent to a server. An age identity is all
// upper case or all lower case; upper case is refused by its beginning, while
// lower case needs the digit that follows, because "age-secret-key-file" is a
// name that somebody may give to an option.
var privateKey = regexp.MustCompile(`AGE-SECRET-KEY-|age-secret-key-(?:pq-)?1|-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`)

// lfsPointer begins the file that stands in for one that Git LFS keeps elsewhere.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/")

// checkContent looks into a file that is to be deployed. Whether a sops file is
// genuine is for package secrets to find out; here, nothing plain leaves the project.
func checkContent(name string, data []byte) error {
	if at := privateKey.FindIndex(data); at != nil {
		kind := "a private key"
		if data[at[0]] != '-' {
			kind = "an age identity (a secret key)"
		}
		return &Error{
			Path:   name,
			Line:   1 + bytes.Count(data[:at[0]], []byte("\n")),
			Reason: "it holds " + kind,
			Next: next.Say("take the key out of the file and put it where it belongs: secrets go through %s; "+
				"if it was ever committed, replace the key", next.Target("secrets:set")),
		}
	}
	if bytes.HasPrefix(data, lfsPointer) {
		return &Error{
			Path:   name,
			Reason: "it is a pointer of Git LFS, not the file itself",
			Next:   next.Say("get the files with %s, then run this again", next.Shell("git", "lfs", "pull")),
		}
	}
	if name == secretsFile && !bytes.Contains(data, []byte("ENC[AES256_GCM,")) {
		return &Error{Path: name, Reason: "it is not encrypted with sops",
			Next: next.Say("run %s, which encrypts it, or restore the last good version from git and use %s", next.Target("secrets:init"), next.Target("secrets:set"))}
	}
	return nil
}
