package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// drainFor is how long a shutdown waits for requests that are under way, then for messages. Ending the
// calls of carriers and recording what wasn't sent take up to 3 seconds more: all of it stays within 10.
const drainFor = 7 * time.Second

// listening is a server and where it listens.
type listening struct {
	net.Listener
	server *http.Server
}

// headStart is how long clients wait for what is being opened, before they are answered that it isn't there.
const headStart = time.Second

// serveUntilDone answers until ctx ends, a listener fails or open does, which has a head start and may
// take as long as it likes. Then it lets the requests that are under way finish, and calls stop; all that
// within drainFor. The first server is the public one.
func serveUntilDone(ctx context.Context, log *slog.Logger, servers []listening, open, stop func(context.Context) error) error {
	failed := make(chan error, len(servers)+1)
	opening, giveUp := context.WithCancel(ctx)
	defer giveUp()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if err := open(opening); err != nil && opening.Err() == nil {
			failed <- err
		}
	}()
	select {
	case <-opened:
	case <-time.After(headStart):
	}
	for _, s := range servers {
		go func() {
			if s.server.TLSConfig != nil {
				failed <- s.server.ServeTLS(s.Listener, "", "")
				return
			}
			failed <- s.server.Serve(s.Listener)
		}()
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping", "within", drainFor)
	case err = <-failed:
	}
	giveUp()
	<-opened
	drain, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	if servers[0].server.Shutdown(drain) != nil {
		servers[0].server.Close()
	}
	err = errors.Join(err, stop(drain))
	for _, s := range servers[1:] { // health checks go on until the end
		s.server.Close()
	}
	return err
}

// listen opens a listener. setting names the flag or key that chose its address.
func listen(addr, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program: stop that, or choose another address with %s", addr, setting)
	}
	return l, err
}
