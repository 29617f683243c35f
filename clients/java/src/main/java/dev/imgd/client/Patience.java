package dev.imgd.client;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/**
 * When to try again: delays that double up to a bound, each drawn from its upper half, so that a
 * thousand watchers of one daemon do not come back in the same moment.
 */
final class Patience {
  private static final Duration FIRST = Duration.ofMillis(100);
  private static final Duration LONGEST = Duration.ofSeconds(5);
  // A daemon that asks for more than this is not believed.
  private static final Duration LONGEST_ASKED = Duration.ofSeconds(60);

  private final Duration limit;
  private int failures;
  private long since;

  Patience(Duration limit) {
    this.limit = limit;
  }

  /** Something came. */
  void reset() {
    failures = 0;
  }

  /** How long to wait before the next attempt at a time, in nanoseconds; empty for give it up. */
  Optional<Duration> next(long now, Duration asked) {
    if (failures == 0) {
      since = now;
    }
    Duration left = limit.minusNanos(now - since);
    if (left.isZero() || left.isNegative()) {
      return Optional.empty();
    }
    Duration delay = least(LONGEST, FIRST.multipliedBy(1L << Math.min(failures, 10)));
    long half = delay.toNanos() / 2;
    delay = Duration.ofNanos(half + ThreadLocalRandom.current().nextLong(half + 1));
    failures++;
    Duration wanted = least(asked, LONGEST_ASKED);
    return Optional.of(least(left, wanted.compareTo(delay) > 0 ? wanted : delay));
  }

  private static Duration least(Duration one, Duration other) {
    return one.compareTo(other) < 0 ? one : other;
  }
}
