// Package imgd is the Go client of imgd, a container image daemon: pull images over gRPC with progress
// that survives lost connections, list, tag, hold, remove, save and load them.
//
//	client, err := imgd.New()
//	…
//	pull, err := client.Pull(ctx, "redis:7", nil)
//	…
//	defer pull.Close()
//	for event, err := range pull.Events() {
//		…
//	}
//	transfer, err := pull.Wait()
//
// Methods take and return the messages of imgd.dev/go/imgd/v1. Every failure is an *[Error]; match it with
// [errors.Is] against ErrNotFound and its siblings, or on its Reason, and never on its text.
package imgd
