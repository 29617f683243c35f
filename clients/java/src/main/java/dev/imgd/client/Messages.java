package dev.imgd.client;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** The messages of a call, taken one by one: gRPC holds the daemon back meanwhile. */
final class Messages<R> extends ClientCall.Listener<R> {
  private final ClientCall<?, R> call;
  // At most one message and the end.
  private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();

  private record End(Status status, Metadata trailers) {}

  private Messages(ClientCall<?, R> call) {
    this.call = call;
  }

  static <Q, R> Messages<R> open(ClientCall<Q, R> call, Q request) {
    Messages<R> found = new Messages<>(call);
    call.start(found, new Metadata());
    call.sendMessage(request);
    call.halfClose();
    call.request(1);
    return found;
  }

  /** Waits for the next message; null after the last. An interrupt cancels the call. */
  R next() {
    Object found;
    try {
      found = arrived.take();
    } catch (InterruptedException interrupt) {
      cancel();
      Thread.currentThread().interrupt();
      throw Errors.cancelled("the thread was interrupted", interrupt);
    }
    if (found instanceof End end) {
      arrived.add(end);
      if (end.status.isOk()) {
        return null;
      }
      throw Errors.of(end.status, end.trailers);
    }
    call.request(1);
    @SuppressWarnings("unchecked") // Nothing else is put there.
    R message = (R) found;
    return message;
  }

  /** From any thread, any number of times. */
  void cancel() {
    call.cancel("left", null);
  }

  @Override
  public void onMessage(R message) {
    arrived.add(message);
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    arrived.add(new End(status, trailers));
  }
}
