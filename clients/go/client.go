package imgd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	imgdv1 "imgd.dev/go/imgd/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
)

const (
	// Longer than any call takes that answers once and does not wait for a disk or a registry.
	defaultTimeout = 30 * time.Second
	// How long a daemon may take to come back, an update of the machine included.
	defaultPatience = 60 * time.Second
	// Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
	maxReceive = 16 << 20
	// How long a client waits for the daemon to hear that a pull was left, or a hold given back.
	parting = 5 * time.Second
)

// Calls that may be sent twice: they read, are idempotent, or carry a request ID that makes the second one
// find the first one's result (this package always sends one with what starts or creates). The waits bridge a
// restart's moment only: somebody waits for the answer, and a daemon that is not there should be said to be
// not there.
const serviceConfig = `{"methodConfig": [{
	"name": [
		{"service": "imgd.v1.ImageService", "method": "ListImages"},
		{"service": "imgd.v1.ImageService", "method": "GetImage"},
		{"service": "imgd.v1.ImageService", "method": "InspectImage"},
		{"service": "imgd.v1.ImageService", "method": "GetImageHistory"},
		{"service": "imgd.v1.ImageService", "method": "ParseReference"},
		{"service": "imgd.v1.ImageService", "method": "PinImage"},
		{"service": "imgd.v1.ImageService", "method": "UnpinImage"},
		{"service": "imgd.v1.ContainerService", "method": "CreateContainer"},
		{"service": "imgd.v1.ContainerService", "method": "GetContainer"},
		{"service": "imgd.v1.ContainerService", "method": "ListContainers"},
		{"service": "imgd.v1.ContainerService", "method": "StartContainer"},
		{"service": "imgd.v1.ContainerService", "method": "PauseContainer"},
		{"service": "imgd.v1.ContainerService", "method": "StopContainer"},
		{"service": "imgd.v1.ContainerService", "method": "HeartbeatContainer"},
		{"service": "imgd.v1.LeaseService"},
		{"service": "imgd.v1.FilesystemService", "method": "ListFiles"},
		{"service": "imgd.v1.FilesystemService", "method": "GetFile"},
		{"service": "imgd.v1.FilesystemService", "method": "ListLayers"},
		{"service": "imgd.v1.TransferService", "method": "GetTransfer"},
		{"service": "imgd.v1.TransferService", "method": "ListTransfers"},
		{"service": "imgd.v1.TransferService", "method": "StartTransfer"},
		{"service": "imgd.v1.TransferService", "method": "CancelTransfer"},
		{"service": "imgd.v1.SystemService", "method": "GetInfo"},
		{"service": "imgd.v1.SystemService", "method": "GetCapabilities"},
		{"service": "imgd.v1.SystemService", "method": "GetDiskUsage"}
	],
	"retryPolicy": {
		"maxAttempts": 3,
		"initialBackoff": "0.1s",
		"maxBackoff": "0.5s",
		"backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

type options struct {
	address  string
	timeout  time.Duration
	patience time.Duration
	tls      *tls.Config
	token    string
}

// Option says how a [Client] is made.
type Option func(*options)

// WithAddress names the daemon: unix:PATH, unix:///PATH or HOST:PORT. The default is [DefaultAddress].
func WithAddress(address string) Option { return func(o *options) { o.address = address } }

// WithTimeout bounds each call that answers once and whose context has no deadline: 30 s if nothing is said,
// 0 for no bound. Prune and what else waits for a disk have no bound of their own.
func WithTimeout(timeout time.Duration) Option { return func(o *options) { o.timeout = timeout } }

// WithPatience says for how long a watch that lost the daemon tries to attach again: 60 s if nothing is said.
func WithPatience(patience time.Duration) Option { return func(o *options) { o.patience = patience } }

// WithTLS speaks TLS with the daemon; certificates in the config make it mutual.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config.Clone() } }

// WithToken sends a bearer token with each call; without TLS on this machine only.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// Client is a connection to the daemon. Its methods may be called from any goroutine.
type Client struct {
	conn     *grpc.ClientConn
	timeout  time.Duration
	patience time.Duration

	// Over when the client is closed.
	closing context.Context
	end     context.CancelFunc

	mutex sync.Mutex
	// What ends with the client: transfers that are their caller's own, and holds.
	owned map[leaver]struct{}

	images     imgdv1.ImageServiceClient
	containers imgdv1.ContainerServiceClient
	leases     imgdv1.LeaseServiceClient
	transfers  imgdv1.TransferServiceClient
	archives   imgdv1.ArchiveServiceClient
	files      imgdv1.FilesystemServiceClient
	events     imgdv1.EventServiceClient
	registries imgdv1.RegistryServiceClient
	system     imgdv1.SystemServiceClient
}

// New makes a client. It connects at its first use. It fails with [ErrUsage] where the address is malformed,
// or a token would leave this machine in clear text.
func New(opts ...Option) (*Client, error) {
	chosen := options{timeout: defaultTimeout, patience: defaultPatience}
	for _, option := range opts {
		option(&chosen)
	}
	if chosen.address == "" {
		address, err := DefaultAddress()
		if err != nil {
			return nil, err
		}
		chosen.address = address
	}
	where, err := target(chosen.address)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if chosen.tls != nil {
		transport = credentials.NewTLS(chosen.tls)
	}
	client := &Client{timeout: chosen.timeout, patience: chosen.patience, owned: map[leaver]struct{}{}}
	client.closing, client.end = context.WithCancel(context.Background())
	dialing := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUnaryInterceptor(client.unary),
		grpc.WithStreamInterceptor(client.streaming),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		// gRPC servers close a connection that pings more often than every five minutes; the daemon permits
		// more, proxies before it may not. Watches need no pings: the daemon sends heartbeats.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Minute, Timeout: 20 * time.Second}),
		// A daemon that comes back is found soon; gRPC's own longest wait is two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// The daemon is on this machine or beside it, never behind the way to the web.
		grpc.WithNoProxy(),
	}
	if chosen.token != "" {
		if strings.ContainsFunc(chosen.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, usage("a token is printable ASCII without spaces")
		}
		if chosen.tls == nil && !isHere(where) {
			return nil, usage("a token is not sent to %s in clear text: speak TLS", chosen.address)
		}
		dialing = append(dialing, grpc.WithPerRPCCredentials(bearer{chosen.token, chosen.tls != nil}))
	}
	conn, err := grpc.NewClient(where, dialing...)
	if err != nil {
		return nil, usage("%v", err)
	}
	client.conn = conn
	client.images = imgdv1.NewImageServiceClient(conn)
	client.containers = imgdv1.NewContainerServiceClient(conn)
	client.leases = imgdv1.NewLeaseServiceClient(conn)
	client.transfers = imgdv1.NewTransferServiceClient(conn)
	client.archives = imgdv1.NewArchiveServiceClient(conn)
	client.files = imgdv1.NewFilesystemServiceClient(conn)
	client.events = imgdv1.NewEventServiceClient(conn)
	client.registries = imgdv1.NewRegistryServiceClient(conn)
	client.system = imgdv1.NewSystemServiceClient(conn)
	return client, nil
}

// Conn is the gRPC connection, for services and methods that this package has no words for.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// leaver is what has to be told to the daemon when it is left.
type leaver interface{ leave() error }

func (c *Client) own(one leaver) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.owned[one] = struct{}{}
}

func (c *Client) disown(one leaver) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.owned, one)
}

// Close cancels the pulls that are this client's, gives its holds back and ends the connection, and with it
// every stream. A call after it fails with [ErrUsage].
func (c *Client) Close() error {
	c.mutex.Lock()
	left := slices.Collect(maps.Keys(c.owned))
	c.mutex.Unlock()
	for _, one := range left {
		_ = one.leave()
	}
	c.end()
	return c.conn.Close()
}

var errClosed = usage("this client is closed: make another")

// unary refuses calls of a client that is closed, which gRPC would take for cancelled ones.
func (c *Client) unary(
	ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if c.closing.Err() != nil {
		return errClosed
	}
	return invoke(ctx, method, request, response, conn, options...)
}

// streaming is unary for streams.
func (c *Client) streaming(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	start grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if c.closing.Err() != nil {
		return nil, errClosed
	}
	return start(ctx, description, conn, method, options...)
}

// within is a context that also ends with the client: what attaches again would take its end for a lost connection.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.closing, cancel)
	context.AfterFunc(ctx, func() { stop() })
	return ctx, cancel
}

// call makes a call that answers once, within the client's timeout where the context has no deadline.
func call[Request, Response any](
	ctx context.Context,
	c *Client,
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (Response, error) {
	if _, has := ctx.Deadline(); !has && c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	response, err := method(ctx, request)
	return response, wrap(err)
}

// part does something that the daemon should hear even where the caller's context is over.
func (c *Client) part(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	return do(ctx)
}

// clone is a request that may be written to: the caller's own may be sent again. Nil asks for nothing special.
func clone[Message any, Request interface {
	*Message
	proto.Message
}](request Request) Request {
	if request == nil {
		return new(Message)
	}
	return proto.CloneOf(request)
}

// requestID makes a call safe to be sent twice.
func requestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // It never fails.
	return hex.EncodeToString(id[:])
}

// bearer sends a token (RFC 6750).
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }
