// The Go client's conformance executable; see protos/imgd/conformance/v1/client.proto.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	imgd "imgd.dev/go"
	imgdv1 "imgd.dev/go/imgd/v1"
	pb "imgd.dev/go/internal/conformance/v1"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/durationpb"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	for {
		request := &pb.ClientRequest{}
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(input, request); err != nil {
			if errors.Is(err, io.EOF) {
				return
			}
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		response := &pb.ClientResponse{CaseName: request.GetCaseName(), Result: respond(request)}
		if _, err := protodelim.MarshalTo(os.Stdout, response); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func respond(request *pb.ClientRequest) *pb.Result {
	client, err := connect(request.GetConnection())
	if err != nil {
		return failed(err)
	}
	defer client.Close()
	return do(context.Background(), client, request.GetOperation())
}

func connect(connection *pb.Connection) (*imgd.Client, error) {
	options := []imgd.Option{imgd.WithAddress(connection.GetAddress())}
	if connection.GetToken() != "" {
		options = append(options, imgd.WithToken(connection.GetToken()))
	}
	if connection.GetTimeout() != nil {
		options = append(options, imgd.WithTimeout(connection.GetTimeout().AsDuration()))
	}
	if connection.GetPatience() != nil {
		options = append(options, imgd.WithPatience(connection.GetPatience().AsDuration()))
	}
	if wanted := connection.GetTls(); wanted != nil {
		config := &tls.Config{ServerName: wanted.GetServerName(), MinVersion: tls.VersionTLS12}
		if wanted.GetCaPem() != "" {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM([]byte(wanted.GetCaPem()))
		}
		if wanted.GetCertificatePem() != "" {
			pair, err := tls.X509KeyPair([]byte(wanted.GetCertificatePem()), []byte(wanted.GetKeyPem()))
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{pair}
		}
		options = append(options, imgd.WithTLS(config))
	}
	return imgd.New(options...)
}

// Classes in the order of trying: the particular ones first.
var classes = []struct {
	kind  error
	class pb.ErrorClass
}{
	{imgd.ErrUsage, pb.ErrorClass_ERROR_CLASS_USAGE},
	{imgd.ErrTransferFailed, pb.ErrorClass_ERROR_CLASS_TRANSFER_FAILED},
	{imgd.ErrInUse, pb.ErrorClass_ERROR_CLASS_IN_USE},
	{imgd.ErrCancelled, pb.ErrorClass_ERROR_CLASS_CANCELLED},
	{imgd.ErrInvalidArgument, pb.ErrorClass_ERROR_CLASS_INVALID_ARGUMENT},
	{imgd.ErrDeadlineExceeded, pb.ErrorClass_ERROR_CLASS_DEADLINE_EXCEEDED},
	{imgd.ErrNotFound, pb.ErrorClass_ERROR_CLASS_NOT_FOUND},
	{imgd.ErrAlreadyExists, pb.ErrorClass_ERROR_CLASS_ALREADY_EXISTS},
	{imgd.ErrPermissionDenied, pb.ErrorClass_ERROR_CLASS_PERMISSION_DENIED},
	{imgd.ErrResourceExhausted, pb.ErrorClass_ERROR_CLASS_RESOURCE_EXHAUSTED},
	{imgd.ErrFailedPrecondition, pb.ErrorClass_ERROR_CLASS_FAILED_PRECONDITION},
	{imgd.ErrAborted, pb.ErrorClass_ERROR_CLASS_ABORTED},
	{imgd.ErrOutOfRange, pb.ErrorClass_ERROR_CLASS_OUT_OF_RANGE},
	{imgd.ErrUnimplemented, pb.ErrorClass_ERROR_CLASS_UNIMPLEMENTED},
	{imgd.ErrInternal, pb.ErrorClass_ERROR_CLASS_INTERNAL},
	{imgd.ErrUnavailable, pb.ErrorClass_ERROR_CLASS_UNAVAILABLE},
	{imgd.ErrDataLoss, pb.ErrorClass_ERROR_CLASS_DATA_LOSS},
	{imgd.ErrUnauthenticated, pb.ErrorClass_ERROR_CLASS_UNAUTHENTICATED},
}

func describe(err error) *pb.Error {
	said := &pb.Error{Message: err.Error()}
	for _, one := range classes {
		if errors.Is(err, one.kind) {
			said.ErrorClass = one.class
			break
		}
	}
	var found *imgd.Error
	if !errors.As(err, &found) {
		return said
	}
	said.Reason, said.Metadata = found.Reason, found.Metadata
	for _, one := range found.Fields {
		said.Fields = append(said.Fields, one.Field)
	}
	for _, one := range found.Holders {
		said.Holders = append(said.Holders, one.Subject)
	}
	if found.ResourceType != "" {
		said.Resource = found.ResourceType + "/" + found.ResourceName
	}
	if found.RetryDelay >= 0 {
		said.RetryDelay = durationpb.New(found.RetryDelay)
	}
	return said
}

func failed(err error) *pb.Result { return &pb.Result{Result: &pb.Result_Error{Error: describe(err)}} }

func broken(err error) *pb.Result { return &pb.Result{Result: &pb.Result_Broken{Broken: err.Error()}} }

// do does one thing. Errors of the wrapper are results.
func do(ctx context.Context, client *imgd.Client, operation *pb.Operation) *pb.Result {
	found := &pb.Result{}
	var err error
	switch wanted := operation.GetOperation().(type) {
	case *pb.Operation_Pull:
		return pull(ctx, client, wanted.Pull)
	case *pb.Operation_Push:
		return push(ctx, client, wanted.Push)
	case *pb.Operation_Watch:
		return follow(client.Watch(ctx, wanted.Watch.GetTransfer(), 0), wanted.Watch.GetLeave(), nil)
	case *pb.Operation_Hold:
		return hold(ctx, client, wanted.Hold)
	case *pb.Operation_Save:
		return save(ctx, client, wanted.Save)
	case *pb.Operation_Load:
		return load(ctx, client, wanted.Load)
	case *pb.Operation_Events:
		return events(ctx, client, wanted.Events)
	case *pb.Operation_ListImages:
		list := &pb.Result_Images{}
		list.Images, err = some(client.ListImages(ctx, wanted.ListImages.GetRequest()), wanted.ListImages.GetStopAfter())
		found.Result = &pb.Result_Images_{Images: list}
	case *pb.Operation_ListContainers:
		list := &pb.Result_Containers{}
		list.Containers, err = some(
			client.Containers(ctx, wanted.ListContainers.GetRequest()), wanted.ListContainers.GetStopAfter())
		found.Result = &pb.Result_Containers_{Containers: list}
	case *pb.Operation_InspectImage:
		result := &pb.Result_Inspected{}
		result.Inspected, err = client.InspectImage(ctx, wanted.InspectImage.GetImage(), wanted.InspectImage.GetPlatform())
		found.Result = result
	case *pb.Operation_TagImage:
		result := &pb.Result_Tagged{}
		result.Tagged, err = client.TagImage(ctx, wanted.TagImage)
		found.Result = result
	case *pb.Operation_UntagImage:
		result := &pb.Result_Image{}
		result.Image, err = client.UntagImage(ctx, wanted.UntagImage.GetReference())
		found.Result = result
	case *pb.Operation_RemoveImage:
		result := &pb.Result_Removed{}
		result.Removed, err = client.RemoveImage(ctx, wanted.RemoveImage.GetImage(), wanted.RemoveImage.GetForce())
		found.Result = result
	case *pb.Operation_PruneImages:
		result := &pb.Result_Pruned{}
		result.Pruned, err = client.PruneImages(ctx, wanted.PruneImages)
		found.Result = result
	case *pb.Operation_GetImage:
		result := &pb.Result_Image{}
		result.Image, err = client.Image(ctx, wanted.GetImage.GetImage())
		found.Result = result
	case *pb.Operation_GetInfo:
		result := &pb.Result_Info{}
		result.Info, err = client.Info(ctx)
		found.Result = result
	case *pb.Operation_ListFiles:
		list := &pb.Result_Files{}
		for file, failure := range client.Files(ctx, wanted.ListFiles) {
			if err = failure; err == nil {
				list.Paths = append(list.Paths, file.GetPath())
			}
		}
		found.Result = &pb.Result_Files_{Files: list}
	case *pb.Operation_ReadFile:
		reader, failure := client.ReadFile(ctx, wanted.ReadFile)
		if failure != nil {
			return failed(failure)
		}
		return drain(reader, "", 0)
	default:
		found.Result = &pb.Result_Unsupported_{Unsupported: &pb.Result_Unsupported{}}
	}
	if err != nil {
		return failed(err)
	}
	return found
}

func some[Item any](items iter.Seq2[Item, error], count int32) ([]Item, error) {
	var found []Item
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		found = append(found, item)
		if len(found) == int(count) {
			break
		}
	}
	return found, nil
}

