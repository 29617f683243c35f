package dev.imgd.client;

import static dev.imgd.client.ScriptedDaemon.finished;
import static dev.imgd.client.ScriptedDaemon.get;
import static dev.imgd.client.ScriptedDaemon.snapshot;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.v1.TransferState;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLConnection;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Runs the examples as programs of their own, against a scripted daemon. */
class ExamplesTest {
  private static final TransferState SUCCEEDED = TransferState.TRANSFER_STATE_SUCCEEDED;

  private static Process run(ScriptedDaemon daemon, String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("IMGD_ADDRESS", daemon.address());
    return builder.start();
  }

  private static String text(InputStream from) throws IOException {
    return new String(from.readAllBytes(), StandardCharsets.UTF_8);
  }

  @Test
  void theReadmesExampleIsTheOneThatRuns() throws IOException {
    String example = Files.readString(Path.of("examples/Pull.java"));
    assertTrue(Files.readString(Path.of("README.md")).contains("```java\n" + example + "```\n"));
  }

  @Test
  void itPulls() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1), finished(2, SUCCEEDED))) {
      Process pull = run(daemon, "Pull", "redis:7");
      String said = text(pull.getInputStream());
      assertEquals(0, pull.waitFor(), said);
      assertTrue(said.contains("pulled sha256:abc"), said);
      assertTrue(said.contains("docker.io/library/redis:7"), said);
      assertEquals("redis:7", daemon.started.remove().getSource().getRegistry().getReference());
    }
  }

  @Test
  void itSaysWhatFailed() throws Exception {
    try (var daemon = new ScriptedDaemon(finished(1, TransferState.TRANSFER_STATE_FAILED))) {
      Process pull = run(daemon, "Pull", "redis:7");
      String said = text(pull.getInputStream());
      assertEquals(1, pull.waitFor(), said);
      assertTrue(said.contains("FAILED"), said);
    }
  }

  /** The relay, and what a user of it reads. */
  private static InputStream relayed(BufferedReader relay) throws IOException {
    String line = relay.readLine();
    assertTrue(line.startsWith("listening at port "), line);
    String port = line.substring(line.lastIndexOf(' ') + 1);
    URLConnection user =
        URI.create("http://127.0.0.1:" + port + "/pull?redis:7").toURL().openConnection();
    InputStream answer = user.getInputStream();
    assertEquals("text/event-stream", user.getContentType());
    return answer;
  }

  @Test
  void itRelaysEveryEvent() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1), finished(2, SUCCEEDED))) {
      Process relay = run(daemon, "Relay", "0");
      try (BufferedReader output = relay.inputReader();
          InputStream answer = relayed(output)) {
        String said = text(answer);
        assertTrue(said.contains("id: 1\ndata: {"), said);
        assertTrue(said.contains("id: 2\ndata: {"), said);
        assertTrue(said.contains("TRANSFER_STATE_SUCCEEDED"), said);
      } finally {
        relay.destroyForcibly().waitFor();
      }
    }
  }

  @Test
  void aUserWhoLeavesCancels() throws Exception {
    try (var daemon = new ScriptedDaemon(snapshot(1))) {
      Process relay = run(daemon, "Relay", "0", "10");
      try (BufferedReader output = relay.inputReader()) {
        try (InputStream answer = relayed(output)) {
          assertNotEquals(-1, answer.read());
        }
        assertEquals("transfers/a", get(daemon.cancelled));
      } finally {
        relay.destroyForcibly().waitFor();
      }
    }
  }
}
