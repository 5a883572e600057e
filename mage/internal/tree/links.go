package tree

import (
	"fmt"
	"path"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// maxHops is how many links Linux follows before it takes them for a loop.
const maxHops = 40

// checkLinks makes sure that every link stays inside the tree, on the whole
// way and not only at its end. It gives the links to what is not there.
func (p Project) checkLinks(m Manifest) (dangling []Entry, err error) {
	r := newResolver(m)
	var bad problems
	for _, e := range m.entries {
		if e.Type != TypeLink {
			continue
		}
		end, reason := r.follow(e.Path)
		if reason != "" {
			bad.add(&Error{
				Path:   p.Source(e.Path),
				Reason: fmt.Sprintf("it links to %q, %s", e.Target, reason),
				Next:   next.Words("link to a file of the same folder with a relative path, or copy the file there"),
			})
		} else if !r.exists[end] {
			dangling = append(dangling, e)
		}
	}
	return dangling, bad.err()
}

// resolver follows links by the listing alone. The file system of this machine
// is of no use: on the server the tree lies elsewhere.
type resolver struct {
	links  map[string]string
	exists map[string]bool
}

func newResolver(m Manifest) resolver {
	r := resolver{links: make(map[string]string), exists: map[string]bool{"": true}}
	for _, e := range m.entries {
		if e.Type == TypeLink {
			r.links[e.Path] = e.Target
		}
		r.exists[e.Path] = true
		for dir := range parents(e.Path) {
			r.exists[dir] = true
		}
	}
	return r
}

// Follow gives the path of the file that a path of the tree leads to, over links.
func (t *Tree) Follow(path string) (file string, ok bool) {
	end, reason := newResolver(t.manifest).follow(path)
	if reason != "" {
		return "", false
	}
	_, ok = t.File(end)
	return end, ok
}

// follow walks p name by name as the kernel would, and gives where it ends, or
// the reason why it must not be followed.
func (r resolver) follow(p string) (end, reason string) {
	todo := strings.Split(p, "/")
	at, hops := "", 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			if at == "" {
				return "", "which leads out of the tree"
			}
			at = above(at)
			continue
		}
		at = path.Join(at, name)
		target, isLink := r.links[at]
		if !isLink {
			continue
		}
		if hops++; hops > maxHops {
			return "", "which leads back to itself"
		}
		if strings.HasPrefix(target, "/") {
			return "", "which is an absolute path"
		}
		at = above(at)
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at, ""
}

// above is the folder of p, "" for the tree's root.
func above(p string) string {
	dir, _, _ := cutLast(p)
	return dir
}

func cutLast(p string) (dir, name string, found bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}
