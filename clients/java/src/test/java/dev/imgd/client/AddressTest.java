package dev.imgd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.security.auth.module.UnixSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AddressTest {
  private static final long UID = new UnixSystem().getUid();

  @ParameterizedTest
  @ValueSource(
      strings = {
        "x",
        "unix:",
        "unix://x",
        "http://127.0.0.1:1",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "::1:80",
        "a b:1",
        "127.0.0.1:1\n"
      })
  void whatIsNoAddressIsFoundBeforeAnyCall(String address) {
    assertThrows(IllegalArgumentException.class, () -> ImgdClient.connect(address));
  }

  @Test
  void aSocketsPathHasABound() {
    assertEquals(107, Address.parse("unix:/" + "x".repeat(106)).socket().length());
    assertThrows(IllegalArgumentException.class, () -> Address.parse("unix:/" + "x".repeat(107)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"unix:/x", "unix:///x", "unix:x", "127.0.0.1:1", "[::1]:1", "host:65535"})
  void theseAreAddresses(String address) {
    ImgdClient.connect(address).close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"two words", "line\n", "umläut", ""})
  void aTokenIsPrintableAscii(String token) {
    var builder = ImgdClient.builder().address("unix:/x").token(token);
    assertThrows(IllegalArgumentException.class, builder::build);
  }

  @ParameterizedTest
  @ValueSource(strings = {"images.example:1", "192.0.2.1:1", "[2001:db8::1]:1", "127.example:1"})
  void aTokenDoesNotLeaveTheMachineInClearText(String address) {
    var builder = ImgdClient.builder().address(address).token("secret");
    assertThrows(IllegalArgumentException.class, builder::build);
  }

  @ParameterizedTest
  @ValueSource(strings = {"unix:/x", "localhost:1", "127.0.0.2:1", "[::1]:1"})
  void aTokenMayBeSentToThisMachine(String address) {
    assertTrue(Address.parse(address).isHere());
  }

  @Test
  void theEnvironmentSaysWhere(@TempDir Path folder) {
    assertEquals("a:1", Address.byDefault(Map.of("IMGD_ADDRESS", "a:1"), 0, folder));
    assertEquals("unix:///run/imgd/imgd.sock", Address.byDefault(Map.of(), 0, folder));
    assertEquals(
        "unix:/run/user/7/imgd.sock",
        Address.byDefault(Map.of("XDG_RUNTIME_DIR", "/run/user/7"), 7, folder));
    assertEquals("unix:" + folder + "/imgd-7/imgd.sock", Address.byDefault(Map.of(), 7, folder));
  }

  @Test
  void theFallBackBelongsToTheUserAlone(@TempDir Path folder) throws IOException {
    Path own = Files.createDirectory(folder.resolve("own"));
    Files.setPosixFilePermissions(own, PosixFilePermissions.fromString("rwx------"));
    Address.checkOwn(own, UID);
    assertThrows(IllegalArgumentException.class, () -> Address.checkOwn(own, UID + 1));

    Path link = Files.createSymbolicLink(folder.resolve("link"), own);
    assertThrows(IllegalArgumentException.class, () -> Address.checkOwn(link, UID));

    Path file = Files.createFile(folder.resolve("file"));
    assertThrows(IllegalArgumentException.class, () -> Address.checkOwn(file, UID));

    Files.setPosixFilePermissions(own, PosixFilePermissions.fromString("rwx-w----"));
    assertThrows(IllegalArgumentException.class, () -> Address.checkOwn(own, UID));
  }
}
