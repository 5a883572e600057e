package cmdline

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
)

//go:embed completion.bash
var bashScript string

//go:embed completion.zsh
var zshScript string

//go:embed completion.fish
var fishScript string

// Script is what makes a shell complete the lines of a program. "go tool mage" is
// three words to a shell, so there the script defines mage as well.
func Script(shell, program string) (string, error) {
	script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[shell]
	if !ok {
		return "", fmt.Errorf("no completion for %q: it is one of bash, zsh and fish", shell)
	}
	name, define := filepath.Base(program), ""
	if strings.Contains(program, " ") {
		name = "mage"
		define = map[string]string{
			"bash": "mage() { " + program + " \"$@\"; }\n",
			"zsh":  "mage() { " + program + " \"$@\" }\n",
			"fish": "function mage; " + program + " $argv; end\n",
		}[shell]
	}
	return define + strings.NewReplacer("PROGRAM", name, "FUNCTION", "__vps_"+identifier(name)).Replace(script), nil
}

func identifier(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
