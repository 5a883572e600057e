package container

// RunArgs is the command line that Run would start.
func (e Engine) RunArgs(spec RunSpec) []string { return e.runArgs(spec) }
