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

// PullOptions is what a pull can be told. The zero value, and nil, is an ordinary pull.
type PullOptions struct {
	// Platforms are os/architecture[/variant] each; none for the daemon's own.
	Platforms []string
	// AllPlatforms pulls every platform that the index has.
	AllPlatforms bool
	// AllTags pulls every tag of the repository that the reference then names.
	AllTags bool
	// IncludeReferrers also pulls signatures and attestations.
	IncludeReferrers bool
	// Policy says when to ask the registry.
	Policy imgdv1.PullPolicy
	// Credentials for this pull; nil for the daemon's configuration.
	Credentials *imgdv1.RegistryCredentials
	// Tags are names to give to the image instead of its own.
	Tags []string
	// Unpack also unpacks the layers.
	Unpack bool
	// Lease is taken in the step that makes the image visible.
	Lease *imgdv1.LeaseSpec
	// Limits are bounds for this transfer.
	Limits *imgdv1.TransferLimits
	// Detach leaves the transfer to itself: leaving does not cancel it.
	Detach bool
	// MinInterval is the shortest time between two updates; 0 for 100 ms.
	MinInterval time.Duration
	// RequestID is for safe retries of the program; empty for one that is made.
	RequestID string
}

// PushOptions is what a push can be told.
type PushOptions struct {
	// Platforms are os/architecture[/variant] each; none for those that are stored.
	Platforms []string
	// Credentials for this push; nil for the daemon's configuration.
	Credentials *imgdv1.RegistryCredentials
	// AllTags pushes every tag of the repository that the image then names.
	AllTags bool
	// IncludeReferrers also pushes signatures and attestations.
	IncludeReferrers bool
	// Limits are bounds for this transfer.
	Limits *imgdv1.TransferLimits
	// Detach, MinInterval and RequestID are as in [PullOptions].
	Detach      bool
	MinInterval time.Duration
	RequestID   string
}

// Pull starts to pull an image, such as redis:7. The pull is its caller's: closing it before its end, or the
// end of ctx, cancels it, resumably, unless it is detached.
func (c *Client) Pull(ctx context.Context, reference string, options *PullOptions) (*Transfer, error) {
	if options == nil {
		options = &PullOptions{}
	}
	request := &imgdv1.StartTransferRequest{
		Source: &imgdv1.TransferSource{Source: &imgdv1.TransferSource_Registry{
			Registry: &imgdv1.RegistryEndpoint{
				Reference: reference, Credentials: options.Credentials,
				AllTags: options.AllTags, IncludeReferrers: options.IncludeReferrers,
			},
		}},
		Destination: &imgdv1.TransferDestination{Destination: &imgdv1.TransferDestination_Store{
			Store: &imgdv1.StoreEndpoint{
				Tags: options.Tags, Policy: options.Policy, Unpack: options.Unpack, Lease: options.Lease,
			},
		}},
		Platforms: selection(options.Platforms, options.AllPlatforms),
		Limits:    options.Limits,
		RequestId: options.RequestID,
	}
	return c.Start(ctx, request, options.Detach, options.MinInterval)
}

// Push starts to push an image of the store, to its own name where reference is empty. It is its caller's as a
// pull is.
func (c *Client) Push(ctx context.Context, image, reference string, options *PushOptions) (*Transfer, error) {
	if options == nil {
		options = &PushOptions{}
	}
	if reference == "" {
		reference = image
	}
	request := &imgdv1.StartTransferRequest{
		Source: &imgdv1.TransferSource{Source: &imgdv1.TransferSource_Store{
			Store: &imgdv1.StoreEndpoint{Image: image},
		}},
		Destination: &imgdv1.TransferDestination{Destination: &imgdv1.TransferDestination_Registry{
			Registry: &imgdv1.RegistryEndpoint{
				Reference: reference, Credentials: options.Credentials,
				AllTags: options.AllTags, IncludeReferrers: options.IncludeReferrers,
			},
		}},
		Platforms: selection(options.Platforms, false),
		Limits:    options.Limits,
		RequestId: options.RequestID,
	}
	return c.Start(ctx, request, options.Detach, options.MinInterval)
}

