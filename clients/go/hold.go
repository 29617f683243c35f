package imgd

import (
	"context"
	"iter"
	"sync"
	"time"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// What a program that is killed leaves behind ends as soon.
	heldFor = time.Minute
	// How often a lease is renewed within its time.
	turns = 3
	// The daemon waits for three heartbeats.
	beat = 10 * time.Second
	// After an attempt that failed; sooner than the usual turn.
	again = time.Second
)

// Hold is a lease or a container that keeps an image, is renewed meanwhile, also across a restart of the
// daemon, and is given back by Close.
type Hold struct {
	client  *Client
	ctx     context.Context
	name    string
	release func(context.Context) error
	stop    context.CancelFunc
	kept    chan struct{}

	once sync.Once
	end  error

	mutex sync.Mutex
	lost  error
}

// Name is the resource name of the lease or container.
func (h *Hold) Name() string { return h.name }

// Lost says why it holds no more, though it was not closed; nil while it holds.
func (h *Hold) Lost() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.lost
}

// Close gives it back. It fails where somebody else ended the hold before. Calling it again does nothing and
// returns the same.
func (h *Hold) Close() error { return h.leave() }

func (h *Hold) leave() error {
	h.once.Do(func() {
		h.stop()
		<-h.kept
		h.client.disown(h)
		h.end = h.client.part(h.ctx, h.release)
		if lost := h.Lost(); lost != nil {
			h.end = lost
		}
	})
	return h.end
}

// HoldLease takes a lease for as long as a piece of code needs images; its time, a minute if nothing is said,
// is what remains of it when the program is killed.
func (c *Client) HoldLease(ctx context.Context, request *imgdv1.CreateLeaseRequest) (*Hold, error) {
	request = clone(request)
	if request.GetTtl() == nil {
		request.Ttl = durationpb.New(heldFor)
	}
	lease, err := c.CreateLease(ctx, request)
	if err != nil {
		return nil, err
	}
	name := lease.GetName()
	renew := func(ctx context.Context) error {
		_, err := call(ctx, c, c.leases.RenewLease, &imgdv1.RenewLeaseRequest{Name: name, Ttl: request.GetTtl()})
		return err
	}
	release := func(ctx context.Context) error {
		// It ends by itself.
		_ = c.DeleteLease(ctx, name)
		return nil
	}
	return c.hold(ctx, name, max(request.GetTtl().AsDuration()/turns, 100*time.Millisecond), renew, release), nil
}

// HoldContainer registers a running container, and removes it when it is closed. When the program is killed it
// counts as exited after three heartbeats, and still holds its image; a lease ends by itself.
func (c *Client) HoldContainer(ctx context.Context, request *imgdv1.CreateContainerRequest) (*Hold, error) {
	request = clone(request)
	if request.GetHeartbeatInterval() == nil {
		request.HeartbeatInterval = durationpb.New(beat)
	}
	response, err := c.CreateContainer(ctx, request)
	if err != nil {
		return nil, err
	}
	name := response.GetContainer().GetName()
	release := func(ctx context.Context) error { return c.RemoveContainer(ctx, name, true) }
	if _, err := call(ctx, c, c.containers.StartContainer, &imgdv1.StartContainerRequest{Name: name}); err != nil {
		_ = c.part(ctx, release)
		return nil, err
	}
	renew := func(ctx context.Context) error {
		request := &imgdv1.HeartbeatContainerRequest{Name: name}
		_, err := call(ctx, c, c.containers.HeartbeatContainer, request)
		return err
	}
	return c.hold(ctx, name, request.GetHeartbeatInterval().AsDuration(), renew, release), nil
}

func (c *Client) hold(
	ctx context.Context, name string, every time.Duration, renew, release func(context.Context) error,
) *Hold {
	found := &Hold{client: c, ctx: ctx, name: name, release: release, kept: make(chan struct{})}
	ctx, found.stop = context.WithCancel(ctx)
	c.own(found)
	go found.keep(ctx, every, renew)
	return found
}

func (h *Hold) keep(ctx context.Context, every time.Duration, renew func(context.Context) error) {
	defer close(h.kept)
	wait := every
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		bounded, done := context.WithTimeout(ctx, every)
		err := renew(bounded)
		done()
		said, failed := err.(*Error)
		switch {
		case !failed:
			wait = every
		case said.Code == codes.NotFound:
			h.mutex.Lock()
			h.lost = err
			h.mutex.Unlock()
			return
		case said.Code == codes.FailedPrecondition:
			// It was stopped: it needs no more signs of life, and holds until it is removed.
			return
		default:
			wait = min(every, again)
		}
	}
}

// CreateLease takes a lease. It holds until its time is over: an hour if nothing is said.
func (c *Client) CreateLease(ctx context.Context, request *imgdv1.CreateLeaseRequest) (*imgdv1.Lease, error) {
	request = clone(request)
	if request.GetRequestId() == "" {
		request.RequestId = requestID()
	}
	response, err := call(ctx, c, c.leases.CreateLease, request)
	return response.GetLease(), err
}

// DeleteLease ends a lease.
func (c *Client) DeleteLease(ctx context.Context, name string) error {
	_, err := call(ctx, c, c.leases.DeleteLease, &imgdv1.DeleteLeaseRequest{Name: name})
	return err
}

// Leases lists leases.
func (c *Client) Leases(ctx context.Context) iter.Seq2[*imgdv1.Lease, error] {
	return pages(func(token string) ([]*imgdv1.Lease, string, error) {
		page, err := call(ctx, c, c.leases.ListLeases, &imgdv1.ListLeasesRequest{PageToken: token})
		return page.GetLeases(), page.GetNextPageToken(), err
	})
}

// CreateContainer registers a use of an image, which holds the image until the container is removed. Where a
// root file system is prepared the client's timeout does not apply: the image may have to be unpacked.
func (c *Client) CreateContainer(
	ctx context.Context, request *imgdv1.CreateContainerRequest,
) (*imgdv1.CreateContainerResponse, error) {
	request = clone(request)
	if request.GetRequestId() == "" {
		request.RequestId = requestID()
	}
	if request.GetPrepareRootfs() || request.GetBundle() != nil {
		response, err := c.containers.CreateContainer(ctx, request)
		return response, wrap(err)
	}
	return call(ctx, c, c.containers.CreateContainer, request)
}

// RemoveContainer removes a container, with force also one that runs.
func (c *Client) RemoveContainer(ctx context.Context, name string, force bool) error {
	request := &imgdv1.RemoveContainerRequest{Name: name, Force: force}
	_, err := call(ctx, c, c.containers.RemoveContainer, request)
	return err
}

// Containers lists containers.
func (c *Client) Containers(
	ctx context.Context, request *imgdv1.ListContainersRequest,
) iter.Seq2[*imgdv1.Container, error] {
	return pages(func(token string) ([]*imgdv1.Container, string, error) {
		request := clone(request)
		request.PageToken = token
		page, err := call(ctx, c, c.containers.ListContainers, request)
		return page.GetContainers(), page.GetNextPageToken(), err
	})
}
