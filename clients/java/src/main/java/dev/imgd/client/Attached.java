package dev.imgd.client;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** A stream of messages that attaches again when the connection is lost. One thread reads it. */
final class Attached<R> {
  private final Supplier<Messages<R>> attach;
  private final Patience patience;
  // Whether a stream that ends well is over. Else that is a lost connection.
  private final boolean endsWell;
  // Whether the daemon was there: what never was fails at once.
  private boolean there;
  private Messages<R> messages;

  private final CountDownLatch left = new CountDownLatch(1);
  private final Object mutex = new Object();

  Attached(Duration patience, boolean there, boolean endsWell, Supplier<Messages<R>> attach) {
    this.patience = new Patience(patience);
    this.there = there;
    this.endsWell = endsWell;
    this.attach = attach;
  }

  /** Waits for the next message; null after the last. Throws CancelledException once closed. */
  R next() {
    while (true) {
      ImgdException error;
      try {
        R message = current().next();
        if (message != null) {
          there = true;
          patience.reset();
          return message;
        }
        if (endsWell) {
          return null;
        }
        error = Errors.unavailable("the stream ended before its end");
      } catch (ImgdException failure) {
        error = failure;
      }
      synchronized (mutex) {
        messages = null;
      }
      pause(error);
    }
  }

  private Messages<R> current() {
    synchronized (mutex) {
      if (isClosed()) {
        throw Errors.cancelled("the stream was left", null);
      }
      if (messages == null) {
        messages = attach.get();
      }
      return messages;
    }
  }

  private void pause(ImgdException error) {
    // A server that stops under its streams ends some of them with a bare CANCELLED.
    boolean lost =
        error instanceof UnavailableException
            || error instanceof CancelledException && error.reason().isEmpty();
    if (isClosed()
        || Thread.currentThread().isInterrupted()
        || !lost
        || !there && error.retryDelay().isEmpty()) {
      throw error;
    }
    Duration asked = error.retryDelay().orElse(Duration.ZERO);
    Duration delay = patience.next(System.nanoTime(), asked).orElseThrow(() -> error);
    try {
      if (left.await(delay.toNanos(), TimeUnit.NANOSECONDS)) {
        throw Errors.cancelled("the stream was left", null);
      }
    } catch (InterruptedException interrupt) {
      Thread.currentThread().interrupt();
      throw Errors.cancelled("the thread was interrupted", interrupt);
    }
  }

  boolean isClosed() {
    return left.getCount() == 0;
  }

  /** From any thread; whoever reads wakes. */
  void close() {
    synchronized (mutex) {
      left.countDown();
      if (messages != null) {
        messages.cancel();
      }
    }
  }
}
