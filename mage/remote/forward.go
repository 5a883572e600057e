package remote

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
)

// Forward is a port on our loopback interface that leads elsewhere.
type Forward struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	release  func()
	cancel   context.CancelFunc
	tasks    sync.WaitGroup

	mu  sync.Mutex
	err error
}

// Forward opens a port on 127.0.0.1 whose connections come out at addr (host:port)
// as seen from the server. It ends with ctx or Close.
func (c *Client) Forward(ctx context.Context, addr string) (*Forward, error) {
	return c.ForwardFrom(ctx, 0, addr)
}

// ForwardFrom is Forward from a port that is chosen here, so that what remembers an
// address (a browser, a token) finds it again; 0 lets the system choose.
func (c *Client) ForwardFrom(ctx context.Context, port int, addr string) (*Forward, error) {
	return newForward(ctx, port, func(ctx context.Context) (net.Conn, error) {
		limited, cancel := context.WithTimeoutCause(ctx, DefaultConnectTimeout, errConnectTimeout)
		defer cancel()
		return c.ssh.DialContext(limited, "tcp", addr)
	}, func() {})
}

// Forward opens a port on 127.0.0.1 that leads to t's own port, through its jump
// hosts. Programs that know nothing of jump hosts can reach t through it. The jump
// hosts are logged in to at once, and again when they were lost; t itself may come
// and go. It ends with ctx or Close.
func (d *Dialer) Forward(ctx context.Context, t Target) (*Forward, error) {
	j := &jump{d: d, target: t}
	if _, err := j.client(ctx); err != nil {
		return nil, err
	}
	return newForward(ctx, 0, j.dial, j.close)
}

func newForward(ctx context.Context, port int, dial func(context.Context) (net.Conn, error), release func()) (*Forward, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		release()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Forward{listener: listener, dial: dial, release: release, cancel: cancel}
	f.tasks.Go(func() { f.accept(ctx) })
	f.tasks.Go(func() {
		<-ctx.Done()
		_ = listener.Close()
	})
	return f, nil
}

// Addr returns the address of our port.
func (f *Forward) Addr() *net.TCPAddr { return f.listener.Addr().(*net.TCPAddr) }

// Err returns why the last connection could not be passed on, nil if it could.
func (f *Forward) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close ends the forwarding and all its connections, and waits for that.
func (f *Forward) Close() error {
	f.cancel()
	f.tasks.Wait()
	f.release()
	return nil
}

func (f *Forward) accept(ctx context.Context) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.tasks.Go(func() { f.pass(ctx, conn) })
	}
}

// pass connects near with the far end until either is done.
func (f *Forward) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := f.dial(ctx)
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pump(far, near) })
	both.Go(func() { pump(near, far) })
	both.Wait()
}

// pump copies one direction and passes its end on.
func pump(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
}

// jump keeps a login on the last jump host before a target.
type jump struct {
	d      *Dialer
	target Target
	mu     sync.Mutex
	last   *Client
}

func (j *jump) dial(ctx context.Context) (net.Conn, error) {
	via, err := j.client(ctx)
	if err != nil {
		return nil, err
	}
	return j.d.connect(ctx, j.target, via)
}

// client returns the live login on the jump host, nil if there is no jump host.
func (j *jump) client(ctx context.Context) (*Client, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last != nil && j.last.Err() == nil {
		return j.last, nil
	}
	last, err := j.d.dialJumps(ctx, j.target)
	j.last = last
	return last, err
}

func (j *jump) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	closeIfAny(j.last)
}
