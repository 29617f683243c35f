package imgd

import (
	"context"
	"io"
	"iter"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Events is what happens in the store. It is not for several goroutines.
type Events struct {
	stream  attached[*imgdv1.WatchEventsResponse]
	cancel  context.CancelFunc
	cursor  int64
	seen    int64
	waiting []*imgdv1.StoreEvent
}

// WatchEvents listens to what happens in the store, from now on if the request says nothing else. It listens
// when it returns, and attaches again behind the last event when the daemon was away.
func (c *Client) WatchEvents(ctx context.Context, request *imgdv1.WatchEventsRequest) (*Events, error) {
	found := &Events{cursor: -1, seen: request.GetAfterCursor()}
	ctx, found.cancel = c.within(ctx)
	found.stream = attached[*imgdv1.WatchEventsResponse]{
		ctx: ctx, endsWell: true, wait: patience{limit: c.patience},
		attach: func(ctx context.Context) (receiver[*imgdv1.WatchEventsResponse], error) {
			wanted := clone(request)
			if found.cursor >= 0 {
				wanted.AfterCursor, wanted.Since = found.cursor, nil
			}
			if found.cursor == 0 {
				// 0 alone would mean from now on, and something may have happened meanwhile.
				if wanted.Since = request.GetSince(); wanted.Since == nil {
					wanted.Since = &timestamppb.Timestamp{}
				}
			}
			return c.events.WatchEvents(ctx, wanted)
		},
	}
	// The first message comes at once, and says where the history stands.
	if err := found.receive(); err != nil && err != io.EOF {
		found.cancel()
		return nil, err
	}
	return found, nil
}

func (e *Events) receive() error {
	response, err := e.stream.next()
	if err != nil {
		return err
	}
	e.cursor = response.GetCursor()
	e.waiting = append(e.waiting, response.GetEvents()...)
	return nil
}

// Cursor is what AfterCursor of another request goes on behind: the last event that was handed out.
func (e *Events) Cursor() int64 {
	if len(e.waiting) > 0 {
		return e.seen
	}
	return max(e.cursor, e.seen)
}

// All are the events. An error is the last item.
func (e *Events) All() iter.Seq2[*imgdv1.StoreEvent, error] {
	return func(yield func(*imgdv1.StoreEvent, error) bool) {
		for {
			for len(e.waiting) > 0 {
				event := e.waiting[0]
				e.waiting = e.waiting[1:]
				e.seen = event.GetCursor()
				if !yield(event, nil) {
					return
				}
			}
			if err := e.receive(); err != nil {
				if err != io.EOF {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// Close stops listening.
func (e *Events) Close() error {
	e.cancel()
	return nil
}
