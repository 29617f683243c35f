package dev.imgd.client;

import com.google.protobuf.ByteString;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/** Sends a stream of bytes as the daemon takes them. */
final class Upload<R> extends ClientCall.Listener<R> {
  // With its frame no more than the largest message.
  private static final int PIECE = (1 << 20) - 1024;

  private final CompletableFuture<R> answered = new CompletableFuture<>();
  private R answer;
  private boolean awake;

  private Upload() {}

  /**
   * Sends all that a source has; the first message in any case. What the source throws cancels the
   * call, as does an interrupt.
   */
  static <Q, R> R send(
      Connection connection,
      MethodDescriptor<Q, R> method,
      InputStream source,
      Function<ByteString, Q> message)
      throws IOException {
    ClientCall<Q, R> call = connection.start(method, CallOptions.DEFAULT);
    Upload<R> upload = new Upload<>();
    call.start(upload, new Metadata());
    call.request(2);
    boolean sent = false;
    try {
      byte[] buffer = new byte[PIECE];
      int count = PIECE;
      for (boolean first = true; count == PIECE && upload.ready(call); first = false) {
        count = source.readNBytes(buffer, 0, PIECE);
        if (count > 0 || first) {
          call.sendMessage(message.apply(ByteString.copyFrom(buffer, 0, count)));
        }
      }
      call.halfClose();
      R found = Connection.await(upload.answered);
      sent = true;
      return found;
    } finally {
      if (!sent) {
        call.cancel("the source failed, or nobody waits any more", null);
      }
    }
  }

  /** Waits until more can be sent; false when the daemon has answered already. */
  private synchronized boolean ready(ClientCall<?, R> call) {
    while (!call.isReady() && !answered.isDone()) {
      awake = false;
      try {
        while (!awake) {
          wait();
        }
      } catch (InterruptedException interrupt) {
        Thread.currentThread().interrupt();
        throw Errors.cancelled("the thread was interrupted", interrupt);
      }
    }
    return !answered.isDone();
  }

  private synchronized void wake() {
    awake = true;
    notifyAll();
  }

  @Override
  public void onReady() {
    wake();
  }

  @Override
  public void onMessage(R message) {
    answer = message;
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    if (status.isOk() && answer != null) {
      answered.complete(answer);
    } else {
      answered.completeExceptionally(Errors.of(status, trailers));
    }
    wake();
  }
}
