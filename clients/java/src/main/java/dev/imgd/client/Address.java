package dev.imgd.client;

import com.sun.security.auth.module.UnixSystem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where a daemon listens: one of both is null.
 *
 * @param socket the path of a Unix socket
 * @param hostPort {@code HOST:PORT}
 */
record Address(String socket, String hostPort) {
  // sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
  private static final int MAX_SOCKET_PATH = 107;
  private static final int OTHERS_MAY_WRITE = 0022;
  private static final int FILE_TYPE = 0170000;
  private static final int DIRECTORY = 0040000;

  // An IPv6 address is in brackets.
  private static final Pattern HOST_PORT =
      Pattern.compile("([^\\s/:\\[\\]]+|\\[[0-9a-fA-F:.%\\w]+\\]):([0-9]{1,5})");

  /** Throws IllegalArgumentException where it is neither unix:PATH, unix:///PATH nor HOST:PORT. */
  static Address parse(String address) {
    if (address.startsWith("unix:")) {
      String path = address.substring("unix:".length());
      if (path.startsWith("//")) {
        if (!path.startsWith("///")) {
          throw wrong(address, "write unix:PATH or unix:///PATH");
        }
        path = path.substring(2);
      }
      if (path.isEmpty()) {
        throw wrong(address, "it names no socket");
      }
      if (path.getBytes(StandardCharsets.UTF_8).length > MAX_SOCKET_PATH) {
        throw wrong(address, "a socket's path has at most " + MAX_SOCKET_PATH + " bytes");
      }
      return new Address(path, null);
    }
    Matcher found = HOST_PORT.matcher(address);
    if (found.matches()) {
      int port = Integer.parseInt(found.group(2));
      if (0 < port && port < 65536) {
        return new Address(null, address);
      }
    }
    throw wrong(address, "it is neither unix:PATH nor HOST:PORT");
  }

  private static IllegalArgumentException wrong(String address, String why) {
    return new IllegalArgumentException("address \"%s\": %s".formatted(address, why));
  }

  /**
   * {@code IMGD_ADDRESS}, else the system's socket for root, else the user's own: that is in {@code
   * XDG_RUNTIME_DIR}, or without one in {@code /tmp/imgd-UID}. Throws IllegalArgumentException
   * where it would be there and somebody else could have put it there.
   */
  static String byDefault() {
    return byDefault(System.getenv(), new UnixSystem().getUid(), Path.of("/tmp"));
  }

  static String byDefault(Map<String, String> environment, long uid, Path temporary) {
    String address = environment.getOrDefault("IMGD_ADDRESS", "");
    if (!address.isEmpty()) {
      return address;
    }
    if (uid == 0) {
      return "unix:///run/imgd/imgd.sock";
    }
    String folder = environment.getOrDefault("XDG_RUNTIME_DIR", "");
    if (folder.isEmpty()) {
      Path fallBack = temporary.resolve("imgd-" + uid);
      checkOwn(fallBack, uid);
      folder = fallBack.toString();
    }
    return "unix:" + folder + "/imgd.sock";
  }

  /** Anybody can make the folder in our name, and get what is sent to the socket there. */
  static void checkOwn(Path folder, long uid) {
    try {
      Map<String, Object> found =
          Files.readAttributes(folder, "unix:uid,mode", LinkOption.NOFOLLOW_LINKS);
      int mode = (Integer) found.get("mode");
      boolean own = ((Integer) found.get("uid")).longValue() == uid;
      if (own && (mode & FILE_TYPE) == DIRECTORY && (mode & OTHERS_MAY_WRITE) == 0) {
        return;
      }
    } catch (NoSuchFileException none) {
      return;
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
    throw new IllegalArgumentException(
        folder
            + " is not this user's alone: somebody else may have made it; set XDG_RUNTIME_DIR, or"
            + " name the daemon's address");
  }

  /** What gRPC connects to; not for a socket. */
  String target() {
    try {
      // It escapes the brackets of an IPv6 address.
      return new URI("dns", "", "/" + hostPort, null).toString();
    } catch (URISyntaxException impossible) {
      throw new IllegalArgumentException(impossible);
    }
  }

  /** Whether the way there stays on this machine. */
  boolean isHere() {
    if (socket != null) {
      return true;
    }
    String host = hostPort.substring(0, hostPort.lastIndexOf(':'));
    if (host.equals("localhost")) {
      return true;
    }
    // Names are not looked up: who answers may lie.
    if (!host.startsWith("[") && !host.matches("[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+")) {
      return false;
    }
    try {
      return InetAddress.getByName(host).isLoopbackAddress();
    } catch (UnknownHostException notAnAddress) {
      return false;
    }
  }
}
