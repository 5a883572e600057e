package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Status is the outcome of one thing that was checked.
type Status string

// The outcomes. Skipped means that it could not be checked; Detail says why.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Skipped Status = "skipped"
)

// Finding is one thing that was checked. It never holds a value or a key.
type Finding struct {
	Name   string    `json:"name"`
	Status Status    `json:"status"`
	Detail string    `json:"detail,omitempty"`
	Next   next.Step `json:"remedy,omitzero"` // what to do, if it failed
}

// CheckOptions say what to check against.
type CheckOptions struct {
	File        string // the one sops file to look at; "" is all of them
	Declared    []Declared
	DeclaredErr error                    // why Declared is not known, or not all of it
	AllowSample bool                     // a fresh clone, which has only the public example key, is no fault
	Getenv      func(name string) string // os.Getenv
	Ask         AskPassphrase
}

// checking is one call of Check.
type checking struct {
	CheckOptions
	project  Project
	findings []Finding
	sample   bool // AllowSample, and this is one
}

// Check looks at everything about the secrets of the project in dir. It always
// returns all findings, in the same order; what cannot be looked at because of
// an earlier fault is skipped.
func Check(ctx context.Context, dir string, options CheckOptions) []Finding {
	c := &checking{CheckOptions: options, project: Project{Dir: dir}}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	ids := c.key(ctx)
	files := c.files(ctx)
	var main *Report
	for _, file := range files {
		report := c.file(ids, file)
		c.rules(ctx, ids, report, file)
		c.declared(report, file)
		if file == files[0] {
			main = report
		}
	}
	c.sshKey(main)
	c.git(ctx, ids)
	c.leftovers()
	return c.findings
}

// Failed reports whether a finding is a fault.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Status == Fail })
}

func (c *checking) add(name string, status Status, step next.Step, format string, args ...any) {
	c.findings = append(c.findings, Finding{name, status, fmt.Sprintf(format, args...), step})
}

func (c *checking) err(name string, err error) {
	c.add(name, Fail, next.Of(err), "%v", err)
}

// key finds out whether there is a private key that only its owner can read.
func (c *checking) key(ctx context.Context) *Identities {
	ids, err := Sources{Dir: c.project.Dir, Getenv: c.Getenv, Ask: c.Ask}.Load(ctx)
	if err != nil {
		c.err("age key", err)
		c.add("example key", Skipped, next.Step{}, "there is no key to look at")
		return nil
	}
	c.add("age key", Pass, next.Step{}, "%d in %s", ids.Len(), ids.Source())
	c.sample = c.AllowSample && ids.Source() == c.project.ExampleKeyFile()
	switch {
	case !ids.IsExample():
		c.add("example key", Pass, next.Step{}, "the key is not the public example")
	case c.sample:
		c.add("example key", Skipped, next.Step{}, "a fresh clone, with the public example key; run `%s` before you deploy", next.Target("secrets:init"))
	default:
		c.err("example key", RefuseExample(ids, nil))
	}
	return ids
}

// files are those to look at. What a rule matches and nobody encrypted is told.
func (c *checking) files(ctx context.Context) []string {
	if c.File != "" {
		return []string{c.File}
	}
	found, err := find(ctx, c.project.Dir)
	if err != nil {
		c.err("sops files", err)
		return []string{defaultFile}
	}
	for _, name := range found.plain {
		if name != defaultFile {
			c.add("plain: "+name, Fail, next.Say("Encrypt it: %s; or correct .sops.yaml.", next.Shell("sops", "encrypt", "--in-place", name)),
				"a rule of .sops.yaml matches %s, and it is not encrypted", name)
		}
	}
	files := found.encrypted
	if !slices.Contains(files, defaultFile) && (len(files) == 0 && len(c.Declared) == 0 || c.wants(defaultFile) || fileExists(c.project.SecretsFile())) {
		files = slices.Insert(files, 0, defaultFile)
	}
	for _, d := range c.Declared { // no rule matches these, or they are not there
		if !slices.Contains(files, d.File) {
			files = append(files, d.File)
		}
	}
	return files
}

// wants reports whether something declared lies in a file.
func (c *checking) wants(file string) bool {
	return slices.ContainsFunc(c.Declared, func(d Declared) bool { return d.File == file })
}

// title names a finding about a file: those about secrets.yaml by what is checked
// alone.
func title(what, file string) string {
	if file == defaultFile {
		return what
	}
	return what + " in " + file
}

func (c *checking) file(ids *Identities, file string) *Report {
	name := file
	if file == defaultFile {
		name = "secrets.yaml"
	}
	if ids == nil {
		c.add(name, Skipped, next.Step{}, "there is no key to decrypt it with")
		return nil
	}
	data, err := c.project.in(file).read()
	if err != nil {
		c.add(name, Fail, c.restore(file, err), "%v", err)
		return nil
	}
	report, err := VerifyFile(file, data, ids)
	if err != nil {
		c.err(name, err)
		return nil
	}
	c.add(name, Pass, next.Step{}, "encrypted, decrypts, and the MAC is right; %d values", len(report.Names))
	return report
}

// restore is what to do about a file that cannot be read. Only secrets.yaml is made by
// secrets:init.
func (c *checking) restore(file string, err error) next.Step {
	if file == defaultFile || !errors.Is(err, ErrMissing) {
		return next.Of(err)
	}
	return next.Say("Restore it with git, or make it: %s", next.Shell("sops", "edit", file))
}