func pull(ctx context.Context, client *imgd.Client, wanted *pb.PullOperation) *pb.Result {
	request := wanted.GetRequest()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transfer, err := client.Pull(ctx, request.GetReference(), &imgd.PullOptions{
		Platforms: request.GetPlatforms().GetPlatforms(), AllPlatforms: request.GetPlatforms().GetAll(),
		Policy: request.GetPolicy(), Credentials: request.GetCredentials(), Unpack: request.GetUnpack(),
		Lease: request.GetLease(), Limits: request.GetLimits(), Detach: request.GetDetach(),
		RequestID: request.GetRequestId(),
	})
	if err != nil {
		return failed(err)
	}
	return follow(transfer, wanted.GetLeave(), cancel)
}

func push(ctx context.Context, client *imgd.Client, wanted *pb.PushOperation) *pb.Result {
	request := wanted.GetRequest()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transfer, err := client.Push(ctx, request.GetImage(), request.GetReference(), &imgd.PushOptions{
		Platforms: request.GetPlatforms().GetPlatforms(), Credentials: request.GetCredentials(),
		AllTags: request.GetAllTags(), IncludeReferrers: request.GetIncludeReferrers(),
		Limits: request.GetLimits(), Detach: request.GetDetach(),
	})
	if err != nil {
		return failed(err)
	}
	return follow(transfer, wanted.GetLeave(), cancel)
}

