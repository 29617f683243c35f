package dev.imgd.client;

import static dev.imgd.client.ScriptedDaemon.finished;
import static dev.imgd.client.ScriptedDaemon.get;
import static dev.imgd.client.ScriptedDaemon.snapshot;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Duration;
import dev.imgd.v1.CreateLeaseRequest;
import dev.imgd.v1.LoadImagesRequest;
import dev.imgd.v1.PullRequest;
import dev.imgd.v1.SaveImagesRequest;
import dev.imgd.v1.Transfer;
import dev.imgd.v1.TransferEvent;
import dev.imgd.v1.TransferState;
import dev.imgd.v1.WatchEventsRequest;
import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class ClientTest {
  private static final TransferState SUCCEEDED = TransferState.TRANSFER_STATE_SUCCEEDED;
  private static final PullRequest PULL = PullRequest.newBuilder().setReference("redis:7").build();
  private static final CreateLeaseRequest LEASE =
      CreateLeaseRequest.newBuilder().setLeaseId("x").build();

  private static ImgdClient connect(ScriptedDaemon daemon) {
    return ImgdClient.connect(daemon.address());
  }

  @Test
  void breakingOutOfTheLoopCancelsThePull() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      try (TransferStream pull = client.pull("redis:7")) {
        for (TransferEvent event : pull) {
          assertTrue(event.hasSnapshot());
          break;
        }
        assertTrue(daemon.cancelled.isEmpty());
      }
      // Close returns when the daemon has heard of it.
      assertEquals("transfers/a", daemon.cancelled.poll());
    }
  }

  @Test
  void aPullThatIsLostIsCancelled() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      assertTrue(client.pull("redis:7").iterator().next().hasSnapshot());
      String name = null;
      for (int tries = 0; name == null && tries < 6000; tries++) {
        System.gc();
        name = daemon.cancelled.poll(10, TimeUnit.MILLISECONDS);
      }
      assertEquals("transfers/a", name);
    }
  }

  @Test
  void closingTheClientCancelsItsPullsAndEndsItsWatches() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1))) {
      ImgdClient client = connect(daemon);
      TransferStream own = client.pull("redis:7");
      TransferStream detached = client.pull(PULL.toBuilder().setDetach(true).build());
      TransferStream later = client.pull("redis:7");
      later.detach();
      TransferStream watch = client.watch("transfers/a");
      assertTrue(watch.iterator().next().hasSnapshot());
      client.close();
      assertEquals("transfers/a", daemon.cancelled.poll());
      assertTrue(daemon.cancelled.isEmpty());
      assertFalse(watch.iterator().hasNext());
      own.close();
      detached.close();
      later.close();
    }
  }

  @Test
  void aClosedClientSaysSo() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1))) {
      ImgdClient client = connect(daemon);
      client.close();
      client.close();
      List<Executable> calls =
          List.of(
              () -> client.pull("redis:7"),
              () -> client.watch("transfers/a"),
              () -> client.getImage("a"),
              () -> client.async().getImage("a"),
              () -> client.listImages().iterator().next(),
              () -> client.watchEvents(WatchEventsRequest.getDefaultInstance()),
              () -> client.holdLease(LEASE),
              () -> client.saveImages(SaveImagesRequest.getDefaultInstance()),
              () ->
                  client.loadImages(
                      LoadImagesRequest.getDefaultInstance(), InputStream.nullInputStream()));
      for (Executable call : calls) {
        assertThrows(IllegalStateException.class, call);
      }
      assertTrue(daemon.started.isEmpty());
    }
  }

  @Test
  void whoeverClosesSecondWaits() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon);
        var pull = client.pull("redis:7")) {
      List<CompletableFuture<Integer>> closing = new ArrayList<>();
      for (int number = 0; number < 8; number++) {
        closing.add(
            CompletableFuture.supplyAsync(
                () -> {
                  pull.close();
                  return daemon.cancelled.size();
                }));
      }
      for (CompletableFuture<Integer> one : closing) {
        assertEquals(1, one.get(ScriptedDaemon.NET, TimeUnit.SECONDS));
      }
    }
  }

  @Test
  void closingFromElsewhereEndsTheLoop() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon);
        var pull = client.pull("redis:7")) {
      int seen = 0;
      for (TransferEvent event : pull) {
        assertTrue(event.hasSnapshot());
        seen++;
        new Thread(pull::close).start();
      }
      assertEquals(1, seen);
      assertThrows(CancelledException.class, pull::result);
    }
  }

  @Test
  void anInterruptLeavesTheLoopAndThePullIsCancelledAllTheSame() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      BlockingQueue<Object> found = new LinkedBlockingQueue<>();
      CountDownLatch reading = new CountDownLatch(1);
      Thread reader =
          new Thread(
              () -> {
                try (TransferStream pull = client.pull("redis:7")) {
                  for (TransferEvent event : pull) {
                    assertTrue(event.hasSnapshot());
                    reading.countDown();
                  }
                } catch (CancelledException error) {
                  found.add(Thread.currentThread().isInterrupted());
                }
              });
      reader.start();
      assertTrue(reading.await(ScriptedDaemon.NET, TimeUnit.SECONDS));
      reader.interrupt();
      assertEquals(true, get(found));
      assertEquals("transfers/a", daemon.cancelled.poll());
    }
  }

  @Test
  void aLoopMayBeLeftAndEnteredAgain() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1), finished(2, SUCCEEDED));
        var client = connect(daemon);
        var pull = client.pull("redis:7")) {
      assertTrue(pull.iterator().hasNext());
      assertTrue(pull.iterator().next().hasSnapshot());
      assertEquals("sha256:abc", pull.result().getOutcome().getTarget().getDigest());
      assertEquals(SUCCEEDED, pull.result().getState());
      assertFalse(pull.iterator().hasNext());
      pull.close();
      assertTrue(daemon.cancelled.isEmpty());
    }
  }

  @Test
  void leavingAWatchCancelsNothing() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      try (TransferStream watch = client.watch("transfers/a")) {
        assertTrue(watch.iterator().hasNext());
      }
      assertEquals("transfers/a", get(daemon.left));
      assertTrue(daemon.cancelled.isEmpty());
    }
  }

  @Test
  void eachPullHasARequestIdOfItsOwn() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      client.pull("redis:7").close();
      client.pull("redis:7").close();
      client.pull(PULL.toBuilder().setRequestId("mine").build()).close();
      String first = daemon.started.remove().getRequestId();
      assertFalse(first.isEmpty());
      assertNotEquals(first, daemon.started.remove().getRequestId());
      assertEquals("mine", daemon.started.remove().getRequestId());
    }
  }

  @Test
  void aTransferThatFailedIsAnErrorOfItsOwn() throws Exception {
    try (var daemon = new ScriptedDaemon(finished(1, TransferState.TRANSFER_STATE_FAILED));
        var client = connect(daemon);
        var pull = client.pull("redis:7")) {
      var error = assertThrows(TransferFailedException.class, pull::result);
      assertEquals("transfers/a", error.transfer().getName());
      assertTrue(error.getMessage().contains("FAILED"), error.getMessage());
    }
  }

  @Test
  void aPullIsAFutureToo() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1), finished(2, SUCCEEDED));
        var client = connect(daemon)) {
      List<Long> seen = new ArrayList<>();
      CompletableFuture<Transfer> pulled =
          client.async().pull(PULL, event -> seen.add(event.getSequence()));
      assertEquals(SUCCEEDED, pulled.get(ScriptedDaemon.NET, TimeUnit.SECONDS).getState());
      assertEquals(List.of(1L, 2L), seen);
    }
  }

  @Test
  void cancellingAPullsFutureCancelsThePull() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      CountDownLatch reading = new CountDownLatch(1);
      CompletableFuture<Transfer> pulled = client.async().pull(PULL, event -> reading.countDown());
      assertTrue(reading.await(ScriptedDaemon.NET, TimeUnit.SECONDS));
      pulled.cancel(true);
      assertEquals("transfers/a", get(daemon.cancelled));
    }
  }

  @Test
  void whatAPullsCallbackThrowsCancelsIt() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1));
        var client = connect(daemon)) {
      CompletableFuture<Transfer> pulled =
          client
              .async()
              .pull(
                  PULL,
                  event -> {
                    throw new ArithmeticException("the program's own");
                  });
      var error =
          assertThrows(
              ExecutionException.class, () -> pulled.get(ScriptedDaemon.NET, TimeUnit.SECONDS));
      assertInstanceOf(ArithmeticException.class, error.getCause());
      assertEquals("transfers/a", daemon.cancelled.poll());
    }
  }

  @Test
  void cancellingAFutureCancelsItsCall() throws Exception {
    try (var daemon = new ScriptedDaemon();
        var client = connect(daemon)) {
      var image = client.async().getImage("a");
      // The next call is answered: the first has been sent.
      assertEquals(1, client.listImages().stream().count());
      image.cancel(true);
      assertEquals("a", get(daemon.abandoned));
      assertTrue(image.isCancelled());
    }
  }

  @Test
  void aCallEndsAfterTheClientsTime() throws Exception {
    try (var daemon = new ScriptedDaemon();
        var client =
            ImgdClient.builder()
                .address(daemon.address())
                .timeout(java.time.Duration.ofMillis(50))
                .build()) {
      var error = assertThrows(DeadlineExceededException.class, () -> client.getImage("a"));
      assertEquals("", error.reason());
      // The trace is the caller's.
      assertTrue(
          List.of(error.getStackTrace()).stream()
              .anyMatch(one -> one.getClassName().startsWith(ClientTest.class.getName())));
    }
  }

  @Test
  void whatNobodyAnswersIsUnavailable() throws IOException {
    try (var client = ImgdClient.connect("unix:/nowhere/imgd.sock")) {
      assertThrows(UnavailableException.class, client::info);
      assertThrows(UnavailableException.class, () -> client.watch("transfers/a").result());
    }
  }

  @Test
  void aUnixSocketIsUsedWithoutAWarning() {
    List<String> said = new CopyOnWriteArrayList<>();
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord log) {
            said.add(log.getMessage());
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    Logger logger = Logger.getLogger("io.grpc.netty.shaded.io.netty.bootstrap");
    logger.addHandler(handler);
    try (var client = ImgdClient.connect("unix:/nowhere/imgd.sock")) {
      assertThrows(UnavailableException.class, client::info);
    } finally {
      logger.removeHandler(handler);
    }
    assertEquals(List.of(), said);
  }

  @Test
  void aHoldThatIsLostSaysSo() throws Exception {
    try (var daemon = new ScriptedDaemon();
        var client = connect(daemon)) {
      daemon.renewals = Status.NOT_FOUND.withDescription("gone");
      Duration ttl = Duration.newBuilder().setNanos(1_000_000).build();
      Hold hold = client.holdLease(LEASE.toBuilder().setTtl(ttl).build());
      for (int tries = 0; hold.lost().isEmpty() && tries < 6000; tries++) {
        Thread.sleep(10);
      }
      assertTrue(hold.lost().isPresent());
      assertThrows(NotFoundException.class, hold::close);
      assertThrows(NotFoundException.class, hold::close);
    }
  }

  @Test
  void aHoldIsGivenBackByItsScopeOrByTheClient() throws Exception {
    try (var daemon = new ScriptedDaemon()) {
      try (var client = connect(daemon)) {
        try (Hold hold = client.holdLease(LEASE)) {
          assertEquals("leases/x", hold.name());
        }
        assertEquals("leases/x", daemon.deleted.poll());
        assertTrue(client.holdLease(LEASE).lost().isEmpty());
      }
      assertEquals("leases/x", daemon.deleted.poll());
    }
  }

  @Test
  void aHoldIsGivenBackByAnInterruptedThread() throws Exception {
    try (var daemon = new ScriptedDaemon();
        var client = connect(daemon)) {
      Hold hold = client.holdLease(LEASE);
      Thread.currentThread().interrupt();
      hold.close();
      assertTrue(Thread.interrupted());
      assertEquals("leases/x", daemon.deleted.poll());
    }
  }
}