func (c *checking) rules(ctx context.Context, ids *Identities, report *Report, file string) {
	name := title("recipients", file)
	if report == nil {
		c.add(name, Skipped, next.Step{}, "%s could not be read", file)
		return
	}
	if err := report.compare(c.project.in(file)); err != nil {
		c.err(name, err)
		return
	}
	rules, err := loadRules(c.project.in(file))
	if err == nil && !sameSelection(report.metadata, rules.metadata()) {
		c.add(name, Fail, next.Words("Correct .sops.yaml, or encrypt the file again with the sops program."),
			"%s was made by other rules about what is encrypted than .sops.yaml has", file)
		return
	}
	detail := fmt.Sprintf("the %d of .sops.yaml", len(report.Recipients))
	unknown, err := c.project.unconfirmed(ctx, ids, bare(report.metadata.KeyGroups))
	switch {
	case err != nil:
		c.err(name, err)
		return
	case len(unknown) > 0 && !c.sample:
		detail += "; not confirmed on this machine: " + shortAll(unknown)
	}
	c.add(name, Pass, next.Step{}, "%s", detail)
}

// Problems turns failed findings into one error, or nil.
func Problems(findings []Finding) error {
	var faults []error
	for _, f := range findings {
		if f.Status == Fail {
			faults = append(faults, fail(nil, f.Next, "%s: %s", f.Name, f.Detail))
		}
	}
	return errors.Join(faults...)
}

// declared compares with what nix/ asks for.
func (c *checking) declared(report *Report, file string) {
	name := title("declared names", file)
	declared := inFile(c.Declared, file)
	switch {
	case c.DeclaredErr != nil && len(declared) == 0:
		c.add(name, Skipped, next.Of(c.DeclaredErr), "%v", c.DeclaredErr)
		return
	case report == nil:
		c.add(name, Skipped, next.Step{}, "%s could not be read", file)
		return
	}
	var faults []string
	var set next.Step
	if len(declared) == 0 && file != defaultFile {
		c.add(name, Skipped, next.Step{}, "nothing in nix/ is known to use it")
		return
	}
	for _, d := range declared {
		if fault := report.faultOf(d); fault != "" {
			faults = append(faults, formatName(d.path())+" "+fault)
			set = next.Or(set, setCommand(formatName(d.path()), file))
		}
	}
	for _, name := range report.Names {
		if c.DeclaredErr == nil && !slices.ContainsFunc(declared, func(d Declared) bool { return covers(d, name) }) {
			faults = append(faults, name+" is not declared in nix/")
		}
	}
	if len(faults) > 0 {
		c.add(name, Fail, next.Or(set, next.Say("Declare it in nix/modules/sops.nix, or remove it with %s.", next.Target("secrets:edit"))),
			"%s", strings.Join(faults, ", "))
		return
	}
	if c.DeclaredErr != nil {
		c.add(name, Pass, next.Step{}, "all %d are there; whether nix/ declares more is unknown: %v", len(declared), c.DeclaredErr)
		return
	}
	c.add(name, Pass, next.Step{}, "all %d are there and none too many", len(declared))
}

// setCommand sets a secret: the login key from where it most often is.
func setCommand(name, file string) next.Step {
	if file != defaultFile {
		return next.Target("secrets:set", name, "-file="+file)
	}
	if name == sshKeyName {
		return next.Target("secrets:set", "ssh-public-key", "-from=~/.ssh/id_ed25519.pub")
	}
	return next.Target("secrets:set", name)
}

// faultOf says what is wrong with a declared secret.
func (r *Report) faultOf(d Declared) string {
	if d.Whole() {
		return ""
	}
	value, err := lookup(first(r.values), d.path())
	switch text, isText := value.(string); {
	case err != nil:
		return "is missing"
	case !isText:
		return "is not text, and sops-nix takes only text"
	case text == "":
		return "is empty"
	case slices.Contains(r.Plain, formatName(d.path())):
		return "is in plain text"
	}
	return ""
}

func (c *checking) sshKey(report *Report) {
	if report == nil {
		c.add(sshKeyName, Skipped, next.Step{}, "secrets.yaml could not be read")
		return
	}
	value, err := lookup(first(report.values), []string{sshKeyName})
	text, isText := value.(string)
	if err != nil || !isText {
		c.add(sshKeyName, Skipped, next.Step{}, "not in secrets.yaml")
		return
	}
	keys, err := parsePublicKeys([]byte(text))
	switch {
	case err != nil:
		c.add(sshKeyName, Fail, next.Say("Run %s: with a wrong one nobody can log in.", next.Target("secrets:set", "ssh-public-key", "-from=~/.ssh/id_ed25519.pub")), "%v", err)
	case strings.Contains(text, exampleSSHPublicKey) && !c.sample:
		c.add(sshKeyName, Fail, next.Say("Run %s.", next.Target("secrets:set", "ssh-public-key", "-from=~/.ssh/id_ed25519.pub")), "is the example, for which there is no private key")
	default:
		c.add(sshKeyName, Pass, next.Step{}, "%d that sshd can read", len(keys))
	}
}

// leftovers removes plaintext of a killed editor.
func (c *checking) leftovers() {
	if count := sweep(plainBases(c.Getenv)); count > 0 {
		c.add("plaintext", Pass, next.Step{}, "removed %d folder(s) that a killed editor left behind", count)
		return
	}
	c.add("plaintext", Pass, next.Step{}, "none left behind")
}
