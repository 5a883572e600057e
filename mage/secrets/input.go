package secrets

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ReadValue reads a value from a pipe, without the line end that echo adds.
func ReadValue(from io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(from, valueLimit+1))
	if err != nil {
		return "", fmt.Errorf("reading the value: %w", err)
	}
	return TrimInput(string(data)), nil
}

// ReadValueFile reads a value from a file, to the byte. A leading ~/ is the
// home, since a shell leaves it alone in -file=~/….
func ReadValueFile(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding ~: %w", err)
		}
		path = filepath.Join(home, rest)
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > valueLimit {
		err = fmt.Errorf("%d bytes, the limit is %d", info.Size(), int64(valueLimit))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fail(err, "Name a file that you may read.", "reading the value")
	}
	return string(data), nil
}