func selection(platforms []string, all bool) *imgdv1.PlatformSelection {
	if len(platforms) == 0 && !all {
		return nil
	}
	return &imgdv1.PlatformSelection{Platforms: platforms, All: all}
}

// Start starts any transfer, as its caller's own. A request ID is made where it has none.
func (c *Client) Start(
	ctx context.Context, request *imgdv1.StartTransferRequest, detach bool, minInterval time.Duration,
) (*Transfer, error) {
	request = clone(request)
	if request.GetRequestId() == "" {
		request.RequestId = requestID()
	}
	response, err := call(ctx, c, c.transfers.StartTransfer, request)
	if err != nil {
		return nil, err
	}
	found := c.follow(ctx, response.GetTransfer().GetName(), minInterval, true)
	found.record, found.owned = response.GetTransfer(), !detach
	if !detach {
		c.own(found)
		// The end of ctx is a way to leave.
		found.stop = context.AfterFunc(ctx, func() { _ = found.leave() })
	}
	return found, nil
}

// Watch follows a transfer, in whatever state it is. Leaving it does not touch the transfer.
func (c *Client) Watch(ctx context.Context, name string, minInterval time.Duration) *Transfer {
	found := c.follow(ctx, name, minInterval, false)
	found.record = &imgdv1.Transfer{Name: name}
	return found
}

func (c *Client) follow(ctx context.Context, name string, minInterval time.Duration, there bool) *Transfer {
	found := &Transfer{client: c, name: name}
	found.ctx, found.cancel = c.within(ctx)
	request := &imgdv1.WatchTransferRequest{Name: name}
	if minInterval > 0 {
		request.MinInterval = durationpb.New(minInterval)
	}
	found.stream = attached[*imgdv1.WatchTransferResponse]{
		ctx: found.ctx, there: there, wait: patience{limit: c.patience},
		attach: func(ctx context.Context) (receiver[*imgdv1.WatchTransferResponse], error) {
			request.AfterSequence = found.sequence
			return c.transfers.WatchTransfer(ctx, request)
		},
	}
	return found
}

// Transfer is a transfer that is followed: range over its Events, or Wait for its end. When the connection or
// the daemon goes away it attaches again, and goes on with a snapshot of how things stand then.
type Transfer struct {
	client *Client
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	stop   func() bool
	stream attached[*imgdv1.WatchTransferResponse]

	// Of the one goroutine that reads.
	sequence int64
	finished bool

	mutex  sync.Mutex
	record *imgdv1.Transfer
	owned  bool
}

// Name is the transfer's resource name.
func (t *Transfer) Name() string { return t.name }

// Record is the transfer's record: as it was accepted, and after the end with its outcome.
func (t *Transfer) Record() *imgdv1.Transfer {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.record
}

