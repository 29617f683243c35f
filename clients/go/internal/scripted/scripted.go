// Package scripted is a daemon for tests: it says what it is told to say, on a socket.
package scripted

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Net is for what never comes, far above what anything here takes.
const Net = time.Minute

// Daemon answers transfers, leases, lists of images and archives.
type Daemon struct {
	imgdv1.UnimplementedTransferServiceServer
	imgdv1.UnimplementedLeaseServiceServer
	imgdv1.UnimplementedImageServiceServer
	imgdv1.UnimplementedArchiveServiceServer

	// Address is where it listens.
	Address string
	// Events are what a watch is told. Unless the last is the end, it then waits until the watcher leaves.
	Events []*imgdv1.TransferEvent
	// Cancelled gets the name of each transfer that is cancelled.
	Cancelled chan string
	// Left gets a value for each watch that was left.
	Left chan struct{}
	// Deleted gets the name of each lease that is given back.
	Deleted chan string
	// Renewals is what renewing a lease is answered; nil for well.
	Renewals error

	mutex   sync.Mutex
	started []*imgdv1.StartTransferRequest
}

// Start listens until the test ends.
func Start(t *testing.T, events ...*imgdv1.TransferEvent) *Daemon {
	t.Helper()
	daemon := &Daemon{
		Events: events, Cancelled: make(chan string, 100), Left: make(chan struct{}, 100),
		Deleted: make(chan string, 100),
	}
	path := filepath.Join(t.TempDir(), "d.sock")
	daemon.Address = "unix:" + path
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	imgdv1.RegisterTransferServiceServer(server, daemon)
	imgdv1.RegisterLeaseServiceServer(server, daemon)
	imgdv1.RegisterImageServiceServer(server, daemon)
	imgdv1.RegisterArchiveServiceServer(server, daemon)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return daemon
}

// Requests are the transfers that were asked for.
func (d *Daemon) Requests() []*imgdv1.StartTransferRequest {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return append([]*imgdv1.StartTransferRequest(nil), d.started...)
}

// StartTransfer accepts.
func (d *Daemon) StartTransfer(
	_ context.Context, request *imgdv1.StartTransferRequest,
) (*imgdv1.StartTransferResponse, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.started = append(d.started, request)
	return &imgdv1.StartTransferResponse{Transfer: &imgdv1.Transfer{Name: "transfers/a"}}, nil
}

// WatchTransfer says its events.
func (d *Daemon) WatchTransfer(
	_ *imgdv1.WatchTransferRequest, stream grpc.ServerStreamingServer[imgdv1.WatchTransferResponse],
) error {
	for _, event := range d.Events {
		if err := stream.Send(&imgdv1.WatchTransferResponse{Event: event}); err != nil {
			return err
		}
		if event.GetFinished() != nil {
			return nil
		}
	}
	<-stream.Context().Done()
	d.Left <- struct{}{}
	return stream.Context().Err()
}

// CancelTransfer notes it.
func (d *Daemon) CancelTransfer(
	_ context.Context, request *imgdv1.CancelTransferRequest,
) (*imgdv1.CancelTransferResponse, error) {
	d.Cancelled <- request.GetName()
	return &imgdv1.CancelTransferResponse{}, nil
}

// CreateLease takes one.
func (d *Daemon) CreateLease(
	_ context.Context, request *imgdv1.CreateLeaseRequest,
) (*imgdv1.CreateLeaseResponse, error) {
	return &imgdv1.CreateLeaseResponse{Lease: &imgdv1.Lease{Name: "leases/" + request.GetLeaseId()}}, nil
}

// RenewLease says what it is told to.
func (d *Daemon) RenewLease(
	_ context.Context, request *imgdv1.RenewLeaseRequest,
) (*imgdv1.RenewLeaseResponse, error) {
	return &imgdv1.RenewLeaseResponse{Lease: &imgdv1.Lease{Name: request.GetName()}}, d.Renewals
}

// DeleteLease notes it.
func (d *Daemon) DeleteLease(
	_ context.Context, request *imgdv1.DeleteLeaseRequest,
) (*imgdv1.DeleteLeaseResponse, error) {
	d.Deleted <- request.GetName()
	return &imgdv1.DeleteLeaseResponse{}, nil
}

// ListImages has one.
func (d *Daemon) ListImages(
	context.Context, *imgdv1.ListImagesRequest,
) (*imgdv1.ListImagesResponse, error) {
	image := &imgdv1.Image{Name: "images/a", Tags: []string{"docker.io/library/redis:7"}}
	return &imgdv1.ListImagesResponse{Images: []*imgdv1.Image{image}}, nil
}

// LoadImages reads an archive to its end, and finds as many images in it as it has bytes.
func (d *Daemon) LoadImages(
	stream grpc.ClientStreamingServer[imgdv1.LoadImagesRequest, imgdv1.LoadImagesResponse],
) error {
	response := &imgdv1.LoadImagesResponse{}
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(response)
		}
		if err != nil {
			return err
		}
		for range request.GetData() {
			response.Images = append(response.Images, &imgdv1.Image{})
		}
	}
}

// Snapshot is the first event of a watch.
func Snapshot(sequence int64) *imgdv1.TransferEvent {
	snapshot := &imgdv1.TransferSnapshot{Transfer: &imgdv1.Transfer{Name: "transfers/a"}}
	return &imgdv1.TransferEvent{
		Sequence: sequence, Event: &imgdv1.TransferEvent_Snapshot{Snapshot: snapshot},
	}
}

// Finished is the last event of a watch.
func Finished(sequence int64, state imgdv1.TransferState) *imgdv1.TransferEvent {
	transfer := &imgdv1.Transfer{Name: "transfers/a", State: state, Outcome: &imgdv1.TransferOutcome{
		Target: &imgdv1.Descriptor{Digest: "sha256:abc"},
	}}
	return &imgdv1.TransferEvent{Sequence: sequence, Event: &imgdv1.TransferEvent_Finished{
		Finished: &imgdv1.TransferFinished{Transfer: transfer},
	}}
}

// NotFound is what the daemon says of what is gone.
func NotFound() error { return status.Error(codes.NotFound, "gone") }

// Get waits for a value.
func Get[Value any](t *testing.T, from <-chan Value) Value {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(Net):
		t.Fatal("it never came")
		panic("unreachable")
	}
}
