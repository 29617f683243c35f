package imgd_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	imgd "imgd.dev/go"
	imgdv1 "imgd.dev/go/imgd/v1"
	"imgd.dev/go/internal/scripted"

	"google.golang.org/protobuf/types/known/durationpb"
)

const succeeded = imgdv1.TransferState_TRANSFER_STATE_SUCCEEDED

func connect(t *testing.T, daemon *scripted.Daemon) *imgd.Client {
	t.Helper()
	client, err := imgd.New(imgd.WithAddress(daemon.Address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func pull(t *testing.T, ctx context.Context, client *imgd.Client, options *imgd.PullOptions) *imgd.Transfer {
	t.Helper()
	found, err := client.Pull(ctx, "redis:7", options)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheEndOfTheContextCancelsThePull(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	ctx, cancel := context.WithCancel(context.Background())
	found := pull(t, ctx, connect(t, daemon), nil)
	// Nobody reads it, and nobody closes it.
	cancel()
	if name := scripted.Get(t, daemon.Cancelled); name != found.Name() {
		t.Errorf("cancelled %s", name)
	}
	if _, err := found.Wait(); !errors.Is(err, imgd.ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
}

func TestClosingTheClientCancelsItsPulls(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	pull(t, context.Background(), client, nil)
	detached := pull(t, context.Background(), client, &imgd.PullOptions{Detach: true})
	detached.Detach()
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	scripted.Get(t, daemon.Cancelled)
	if len(daemon.Cancelled) != 0 {
		t.Error("the detached one was cancelled, too")
	}
}

func TestWhoeverClosesSecondWaits(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	found := pull(t, context.Background(), client, nil)
	var closing sync.WaitGroup
	for range 8 {
		closing.Add(1)
		go func() {
			defer closing.Done()
			_ = found.Close()
			if len(daemon.Cancelled) != 1 {
				t.Errorf("%d cancellations when Close returned", len(daemon.Cancelled))
			}
		}()
	}
	closing.Wait()
}

func TestALoopMayBeLeftAndEnteredAgain(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1), scripted.Finished(2, succeeded))
	found := pull(t, context.Background(), connect(t, daemon), nil)
	defer found.Close()
	for range found.Events() {
		break
	}
	if record, err := found.Wait(); err != nil || record.GetState() != succeeded {
		t.Fatal(record, err)
	}
	for event := range found.Events() {
		t.Errorf("after the end: %v", event)
	}
	if err := found.Close(); err != nil || len(daemon.Cancelled) != 0 {
		t.Error("a transfer that has ended was cancelled", err)
	}
}

func TestLeavingAWatchCancelsNothing(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	watch := client.Watch(context.Background(), "transfers/a", time.Second)
	for _, err := range watch.Events() {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := watch.Close(); err != nil {
		t.Fatal(err)
	}
	scripted.Get(t, daemon.Left)
	if len(daemon.Cancelled) != 0 {
		t.Error("it was cancelled")
	}
}

func TestClosingTheClientEndsWatches(t *testing.T) {
	client := connect(t, scripted.Start(t, scripted.Snapshot(1)))
	begun := time.Now()
	watch := client.Watch(context.Background(), "transfers/a", 0)
	for event, err := range watch.Events() {
		if event != nil {
			_ = client.Close()
		} else if !errors.Is(err, imgd.ErrCancelled) {
			t.Error(err)
		}
	}
	// It would try to attach again for that long.
	if time.Since(begun) > scripted.Net {
		t.Error("the watch went on")
	}
}

func TestAClosedClientSaysSo(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	ctx := context.Background()
	for range 2 {
		_ = client.Close()
	}
	for name, use := range map[string]func() error{
		"pull":  func() error { _, err := client.Pull(ctx, "redis:7", nil); return err },
		"watch": func() error { _, err := client.Watch(ctx, "transfers/a", 0).Wait(); return err },
		"look":  func() error { _, err := client.Image(ctx, "redis:7"); return err },
		"prune": func() error { _, err := client.PruneImages(ctx, nil); return err },
		"list": func() error {
			for _, err := range client.Images(ctx) {
				return err
			}
			return nil
		},
		"listen": func() error { _, err := client.WatchEvents(ctx, nil); return err },
		"hold":   func() error { _, err := client.HoldLease(ctx, nil); return err },
		"save":   func() error { _, err := client.SaveImages(ctx, nil); return err },
		"load":   func() error { _, err := client.LoadImages(ctx, nil, strings.NewReader("abc")); return err },
	} {
		if err := use(); !errors.Is(err, imgd.ErrUsage) || errors.Is(err, imgd.ErrCancelled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(daemon.Requests()) != 0 {
		t.Error("the daemon was called")
	}
}

func TestEachPullHasARequestIDOfItsOwn(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	pull(t, context.Background(), client, nil)
	pull(t, context.Background(), client, nil)
	pull(t, context.Background(), client, &imgd.PullOptions{RequestID: "mine"})
	requests := daemon.Requests()
	first, second := requests[0].GetRequestId(), requests[1].GetRequestId()
	if first == "" || first == second || requests[2].GetRequestId() != "mine" {
		t.Errorf("request IDs %q, %q, %q", first, second, requests[2].GetRequestId())
	}
}

func TestARequestMayBeStartedAgain(t *testing.T) {
	daemon := scripted.Start(t, scripted.Snapshot(1))
	client := connect(t, daemon)
	request := &imgdv1.StartTransferRequest{}
	for range 2 {
		if _, err := client.Start(context.Background(), request, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	requests := daemon.Requests()
	if request.GetRequestId() != "" || requests[0].GetRequestId() == requests[1].GetRequestId() {
		t.Errorf("request IDs %q, %q", requests[0].GetRequestId(), requests[1].GetRequestId())
	}
}

func TestAnArchiveThatIsCutShortIsNotLoaded(t *testing.T) {
	client := connect(t, scripted.Start(t))
	cut := io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF))
	found, err := client.LoadImages(context.Background(), nil, cut)
	if err != io.ErrUnexpectedEOF {
		t.Error(found, err)
	}
	whole := iotest.DataErrReader(iotest.OneByteReader(strings.NewReader("abc")))
	if found, err = client.LoadImages(context.Background(), nil, whole); len(found.GetImages()) != 3 {
		t.Error(found, err)
	}
}

func TestAHoldThatIsLostSaysSo(t *testing.T) {
	daemon := scripted.Start(t)
	daemon.Renewals = scripted.NotFound()
	client := connect(t, daemon)
	request := &imgdv1.CreateLeaseRequest{LeaseId: "x", Ttl: durationpb.New(time.Millisecond)}
	hold, err := client.HoldLease(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(scripted.Net); hold.Lost() == nil && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if !errors.Is(hold.Lost(), imgd.ErrNotFound) || !errors.Is(hold.Close(), imgd.ErrNotFound) {
		t.Errorf("lost %v, close %v", hold.Lost(), hold.Close())
	}
}

func TestAHoldIsGivenBackThoughItsContextIsOver(t *testing.T) {
	daemon := scripted.Start(t)
	client := connect(t, daemon)
	ctx, cancel := context.WithCancel(context.Background())
	hold, err := client.HoldLease(ctx, &imgdv1.CreateLeaseRequest{LeaseId: "x"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if name := scripted.Get(t, daemon.Deleted); name != "leases/x" {
		t.Errorf("deleted %s", name)
	}
}

func TestATransferThatFailedIsAnErrorOfItsOwn(t *testing.T) {
	daemon := scripted.Start(t, scripted.Finished(1, imgdv1.TransferState_TRANSFER_STATE_FAILED))
	_, err := pull(t, context.Background(), connect(t, daemon), nil).Wait()
	var said *imgd.Error
	if !errors.As(err, &said) || said.Transfer == nil || !errors.Is(err, imgd.ErrTransferFailed) {
		t.Fatal(err)
	}
	if errors.Is(err, imgd.ErrInternal) {
		t.Error("it is a failed call, too")
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{
		"", "x", "unix:", "unix://x", "http://127.0.0.1:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536",
		"::1:80", "a b:1", "127.0.0.1:1\n", "unix:/" + strings.Repeat("x", 107),
	} {
		t.Setenv("IMGD_ADDRESS", address)
		if _, err := imgd.New(); address != "" && !errors.Is(err, imgd.ErrUsage) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"unix:/x", "unix:///x", "unix:x", "127.0.0.1:1", "[::1]:1", "host:65535"} {
		client, err := imgd.New(imgd.WithAddress(address))
		if err != nil {
			t.Fatalf("%q: %v", address, err)
		}
		_ = client.Close()
	}
	for _, token := range []string{"two words", "line\n", "umläut"} {
		if _, err := imgd.New(imgd.WithAddress("unix:/x"), imgd.WithToken(token)); !errors.Is(err, imgd.ErrUsage) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestTheReadmesExampleIsTheOneThatRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("examples/pull/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(example)+"```\n") {
		t.Error("README.md does not show examples/pull/main.go as it is")
	}
}
