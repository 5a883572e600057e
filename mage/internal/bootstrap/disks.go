package bootstrap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/run"
)

// sameness says whether two looks at a disk saw the same one.
type sameness int

const (
	different sameness = iota
	unknown            // nothing that they show tells
	same
)

// compare holds two looks at a disk against each other, between which the server
// may have started another system: that may call another disk by the same name.
func compare(before, after run.Device) sameness {
	if before.Size != 0 && after.Size != 0 && before.Size != after.Size {
		return different
	}
	told := unknown
	for _, pair := range [][2]string{{before.Serial, after.Serial}, {before.WWN, after.WWN}, {before.Table, after.Table}} {
		switch {
		case pair[0] == "" || pair[1] == "":
		case pair[0] != pair[1]:
			return different
		default:
			told = same
		}
	}
	if slices.ContainsFunc(before.Names, func(name string) bool { return slices.Contains(after.Names, name) }) {
		told = same
	}
	return told
}

// deviceOf is the disk that a path of the configuration names on a server.
func deviceOf(f run.FreshFacts, path string) run.Device {
	node := f.Nodes[path]
	for _, d := range f.Devices {
		if d.Node == node {
			return d
		}
	}
	return run.Device{Node: node}
}

// agreed are the disks that are erased, as the server shows them now.
func agreed(f run.FreshFacts, paths []string) map[string]run.Device {
	disks := map[string]run.Device{}
	for _, path := range paths {
		disks[path] = deviceOf(f, path)
	}
	return disks
}

// swapped tells which of the agreed disks is another one now, or may be.
func swapped(before map[string]run.Device, beforeAll, now run.FreshFacts) (text string, how sameness) {
	for _, path := range slices.Sorted(maps.Keys(before)) {
		was := before[path]
		is := deviceOf(now, path)
		how := compare(was, is)
		if how == unknown && onlyOne(beforeAll.Devices) && onlyOne(now.Devices) {
			how = same // there is no other that it could be
		}
		switch how {
		case different:
			text := fmt.Sprintf("%s is another disk in the installer: it was %s, and it is %s", path, describeDisk(was), describeDisk(is))
			if at := find(was, now); at != "" {
				text += fmt.Sprintf("; the one that was agreed to is %s there", at)
			}
			return text, different
		case unknown:
			return fmt.Sprintf("nothing tells whether %s in the installer is the disk that was agreed to: it was %s, and it is %s",
				path, describeDisk(was), describeDisk(is)), unknown
		}
	}
	return "", same
}

func onlyOne(list []run.Device) bool { return len(list) == 1 }

// find gives the path of a disk among those that a server has, "" if none is
// known to be it.
func find(disk run.Device, f run.FreshFacts) string {
	for _, d := range f.Devices {
		if compare(disk, d) == same {
			return "/dev/" + d.Node
		}
	}
	return ""
}

// describeDisk is a disk for a person.
func describeDisk(d run.Device) string {
	if d.Size == 0 {
		return "of a size that is not known"
	}
	words := []string{gigabytes(d.Size)}
	for _, w := range [][2]string{{"", d.Model}, {"serial ", d.Serial}} {
		if w[1] != "" {
			words = append(words, w[0]+fmt.Sprintf("%q", w[1]))
		}
	}
	return strings.Join(words, ", ")
}

func gigabytes(size int64) string { return fmt.Sprintf("%.1f GB", float64(size)/1e9) }

// stableName is a name in /dev/disk/by-id that stays the disk's own, "" if there is
// none.
func stableName(d run.Device) string {
	if len(d.Names) == 0 {
		return ""
	}
	return "/dev/disk/by-id/" + slices.MinFunc(d.Names, func(a, b string) int { return len(a) - len(b) })
}