func follow(transfer *imgd.Transfer, leave *pb.Leave, cancel context.CancelFunc) *pb.Result {
	defer transfer.Close()
	seen := &pb.StreamResult{Rising: true}
	var last int64
	for event, err := range transfer.Events() {
		if err != nil {
			// Whoever cancels a context knows it.
			if !errors.Is(err, context.Canceled) {
				seen.Error = describe(err)
			}
			break
		}
		seen.Events++
		seen.Rising = seen.GetRising() && event.GetSequence() > last
		last = event.GetSequence()
		if event.GetSnapshot() != nil {
			seen.Snapshots++
		}
		if finished := event.GetFinished(); finished != nil {
			seen.Finished++
			seen.Transfer = finished.GetTransfer()
		}
		if seen.GetEvents() == int64(leave.GetAfterMessages()) {
			break
		}
		if seen.GetEvents() == int64(leave.GetCancelAfterMessages()) {
			go cancel()
		}
	}
	if seen.GetFinished() > 0 {
		if _, err := transfer.Wait(); err != nil {
			seen.Error = describe(err)
		}
	}
	return &pb.Result{Result: &pb.Result_Stream{Stream: seen}}
}

func hold(ctx context.Context, client *imgd.Client, wanted *pb.HoldOperation) *pb.Result {
	var held *imgd.Hold
	var err error
	if lease := wanted.GetLease(); lease != nil {
		held, err = client.HoldLease(ctx, lease)
	} else {
		held, err = client.HoldContainer(ctx, wanted.GetContainer())
	}
	if err != nil {
		return failed(err)
	}
	said := &pb.HoldResult{Name: held.Name()}
	func() {
		defer func() { _ = recover() }()
		defer func() {
			if err := held.Close(); err != nil {
				said.Error = describe(err)
			}
		}()
		for _, operation := range wanted.GetInside() {
			said.Inside = append(said.Inside, do(ctx, client, operation))
		}
		if wanted.GetLeaveByError() {
			panic("the program's own error")
		}
	}()
	return &pb.Result{Result: &pb.Result_Hold{Hold: said}}
}

func save(ctx context.Context, client *imgd.Client, wanted *pb.SaveOperation) *pb.Result {
	reader, err := client.SaveImages(ctx, wanted.GetRequest())
	if err != nil {
		return failed(err)
	}
	return drain(reader, wanted.GetPath(), wanted.GetLeave().GetAfterMessages())
}

// drain reads bytes, all of them or so many pieces, into a file or nowhere.
func drain(reader io.ReadCloser, path string, count int32) *pb.Result {
	defer reader.Close()
	hash := sha256.New()
	sink := io.Writer(hash)
	if path != "" {
		file, err := os.Create(path)
		if err != nil {
			return broken(err)
		}
		defer file.Close()
		sink = io.MultiWriter(file, hash)
	}
	found := &pb.BytesResult{}
	buffer := make([]byte, 64<<10)
	for pieces := int32(1); ; pieces++ {
		read, err := reader.Read(buffer)
		found.Size += int64(read)
		if _, err := sink.Write(buffer[:read]); err != nil {
			return broken(err)
		}
		if err == io.EOF || pieces == count {
			break
		}
		if err != nil {
			return failed(err)
		}
	}
	found.Sha256 = hex.EncodeToString(hash.Sum(nil))
	return &pb.Result{Result: &pb.Result_Bytes{Bytes: found}}
}

var errAbandoned = errors.New("the program's own error")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errAbandoned }

func load(ctx context.Context, client *imgd.Client, wanted *pb.LoadOperation) *pb.Result {
	file, err := os.Open(wanted.GetPath())
	if err != nil {
		return broken(err)
	}
	defer file.Close()
	archive := io.Reader(file)
	if limit := wanted.GetAbandonAfterBytes(); limit > 0 {
		archive = io.MultiReader(io.LimitReader(file, limit), failing{})
	}
	response, err := client.LoadImages(ctx, wanted.GetRequest(), archive)
	if errors.Is(err, errAbandoned) {
		size := &pb.BytesResult{Size: wanted.GetAbandonAfterBytes()}
		return &pb.Result{Result: &pb.Result_Bytes{Bytes: size}}
	}
	if err != nil {
		return failed(err)
	}
	return &pb.Result{Result: &pb.Result_Loaded{Loaded: response}}
}

func events(ctx context.Context, client *imgd.Client, wanted *pb.EventsOperation) *pb.Result {
	stream, err := client.WatchEvents(ctx, wanted.GetRequest())
	if err != nil {
		return failed(err)
	}
	defer stream.Close()
	if wanted.GetOnceListening() != nil {
		do(ctx, client, wanted.GetOnceListening())
	}
	var found []*imgdv1.StoreEvent
	if found, err = some(stream.All(), wanted.GetCount()); err != nil {
		return failed(err)
	}
	return &pb.Result{Result: &pb.Result_Events_{Events: &pb.Result_Events{Events: found}}}
}
