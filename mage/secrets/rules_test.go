package secrets

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecipientsChangeAndNothingElse(t *testing.T) {
	t.Parallel()
	keys := newIdentities(t, 3).Recipients()
	old, other, added := keys[0], keys[1], keys[2]
	rule := "creation_rules:\n  - path_regex: secrets\\.yaml$\n"
	for name, c := range map[string]struct{ text, added, removed string }{
		"a list": {
			"# top OLD\n" + rule + "    age:\n      # mine\n      - OLD  # laptop\n\n      - OTHER\n# end\n",
			"# top OLD\n" + rule + "    age:\n      # mine\n      - OLD  # laptop\n      - NEW  # laptop\n\n      - OTHER\n# end\n",
			"# top OLD\n" + rule + "    age:\n      # mine\n\n      - OTHER\n# end\n",
		},
		"quotes": {
			rule + "    age:\n      - \"OLD\"\n      - 'OTHER'\n",
			rule + "    age:\n      - \"OLD\"\n      - \"NEW\"\n      - 'OTHER'\n",
			rule + "    age:\n      - 'OTHER'\n",
		},
		"one text": {
			rule + "    age: OLD, OTHER # both\n",
			rule + "    age: OLD,NEW, OTHER # both\n",
			rule + "    age: OTHER # both\n",
		},
		"a folded text": {
			rule + "    age: >-\n      OTHER,\n      OLD\n",
			rule + "    age: >-\n      OTHER,\n      OLD,NEW\n",
			"",
		},
		"a flow list": {
			rule + "    age: [OTHER, OLD]\n",
			rule + "    age: [OTHER, OLD,NEW]\n",
			rule + "    age: [OTHER]\n",
		},
		"key groups": {
			rule + "    key_groups:\n      - age:\n          - OTHER\n          - OLD\n",
			rule + "    key_groups:\n      - age:\n          - OTHER\n          - OLD\n          - NEW\n",
			rule + "    key_groups:\n      - age:\n          - OTHER\n",
		},
		"an anchor": {
			"keys:\n  - &me OLD\n" + rule + "    key_groups:\n      - age:\n          - *me\n          - OTHER\n",
			"keys:\n  - &me OLD,NEW\n" + rule + "    key_groups:\n      - age:\n          - *me\n          - OTHER\n",
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fill := strings.NewReplacer("OLD", old, "OTHER", other, "NEW", added)
			got, err := addRecipient(fill.Replace(c.text), old, added)
			require.NoError(t, err)
			assert.Equal(t, fill.Replace(c.added), got)

			got, err = removeRecipient(fill.Replace(c.text), old)
			if c.removed == "" {
				require.Error(t, err, "better no change than a wrong one")
			} else {
				require.NoError(t, err)
				assert.Equal(t, fill.Replace(c.removed), got)
			}
			got, err = replaceRecipient(fill.Replace(c.text), old, added)
			require.NoError(t, err)
			want := fill.Replace(strings.ReplaceAll(strings.ReplaceAll(c.text, "OLD", "NEW"), "top NEW", "top OLD"))
			assert.Equal(t, want, got)

			roundTrip, err := removeRecipient(fill.Replace(c.added), added)
			require.NoError(t, err)
			assert.Equal(t, fill.Replace(c.text), roundTrip)
		})
	}
}

func TestRecipientsThatAreNotThere(t *testing.T) {
	t.Parallel()
	keys := newIdentities(t, 3).Recipients()
	text := "creation_rules:\n  - path_regex: other\n    age: " + keys[0] + "\n  - age: " + keys[1] + "\n"
	_, err := addRecipient("creation_rules: [\n", keys[0], keys[2])
	assert.Error(t, err, "not YAML")
	_, err = removeRecipient("creation_rules:\n  - age: "+keys[0]+"\n", keys[0])
	assert.Error(t, err, "the last one")
	_, err = replaceRecipient(text, keys[0], keys[2])
	assert.Error(t, err, "another rule is not ours to change")
	got, err := replaceRecipient(text, keys[1], keys[2])
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(text, keys[1], keys[2], 1), got)
}

func FuzzRecipients(f *testing.F) {
	f.Add("creation_rules:\n  - age:\n      - " + ExampleRecipient + "\n")
	f.Add("keys:\n  - &a " + ExampleRecipient + "\ncreation_rules:\n  - key_groups: [{age: [*a]}]\n")
	f.Add("# " + ExampleRecipient + "\n")
	f.Add("keys:\n  - &a " + ExampleRecipient + "\ncreation_rules:\n  - key_groups: [{other: [*a]}]\n")
	other := newIdentities(f, 1).Recipients()[0]
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := addRecipient(text, ExampleRecipient, other); err == nil {
			groups, err := parseRules(got, nil)
			require.NoError(t, err)
			require.Contains(t, bare(groups), other)
		}
		_, _ = removeRecipient(text, ExampleRecipient)
	})
}
