package remote

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// memory is what a Dialer remembers between logins. The zero value is ready.
type memory struct {
	mu       sync.Mutex
	asking   chan struct{}          // holds one token while a question is open
	files    map[string]*keyFile    // by path
	agents   map[string]*agentList  // by socket
	right    map[string]string      // account -> key that the server accepted
	recent   []string               // accepted keys, last one first
	trusted  map[string]string      // lookup -> host key accepted by flag or person
	verified map[string]*knownHosts // by the files' names, sizes and times
	reached  map[string]string      // name -> address at which a login was verified
	told     map[string]bool        // notices that were given
}

// oneAtATime waits for its turn to ask and returns what ends it.
func (m *memory) oneAtATime(ctx context.Context) (release func(), err error) {
	m.mu.Lock()
	if m.asking == nil {
		m.asking = make(chan struct{}, 1)
	}
	asking := m.asking
	m.mu.Unlock()
	select {
	case asking <- struct{}{}:
		return func() { <-asking }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// keyFile returns the file at path, read once.
func (m *memory) keyFile(path string) *keyFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return remember(&m.files, path, func() *keyFile { return readKeyFile(path) })
}

func (m *memory) agent(socket string) *agentList {
	m.mu.Lock()
	defer m.mu.Unlock()
	return remember(&m.agents, socket, func() *agentList { return &agentList{turn: make(chan struct{}, 1)} })
}

// reach notes at which address a name's server was verified.
func (m *memory) reach(name, ip string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	remember(&m.reached, strings.ToLower(name), func() string { return ip })
}

// address is where to connect to for a name: where its server was verified before,
// so that a name that has another address by now, or no more, leads to the same one.
func (m *memory) address(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cmp.Or(m.reached[strings.ToLower(name)], name)
}

// first tells whether a notice was not given before.
func (m *memory) first(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.told)
	remember(&m.told, text, func() bool { return true })
	return len(m.told) > before
}

// letIn says whether an account accepted a key before.
func (m *memory) letIn(account string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.right[account] != ""
}

// accepted notes that a server let key in.
func (m *memory) accepted(account string, key ssh.PublicKey) {
	id := string(key.Marshal())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.right == nil {
		m.right = make(map[string]string)
	}
	m.right[account] = id
	m.recent = slices.DeleteFunc(m.recent, func(k string) bool { return k == id })
	m.recent = slices.Insert(m.recent, 0, id)
}

// rank orders keys for an account: 0 is the one that it accepted before, then
// come keys accepted elsewhere, the latest first, then all others alike.
func (m *memory) rank(account string) func(ssh.PublicKey) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	right, recent := m.right[account], slices.Clone(m.recent)
	return func(key ssh.PublicKey) int {
		if key == nil {
			return len(recent) + 1
		}
		id := string(key.Marshal())
		if id == right {
			return 0
		}
		if i := slices.Index(recent, id); i >= 0 {
			return i + 1
		}
		return len(recent) + 1
	}
}

func (m *memory) trustedKey(lookup string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trusted[lookup]
}

func (m *memory) trust(lookup string, key ssh.PublicKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trusted == nil {
		m.trusted = make(map[string]string)
	}
	m.trusted[lookup] = string(key.Marshal())
}

// remember returns the value for key and makes it when it is missing.
func remember[K comparable, V any](values *map[K]V, key K, produce func() V) V {
	if v, ok := (*values)[key]; ok {
		return v
	}
	if *values == nil {
		*values = make(map[K]V)
	}
	v := produce()
	(*values)[key] = v
	return v
}
