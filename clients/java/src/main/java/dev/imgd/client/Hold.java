package dev.imgd.client;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * A lease or a container that keeps an image. It is renewed meanwhile, also across a restart of the
 * daemon, and given back by {@link #close()}, or at the latest with the client.
 */
public final class Hold implements AutoCloseable {
  // After an attempt that failed; sooner than the usual turn.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private final Connection connection;
  private final String name;
  private final Duration every;
  // Within a time of its own.
  private final Function<Duration, CompletableFuture<?>> renew;
  private final Function<Duration, CompletableFuture<?>> release;
  private final boolean endsByItself;
  private final Connection.Leaver leaver = this::end;

  private Future<?> turn;
  private CompletableFuture<?> renewal;
  private CompletableFuture<?> parting;
  private NotFoundException lost;

  Hold(
      Connection connection,
      String name,
      Duration every,
      boolean endsByItself,
      Function<Duration, CompletableFuture<?>> renew,
      Function<Duration, CompletableFuture<?>> release) {
    this.connection = connection;
    this.name = name;
    this.every = every;
    this.endsByItself = endsByItself;
    this.renew = renew;
    this.release = release;
    connection.adopt(leaver);
    later(every);
  }

  /** Returns the resource name of the lease or container. */
  public String name() {
    return name;
  }

  /** Returns why it holds no more, though it was not closed; empty while it holds. */
  public synchronized Optional<NotFoundException> lost() {
    return Optional.ofNullable(lost);
  }

  private synchronized void later(Duration wait) {
    if (parting != null) {
      return;
    }
    try {
      turn = connection.timer.schedule(this::renewNow, wait.toNanos(), TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException closed) {
      // The client's end gives it back.
    }
  }

  private synchronized void renewNow() {
    if (parting != null) {
      return;
    }
    renewal = renew.apply(every);
    renewal.whenComplete((answer, failure) -> renewed(failure));
  }

  private void renewed(Throwable failure) {
    Throwable error = failure instanceof CompletionException ? failure.getCause() : failure;
    if (error instanceof NotFoundException gone) {
      synchronized (this) {
        lost = gone;
      }
    } else if (error == null) {
      later(every);
    } else if (!(error instanceof FailedPreconditionException
        || error instanceof CancellationException)) {
      later(every.compareTo(AGAIN) < 0 ? every : AGAIN);
    }
    // Else it was given back, or it was stopped: then it needs no more signs of life, and holds
    // until it is removed.
  }

  private synchronized CompletableFuture<?> end() {
    if (parting == null) {
      // Before it is given back: a renewal that comes later would say that it is lost.
      if (turn != null) {
        turn.cancel(false);
      }
      if (renewal != null) {
        renewal.cancel(true);
      }
      parting = release.apply(Connection.PARTING);
      connection.disown(leaver);
    }
    return parting;
  }

  /**
   * Gives it back. Calling it again does nothing but to say the same.
   *
   * @throws NotFoundException somebody else ended it before
   */
  @Override
  public void close() {
    ImgdException failure = Connection.part(end());
    synchronized (this) {
      if (lost != null) {
        throw lost;
      }
    }
    if (failure != null && !endsByItself) {
      throw failure;
    }
  }
}
