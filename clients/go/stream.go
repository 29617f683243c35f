package imgd

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 5 * time.Second
	// A daemon that asks for more than this is not believed.
	longestAsked = 60 * time.Second
)

// patience decides when to try again: delays that double up to a bound, each drawn from its upper half, so
// that a thousand watchers of one daemon do not come back in the same moment.
type patience struct {
	limit    time.Duration
	failures int
	since    time.Time
}

func (p *patience) reset() { p.failures, p.since = 0, time.Time{} }

// next is how long to wait, at least what the daemon asked for; false when patience is over.
func (p *patience) next(asked time.Duration) (time.Duration, bool) {
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	left := p.since.Add(p.limit).Sub(now)
	if left <= 0 {
		return 0, false
	}
	delay := min(longestDelay, firstDelay<<min(p.failures, 10))
	delay = delay/2 + rand.N(delay/2+1)
	p.failures++
	return min(max(delay, min(asked, longestAsked)), left), true
}

// receiver is a stream of the daemon.
type receiver[Response any] interface{ Recv() (Response, error) }

// attached reads a stream that attaches again when the connection is lost. It is not for several goroutines.
type attached[Response any] struct {
	ctx    context.Context
	attach func(context.Context) (receiver[Response], error)
	// Whether the daemon was there: what never was fails at once.
	there bool
	// Whether a stream that ends well is over. Else that is a lost connection.
	endsWell bool
	wait     patience
	stream   receiver[Response]
	leave    context.CancelFunc
}

// next is the next message, or [io.EOF].
func (a *attached[Response]) next() (Response, error) {
	for {
		response, err := a.read()
		if err == nil {
			a.there = true
			a.wait.reset()
			return response, nil
		}
		a.close()
		if errors.Is(err, ErrUsage) {
			// The client is closed: that ends what was there, and is wrong use by what begins after it.
			if a.there {
				err = wrap(context.Canceled)
			}
			return response, err
		}
		if err := a.ctx.Err(); err != nil {
			return response, wrap(err)
		}
		if errors.Is(err, io.EOF) {
			if a.endsWell {
				return response, io.EOF
			}
			err = &Error{Code: codes.Unavailable, Message: "the stream ended before its end", RetryDelay: -1}
		}
		if err := a.pause(wrap(err)); err != nil {
			return response, err
		}
	}
}

func (a *attached[Response]) read() (response Response, err error) {
	if a.stream == nil {
		ctx, leave := context.WithCancel(a.ctx)
		a.leave = leave
		if a.stream, err = a.attach(ctx); err != nil {
			return response, err
		}
	}
	return a.stream.Recv()
}

// pause waits until the next attempt, or returns the error when there is to be none.
func (a *attached[Response]) pause(err error) error {
	var said *Error
	if !errors.As(err, &said) {
		return err
	}
	// A server that stops under its streams ends some of them with a bare CANCELLED.
	lost := said.Code == codes.Unavailable || said.Code == codes.Canceled && said.Reason == ""
	if !lost || !a.there && said.RetryDelay < 0 {
		return err
	}
	delay, again := a.wait.next(said.RetryDelay)
	if !again {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		return wrap(a.ctx.Err())
	}
}

func (a *attached[Response]) close() {
	if a.leave != nil {
		a.leave()
	}
	a.stream, a.leave = nil, nil
}
