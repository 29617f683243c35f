package dev.imgd.client;

import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ConnectivityState;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollIoHandler;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** The channel to a daemon, how calls are made over it, and what ends with it. Thread-safe. */
final class Connection implements AutoCloseable {
  /** For how long a daemon may take to hear that a transfer was left, or a hold given back. */
  static final Duration PARTING = Duration.ofSeconds(5);

  // Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
  private static final int MAX_RECEIVE = 16 << 20;

  /** What has to end before the channel does. */
  interface Leaver {
    /** Begins to end it, and returns what the daemon says of that. It may be called again. */
    CompletableFuture<?> end();
  }

  final Duration patience;
  final ScheduledThreadPoolExecutor timer;
  private final ManagedChannel channel;
  private final MultiThreadIoEventLoopGroup loop;
  private final Duration timeout;
  private final Set<Leaver> open = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  Connection(
      Address address,
      ChannelCredentials credentials,
      String serverName,
      String token,
      Duration timeout,
      Duration patience) {
    this.timeout = timeout;
    this.patience = patience;
    ChannelCredentials chosen =
        credentials == null ? InsecureChannelCredentials.create() : credentials;
    NettyChannelBuilder builder;
    if (address.socket() == null) {
      loop = null;
      builder = NettyChannelBuilder.forTarget(address.target(), chosen);
    } else {
      loop = new MultiThreadIoEventLoopGroup(1, Connection::daemon, EpollIoHandler.newFactory());
      builder =
          NettyChannelBuilder.forAddress(new DomainSocketAddress(address.socket()), chosen)
              .channelType(EpollDomainSocketChannel.class, DomainSocketAddress.class)
              .eventLoopGroup(loop)
              // gRPC sets it on every socket, and Netty warns of it on those that have no such
              // thing.
              .withOption(ChannelOption.SO_KEEPALIVE, null)
              .overrideAuthority("localhost");
    }
    if (serverName != null) {
      builder.overrideAuthority(serverName);
    }
    if (token != null) {
      Metadata headers = new Metadata();
      headers.put(
          Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
      builder.intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    channel =
        builder
            .defaultServiceConfig(ServiceConfig.CONFIG)
            .disableServiceConfigLookUp()
            .maxInboundMessageSize(MAX_RECEIVE)
            // gRPC servers close a connection that pings more often than every five minutes; the
            // daemon permits more, proxies before it may not. Watches need no pings: the daemon
            // sends heartbeats.
            .keepAliveTime(5, TimeUnit.MINUTES)
            // The daemon is on this machine or beside it, never behind the way to the web.
            .proxyDetector(target -> null)
            .build();
    timer = new ScheduledThreadPoolExecutor(1, Connection::daemon);
    timer.setRemoveOnCancelPolicy(true);
  }

  private static Thread daemon(Runnable run) {
    Thread thread = new Thread(run, "imgd-client");
    thread.setDaemon(true);
    return thread;
  }

  ManagedChannel channel() {
    return channel;
  }

  /** A call that answers once, within the client's own time. */
  <Q, R> CompletableFuture<R> call(MethodDescriptor<Q, R> method, Q request) {
    return call(method, request, timeout, Function.identity());
  }

  /** The same, with what is in the answer. */
  <Q, R, T> CompletableFuture<T> call(
      MethodDescriptor<Q, R> method, Q request, Function<R, T> part) {
    return call(method, request, timeout, part);
  }

  /** A call that answers once, within a time of its own; null for none. */
  <Q, R, T> CompletableFuture<T> call(
      MethodDescriptor<Q, R> method, Q request, Duration limit, Function<R, T> part) {
    CallOptions options = CallOptions.DEFAULT;
    if (limit != null) {
      options = options.withDeadlineAfter(limit.toNanos(), TimeUnit.NANOSECONDS);
    }
    ClientCall<Q, R> call = start(method, options);
    Answer<R, T> answer = new Answer<>(call, part);
    call.start(answer.listener(), new Metadata());
    call.sendMessage(request);
    call.halfClose();
    call.request(2); // So that one too many is found.
    return answer;
  }

  /** Throws IllegalStateException once it is closed. */
  void checkOpen() {
    if (closed) {
      throw new IllegalStateException("this client is closed: make another");
    }
  }

  /** A call that has not begun. */
  <Q, R> ClientCall<Q, R> start(MethodDescriptor<Q, R> method, CallOptions options) {
    checkOpen();
    // gRPC waits for up to two minutes, without a word, before it looks for a lost daemon again.
    if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
      channel.resetConnectBackoff();
    }
    return channel.newCall(method, options);
  }

  /** The messages of a call that answers with many. */
  <Q, R> Messages<R> stream(MethodDescriptor<Q, R> method, Q request) {
    return Messages.open(start(method, CallOptions.DEFAULT), request);
  }

  void adopt(Leaver one) {
    open.add(one);
    if (closed) {
      one.end();
    }
  }

  void disown(Leaver one) {
    open.remove(one);
  }

  @Override
  public void close() {
    List<CompletableFuture<?>> partings = new ArrayList<>();
    open.forEach(one -> partings.add(one.end()));
    partings.forEach(Connection::part);
    closed = true;
    channel.shutdownNow();
    timer.shutdownNow();
    if (loop != null) {
      loop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
    }
  }

  /** Of what the daemon need not hear of. */
  static final CompletableFuture<?> PARTED = CompletableFuture.completedFuture(null);

  /** Waits for a call. An interrupt cancels it. */
  static <T> T await(CompletableFuture<T> call) {
    try {
      return call.get();
    } catch (InterruptedException interrupt) {
      call.cancel(true);
      Thread.currentThread().interrupt();
      throw Errors.cancelled("the thread was interrupted", interrupt);
    } catch (CancellationException cancelled) {
      throw Errors.cancelled("the call was cancelled", cancelled);
    } catch (ExecutionException failure) {
      Throwable cause = failure.getCause();
      // Made in a thread of gRPC's: where it was awaited tells more.
      cause.setStackTrace(failure.getStackTrace());
      if (cause instanceof RuntimeException known) {
        throw known;
      }
      throw new IllegalStateException(cause);
    }
  }

  /** Waits for what the daemon has to hear in any case, and returns its error or null. */
  static ImgdException part(CompletableFuture<?> call) {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          call.get();
          return null;
        } catch (InterruptedException later) {
          interrupted = true;
        } catch (ExecutionException failure) {
          return failure.getCause() instanceof ImgdException error ? error : null;
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** The future of an answer, whose cancellation cancels its call. */
  private static final class Answer<R, T> extends CompletableFuture<T> {
    private final ClientCall<?, R> call;
    private final Function<R, T> part;

    Answer(ClientCall<?, R> call, Function<R, T> part) {
      this.call = call;
      this.part = part;
    }

    @Override
    public boolean cancel(boolean mayInterruptIfRunning) {
      boolean cancelled = super.cancel(mayInterruptIfRunning);
      if (cancelled) {
        call.cancel("the program cancelled it", null);
      }
      return cancelled;
    }

    ClientCall.Listener<R> listener() {
      return new ClientCall.Listener<>() {
        private R answer;

        @Override
        public void onMessage(R message) {
          answer = message;
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
          if (!status.isOk()) {
            completeExceptionally(Errors.of(status, trailers));
          } else if (answer == null) {
            completeExceptionally(
                Errors.of(Status.INTERNAL.withDescription("the answer is empty"), trailers));
          } else {
            complete(part.apply(answer));
          }
        }
      };
    }
  }
}
