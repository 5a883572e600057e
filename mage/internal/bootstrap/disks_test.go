package bootstrap

import (
	"testing"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/stretchr/testify/assert"
)

// disk-names-swap: a volume is attached, and the kernel of the installer finds it
// first.
func TestDisksWhoseNamesSwapAreFound(t *testing.T) {
	t.Parallel()
	root := run.Device{Node: "sda", Size: 40e9, Model: "QEMU HARDDISK", Serial: "root-1"}
	volume := run.Device{Node: "sdb", Size: 100e9, Model: "Volume", Serial: "vol-1"}
	at := func(d run.Device, node string) run.Device { d.Node = node; return d }
	without := func(d run.Device) run.Device { d.Serial, d.Model = "", ""; return d }
	server := func(devices ...run.Device) run.FreshFacts {
		return run.FreshFacts{Devices: devices, Nodes: map[string]string{"/dev/sda": "sda"}}
	}
	twin := volume
	twin.Size = root.Size
	for name, tc := range map[string]struct {
		before, after run.FreshFacts
		how           sameness
		says          string
	}{
		"as before": {server(root, volume), server(root, volume), same, ""},
		"swapped": {server(root, volume), server(at(volume, "sda"), at(root, "sdb")), different,
			`/dev/sda is another disk in the installer: it was 40.0 GB, "QEMU HARDDISK", serial "root-1", and it is 100.0 GB, "Volume", serial "vol-1"; the one that was agreed to is /dev/sdb there`},
		"swapped, of one size":    {server(root, twin), server(at(twin, "sda"), at(root, "sdb")), different, "is /dev/sdb there"},
		"only the size is known":  {server(without(root), without(volume)), server(at(without(volume), "sda"), at(without(root), "sdb")), different, "another disk"},
		"no serials, one disk":    {server(without(root)), server(without(root)), same, ""},
		"no serials, two alike":   {server(without(root), without(twin)), server(without(root), without(twin)), unknown, "nothing tells"},
		"a volume that came":      {server(without(root)), server(without(root), without(volume)), unknown, "nothing tells"},
		"nothing could be listed": {server(), server(), unknown, "of a size that is not known"},
		"by its partition table": {
			server(run.Device{Node: "sda", Size: 40e9, Table: "t1"}, run.Device{Node: "sdb", Size: 40e9}),
			server(run.Device{Node: "sda", Size: 40e9, Table: "t1"}, run.Device{Node: "sdb", Size: 40e9}), same, ""},
		"by its name": {
			server(run.Device{Node: "sda", Size: 40e9, Names: []string{"scsi-1", "x"}}, run.Device{Node: "sdb", Size: 40e9}),
			server(run.Device{Node: "sda", Size: 40e9, Names: []string{"scsi-1"}}, run.Device{Node: "sdb", Size: 40e9}), same, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, how := swapped(agreed(tc.before, []string{"/dev/sda"}), tc.before, tc.after)
			assert.Equal(t, tc.how, how)
			assert.Contains(t, text, tc.says)
			assert.Equal(t, tc.how == same, text == "")
		})
	}
}
