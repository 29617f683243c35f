package imgd

import (
	"context"
	"errors"
	"io"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/grpc"
)

// A message stays below 1 MiB with its framing.
const chunk = 1<<20 - 1024

// SaveImages returns images as one archive, an OCI image layout and docker's at once. What is read before an
// error is no archive. Closing it early ends the transfer.
func (c *Client) SaveImages(ctx context.Context, request *imgdv1.SaveImagesRequest) (io.ReadCloser, error) {
	return open(ctx, c.archives.SaveImages, request)
}

// ReadFile returns a file of an image, without unpacking it.
func (c *Client) ReadFile(ctx context.Context, request *imgdv1.ReadFileRequest) (io.ReadCloser, error) {
	return open(ctx, c.files.ReadFile, request)
}

// ExportContainer returns a container's merged root file system as a tar.
func (c *Client) ExportContainer(ctx context.Context, container string) (io.ReadCloser, error) {
	return open(ctx, c.archives.ExportContainer, &imgdv1.ExportContainerRequest{Container: container})
}

// LoadImages loads the images of an archive, all or none. The request says which platforms and what names; its
// data stays empty. An error of the archive's reader is returned as it is.
func (c *Client) LoadImages(
	ctx context.Context, request *imgdv1.LoadImagesRequest, archive io.Reader,
) (*imgdv1.LoadImagesResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.archives.LoadImages(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	first := clone(request)
	return send(stream, archive, func(data []byte) *imgdv1.LoadImagesRequest {
		message := first
		first = &imgdv1.LoadImagesRequest{}
		message.Data = data
		return message
	})
}

// ImportImage makes an image of one layer from a root file system's tar. The request's data stays empty.
func (c *Client) ImportImage(
	ctx context.Context, request *imgdv1.ImportImageRequest, archive io.Reader,
) (*imgdv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.archives.ImportImage(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	first := clone(request)
	response, err := send(stream, archive, func(data []byte) *imgdv1.ImportImageRequest {
		message := first
		first = &imgdv1.ImportImageRequest{}
		message.Data = data
		return message
	})
	return response.GetImage(), err
}

// send streams what a reader has, and returns the daemon's answer. The caller's context ends the call where the
// reader fails.
func send[Request, Response any](
	stream grpc.ClientStreamingClient[Request, Response], archive io.Reader, message func([]byte) *Request,
) (*Response, error) {
	for buffer, first := make([]byte, chunk), true; ; first = false {
		count, failure := fill(buffer, archive)
		if count > 0 || first {
			// gRPC has encoded it when Send returns. The daemon may have answered already: the answer says why.
			if err := stream.Send(message(buffer[:count])); err != nil {
				break
			}
		}
		if failure == io.EOF {
			break
		}
		if failure != nil {
			return nil, failure
		}
	}
	response, err := stream.CloseAndRecv()
	return response, wrap(err)
}

// fill reads until the buffer is full, or the reader has no more. It is not [io.ReadFull], which makes one of two
// ends: a reader says [io.ErrUnexpectedEOF] itself where what it unpacks or downloads is cut short.
func fill(buffer []byte, from io.Reader) (count int, err error) {
	for count < len(buffer) && err == nil {
		var more int
		more, err = from.Read(buffer[count:])
		count += more
	}
	return count, err
}

// dataMessage is a message of a stream of bytes.
type dataMessage interface{ GetData() []byte }

// open starts a stream of bytes, and waits for its first message, so that what is refused is refused here.
func open[Request any, Response any, Data interface {
	*Response
	dataMessage
}](
	ctx context.Context,
	method func(context.Context, Request, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error),
	request Request,
) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := method(ctx, request)
	if err != nil {
		cancel()
		return nil, wrap(err)
	}
	reader := &bytesReader{cancel: cancel, next: func() ([]byte, error) {
		message, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return Data(message).GetData(), nil
	}}
	if reader.rest, err = reader.next(); err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, wrap(err)
	}
	reader.err = err
	return reader, nil
}

type bytesReader struct {
	next   func() ([]byte, error)
	cancel context.CancelFunc
	rest   []byte
	err    error
}

// Read reads what came, or waits for more.
func (r *bytesReader) Read(into []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.rest, r.err = r.next(); r.err != nil && !errors.Is(r.err, io.EOF) {
			r.err = wrap(r.err)
		}
	}
	count := copy(into, r.rest)
	r.rest = r.rest[count:]
	return count, nil
}

// Close ends the stream.
func (r *bytesReader) Close() error {
	r.cancel()
	return nil
}
