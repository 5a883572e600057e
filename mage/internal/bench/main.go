// Bench measures what a run costs beside what a user would do instead, rsync and
// ssh over the same link, and prints the table of RELIABILITY.md:
//
//	go tool mage bench -only=fleet -quick
//
// Everything runs on this machine: real OpenSSH servers, each behind a proxy that
// makes it far away. Times are of a machine that others use too, so that figures
// are compared within one run only, side by side; the load is in the first line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// bench is one run of the program.
type bench struct {
	table  table
	quick  bool
	atMost int // tries, if not 0
}

// A section fills some of the table.
type section struct {
	name, about string
	run         func(*bench, context.Context) error
}

var sections = []section{
	{"host", "one host at 0, 20 and 100 ms", (*bench).oneHost},
	{"files", "a thousand small files", (*bench).thousandFiles},
	{"fleet", "50 hosts at once on OpenSSH", (*bench).fleet},
	{"thousand", "1,000 simulated hosts", (*bench).thousandHosts},
	{"waiting", "our own sleeps and polls", (*bench).waiting},
	{"start", "the start of a target, warm and cold", (*bench).start},
}

func main() {
	var err error
	if o := os.Getenv(orderVariable); o != "" {
		err = beClient(o)
	} else {
		err = measure(os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(args []string) error {
	b := &bench{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "only sections that match this: "+names())
	flags.IntVar(&b.atMost, "tries", 0, "measure each thing at most so often")
	flags.BoolVar(&b.quick, "quick", false, "few tries and few hosts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if err := missing(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	header := surroundings()
	err = b.sections(ctx, match)
	fmt.Printf("%s; %s\n", header, load("after"))
	return errors.Join(b.table.print(os.Stdout), err)
}

// sections runs those that were asked for. One that fails does not keep the
// others' figures from being printed.
func (b *bench) sections(ctx context.Context, match *regexp.Regexp) error {
	var errs []error
	for _, s := range sections {
		if !match.MatchString(s.name) || ctx.Err() != nil {
			continue
		}
		b.note("%s: %s", s.name, s.about)
		if err := s.run(b, ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

func names() string {
	var list []string
	for _, s := range sections {
		list = append(list, s.name)
	}
	return strings.Join(list, ", ")
}

func (b *bench) note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// tries is how often something is measured.
func (b *bench) tries(full int) int {
	switch {
	case b.quick:
		return 1
	case b.atMost > 0:
		return min(b.atMost, full)
	}
	return full
}

// missing says what this machine lacks.
func missing() error {
	var lacking []string
	if runtime.GOOS != "linux" {
		lacking = append(lacking, "Linux")
	}
	if os.Geteuid() != 0 {
		lacking = append(lacking, "root")
	}
	for _, p := range [][2]string{{"/usr/sbin/sshd", "openssh-server"}, {"ssh", "openssh-client"},
		{"/usr/bin/rsync", "rsync"}, {"unshare", "util-linux"}, {"git", "git"}, {"go", "Go"}} {
		if _, err := exec.LookPath(p[0]); err != nil {
			lacking = append(lacking, p[1])
		}
	}
	if _, err := os.Stat("nix/flake.nix"); err != nil {
		lacking = append(lacking, "the repository as the present folder")
	}
	if len(lacking) > 0 {
		return fmt.Errorf("this needs what is not here: %s", strings.Join(lacking, ", "))
	}
	return nil
}

// surroundings is the first line: what figures depend on.
func surroundings() string {
	return fmt.Sprintf("%s, %d processors, %s, %s, %s, servers in %s; %s", time.Now().Format("2006-01-02"), runtime.NumCPU(),
		runtime.Version(), firstWords(2, "ssh", "-V"), firstWords(3, "rsync", "--version"), inMemory(), load("before"))
}

func firstWords(n int, argv ...string) string {
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	words := strings.Fields(strings.ReplaceAll(string(out), ",", " "))
	return strings.Join(words[:min(n, len(words))], " ")
}

func load(when string) string {
	text, _ := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(text))
	return fmt.Sprintf("load %s: %s", when, strings.Join(words[:min(3, len(words))], " "))
}
