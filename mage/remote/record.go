package remote

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// record appends an accepted host key to the first of t's known_hosts files.
func (d *Dialer) record(t Target, key ssh.PublicKey) error {
	file := d.userKnownHosts(t)[0]
	if file == "none" || file == os.DevNull {
		return nil
	}
	line := fmt.Sprintf("%s %s %s\n", recordName(t), key.Type(), base64.StdEncoding.EncodeToString(key.Marshal()))
	return appendLine(file, line)
}

// appendLine adds line to file in one write, so that several programs may do so at
// once. The file and its folder are made when missing, private to the user; a last
// line without its newline is ended first.
func appendLine(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	unended, err := lacksNewline(f)
	if unended {
		line = "\n" + line
	}
	if err == nil {
		_, err = io.WriteString(f, line)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func lacksNewline(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n', err
}
