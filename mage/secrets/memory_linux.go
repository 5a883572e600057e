package secrets

import "golang.org/x/sys/unix"

// inMemory reports whether dir is on tmpfs, which no disk ever sees unless the
// machine swaps.
func inMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC
}
