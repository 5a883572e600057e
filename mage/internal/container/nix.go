package container

// NixCommand runs one Nix command on a tree, for example
//
//	NixCommand{Job: job, Args: []string{"eval", "--json", "path:/work#x"}}
//
// The tree is at /work, and gone with the container.
type NixCommand struct {
	Job
	Args []string // after nix and its common options
	// Print is a file to write to standard output after success, for example
	// /work/flake.lock; the command's own output then goes to standard error.
	Print string
}

// Archive is what the container reads: the tree, at /work.
func (n NixCommand) Archive(tree []File) ([]byte, error) {
	members, err := treeMembers("work", tree)
	if err != nil {
		return nil, err
	}
	return writeArchive(append(members, folder("tmp/vps", 0o700)))
}

// Spec is the container that runs the command.
func (n NixCommand) Spec(archive []byte) RunSpec {
	var words []string
	if n.Print != "" {
		words = append(words, "print", n.Print)
	}
	words = append(words, "run")
	words = append(words, nixCommand(n.Args...)...)
	return n.spec(archive, []Tmpfs{private("/work")}, words...)
}