// Events are the transfer's events: snapshots, updates, and exactly one finished as the last. Heartbeats and
// kinds of events that are newer than this client are not passed on. An error is the last item; that the
// transfer failed is none, see Wait. Leaving the loop leaves the transfer as it is: it may be entered again, by
// one goroutine at a time, and what ends is Close's to say.
func (t *Transfer) Events() iter.Seq2[*imgdv1.TransferEvent, error] {
	return func(yield func(*imgdv1.TransferEvent, error) bool) {
		for !t.finished {
			event, err := t.next()
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

func (t *Transfer) next() (*imgdv1.TransferEvent, error) {
	for {
		response, err := t.stream.next()
		if err != nil {
			return nil, err
		}
		event := response.GetEvent()
		_, isSnapshot := event.GetEvent().(*imgdv1.TransferEvent_Snapshot)
		// Nothing happened while the connection was lost.
		repeated := isSnapshot && t.sequence != 0 && event.GetSequence() == t.sequence
		t.sequence = max(t.sequence, event.GetSequence())
		switch found := event.GetEvent().(type) {
		case *imgdv1.TransferEvent_Finished:
			t.finished = true
			t.mutex.Lock()
			t.record, t.owned = found.Finished.GetTransfer(), false
			t.mutex.Unlock()
			t.cancel()
			t.client.disown(t)
			return event, nil
		case *imgdv1.TransferEvent_Snapshot, *imgdv1.TransferEvent_Update:
			if !repeated {
				return event, nil
			}
		}
	}
}

// Wait waits for the end and returns the record with its outcome. It fails with [ErrTransferFailed] where the
// transfer did not end well, and with [ErrCancelled] where it was closed before.
func (t *Transfer) Wait() (*imgdv1.Transfer, error) {
	for _, err := range t.Events() {
		if err != nil {
			_ = t.Close()
			return t.Record(), err
		}
	}
	record := t.Record()
	if record.GetState() != imgdv1.TransferState_TRANSFER_STATE_SUCCEEDED {
		return record, transferFailed(record)
	}
	return record, nil
}

// Detach leaves the transfer to itself: from here on, Close does not cancel it.
func (t *Transfer) Detach() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.owned = false
}

// Close stops following, from any goroutine, and cancels a transfer that is the caller's own and has not
// ended. What was fetched stays for a while, so that a later pull goes on there. Calling it again does nothing.
func (t *Transfer) Close() error {
	if t.stop != nil {
		t.stop()
	}
	return t.leave()
}

func (t *Transfer) leave() error {
	t.cancel()
	t.client.disown(t)
	// Whoever comes second waits: the client may be closed next.
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if !t.owned {
		return nil
	}
	t.owned = false
	err := t.client.part(t.ctx, func(ctx context.Context) error {
		_, err := t.client.transfers.CancelTransfer(ctx, &imgdv1.CancelTransferRequest{Name: t.name})
		return wrap(err)
	})
	if said, is := err.(*Error); is && said.Code == codes.NotFound {
		return nil
	}
	return err
}

// GetTransfer returns a transfer's record.
func (c *Client) GetTransfer(ctx context.Context, name string) (*imgdv1.Transfer, error) {
	response, err := call(ctx, c, c.transfers.GetTransfer, &imgdv1.GetTransferRequest{Name: name})
	return response.GetTransfer(), err
}

// CancelTransfer cancels a transfer, whoever started it, and returns its record when it has ended.
func (c *Client) CancelTransfer(ctx context.Context, name string) (*imgdv1.Transfer, error) {
	response, err := call(ctx, c, c.transfers.CancelTransfer, &imgdv1.CancelTransferRequest{Name: name})
	return response.GetTransfer(), err
}

// ResumeTransfer runs an interrupted, failed or cancelled transfer again, with what is already here.
func (c *Client) ResumeTransfer(
	ctx context.Context, request *imgdv1.ResumeTransferRequest,
) (*imgdv1.Transfer, error) {
	response, err := call(ctx, c, c.transfers.ResumeTransfer, request)
	return response.GetTransfer(), err
}

// Transfers lists transfers, newest first, in the states named or in any.
func (c *Client) Transfers(
	ctx context.Context, states ...imgdv1.TransferState,
) iter.Seq2[*imgdv1.Transfer, error] {
	return pages(func(token string) ([]*imgdv1.Transfer, string, error) {
		request := &imgdv1.ListTransfersRequest{States: states, PageToken: token}
		page, err := call(ctx, c, c.transfers.ListTransfers, request)
		return page.GetTransfers(), page.GetNextPageToken(), err
	})
}

// pages asks for the next page when it is needed. An empty page with a token is no end.
func pages[Item any](page func(token string) ([]Item, string, error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		token := ""
		for {
			items, next, err := page(token)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}
