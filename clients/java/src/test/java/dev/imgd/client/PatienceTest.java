package dev.imgd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PatienceTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  @Test
  void delaysDoubleUntilThePatienceIsOver() {
    Patience patience = new Patience(LIMIT);
    long now = Long.MAX_VALUE - 5; // The clock may overflow.
    long begun = now;
    for (int tries = 0; ; tries++) {
      Optional<Duration> delay = patience.next(now, Duration.ZERO);
      if (delay.isEmpty()) {
        break;
      }
      long longest = Math.min(5000, 100L << Math.min(tries, 10));
      Duration left = LIMIT.minusNanos(now - begun);
      assertTrue(delay.get().toMillis() <= longest);
      assertTrue(delay.get().toMillis() >= longest / 2 || delay.get().equals(left));
      now += delay.get().toNanos();
    }
    assertEquals(LIMIT, Duration.ofNanos(now - begun));
    patience.reset();
    assertTrue(patience.next(now, Duration.ZERO).isPresent());
  }

  @Test
  void whatTheDaemonAsksForIsKeptWithinReason() {
    assertEquals(
        Optional.of(Duration.ofSeconds(20)), new Patience(LIMIT).next(0, Duration.ofSeconds(20)));
    assertEquals(
        Optional.of(LIMIT), new Patience(LIMIT.multipliedBy(9)).next(0, Duration.ofDays(1)));
    assertEquals(
        Optional.of(Duration.ofSeconds(2)),
        new Patience(Duration.ofSeconds(2)).next(0, Duration.ofSeconds(20)));
  }
}
