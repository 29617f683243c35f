package dev.imgd.conformance;

import dev.imgd.client.EventStream;
import dev.imgd.client.Hold;
import dev.imgd.client.ImgdClient;
import dev.imgd.client.ImgdException;
import dev.imgd.client.TransferStream;
import dev.imgd.conformance.v1.BytesResult;
import dev.imgd.conformance.v1.EventsOperation;
import dev.imgd.conformance.v1.HoldOperation;
import dev.imgd.conformance.v1.HoldResult;
import dev.imgd.conformance.v1.Leave;
import dev.imgd.conformance.v1.LoadOperation;
import dev.imgd.conformance.v1.Operation;
import dev.imgd.conformance.v1.Result;
import dev.imgd.conformance.v1.StreamResult;
import dev.imgd.v1.FileInfo;
import dev.imgd.v1.StoreEvent;
import dev.imgd.v1.TransferEvent;
import java.io.FileInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

/** Does with a client what the runner asks for. */
final class Executor {
  private final ImgdClient client;

  Executor(ImgdClient client) {
    this.client = client;
  }

  /** Does one thing; errors of the wrapper are results. */
  Result run(Operation operation) throws IOException {
    try {
      return attempt(operation);
    } catch (ImgdException | IllegalArgumentException | IllegalStateException failure) {
      return Described.result(failure);
    }
  }

  private Result attempt(Operation operation) throws IOException {
    Result.Builder found = Result.newBuilder();
    switch (operation.getOperationCase()) {
      case PULL -> {
        try (TransferStream stream = client.pull(operation.getPull().getRequest())) {
          found.setStream(follow(stream, operation.getPull().getLeave()));
        }
      }
      case PUSH -> {
        try (TransferStream stream = client.push(operation.getPush().getRequest())) {
          found.setStream(follow(stream, operation.getPush().getLeave()));
        }
      }
      case WATCH -> {
        try (TransferStream stream = client.watch(operation.getWatch().getTransfer())) {
          found.setStream(follow(stream, operation.getWatch().getLeave()));
        }
      }
      case LIST_IMAGES -> {
        var wanted = operation.getListImages();
        var list = some(client.listImages(wanted.getRequest()).stream(), wanted.getStopAfter());
        found.getImagesBuilder().addAllImages(list);
      }
      case LIST_CONTAINERS -> {
        var wanted = operation.getListContainers();
        var list = some(client.listContainers(wanted.getRequest()).stream(), wanted.getStopAfter());
        found.getContainersBuilder().addAllContainers(list);
      }
      case INSPECT_IMAGE -> {
        var wanted = operation.getInspectImage();
        found.setInspected(client.inspectImage(wanted.getImage(), wanted.getPlatform()));
      }
      case TAG_IMAGE -> found.setTagged(client.tagImage(operation.getTagImage()));
      case UNTAG_IMAGE -> found.setImage(client.untagImage(operation.getUntagImage()));
      case REMOVE_IMAGE -> {
        var wanted = operation.getRemoveImage();
        found.setRemoved(client.removeImage(wanted.getImage(), wanted.getForce()));
      }
      case PRUNE_IMAGES -> found.setPruned(client.pruneImages(operation.getPruneImages()));
      case HOLD -> found.setHold(hold(operation.getHold()));
      case SAVE -> {
        var wanted = operation.getSave();
        try (InputStream archive = client.saveImages(wanted.getRequest())) {
          found.setBytes(drain(archive, wanted.getPath(), wanted.getLeave().getAfterMessages()));
        }
      }
      case LOAD -> load(operation.getLoad(), found);
      case LIST_FILES ->
          found
              .getFilesBuilder()
              .addAllPaths(
                  client.listFiles(operation.getListFiles()).stream()
                      .map(FileInfo::getPath)
                      .toList());
      case READ_FILE -> {
        try (InputStream file = client.readFile(operation.getReadFile())) {
          found.setBytes(drain(file, "", 0));
        }
      }
      case EVENTS -> events(operation.getEvents(), found);
      case GET_INFO -> found.setInfo(client.info());
      case GET_IMAGE -> found.setImage(client.getImage(operation.getGetImage().getImage()));
      case OPERATION_NOT_SET -> found.getUnsupportedBuilder();
    }
    return found.build();
  }

  private static <T> List<T> some(Stream<T> items, int count) {
    return (count == 0 ? items : items.limit(count)).toList();
  }

  private static StreamResult follow(TransferStream stream, Leave leave) {
    StreamResult.Builder seen = StreamResult.newBuilder().setRising(true);
    long last = 0;
    try {
      for (TransferEvent event : stream) {
        seen.setEvents(seen.getEvents() + 1);
        seen.setRising(seen.getRising() && event.getSequence() > last);
        last = event.getSequence();
        if (event.hasSnapshot()) {
          seen.setSnapshots(seen.getSnapshots() + 1);
        }
        if (event.hasFinished()) {
          seen.setFinished(seen.getFinished() + 1);
          seen.setTransfer(event.getFinished().getTransfer());
        }
        if (seen.getEvents() == leave.getAfterMessages()) {
          break;
        }
        if (seen.getEvents() == leave.getCancelAfterMessages()) {
          new Thread(stream::close).start();
        }
      }
      if (seen.getFinished() > 0) {
        stream.result();
      }
    } catch (ImgdException failure) {
      seen.setError(Described.error(failure));
    }
    return seen.build();
  }

  /** The program's own error. */
  private static final class LeftException extends IOException {
    private static final long serialVersionUID = 1;
  }

  private HoldResult hold(HoldOperation wanted) throws IOException {
    HoldResult.Builder said = HoldResult.newBuilder();
    Hold hold =
        wanted.hasLease()
            ? client.holdLease(wanted.getLease())
            : client.holdContainer(wanted.getContainer());
    try (hold) {
      said.setName(hold.name());
      for (Operation operation : wanted.getInsideList()) {
        said.addInside(run(operation));
      }
      if (wanted.getLeaveByError()) {
        throw new LeftException();
      }
    } catch (LeftException left) {
      for (Throwable failure : left.getSuppressed()) {
        said.setError(Described.error((Exception) failure));
      }
    } catch (ImgdException failure) {
      said.setError(Described.error(failure));
    }
    return said.build();
  }

  /** Reads bytes, all of them or so many pieces, into a file or nowhere. */
  private static BytesResult drain(InputStream source, String path, int count) throws IOException {
    MessageDigest hash;
    try {
      hash = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException everyJavaHasIt) {
      throw new IllegalStateException(everyJavaHasIt);
    }
    long size = 0;
    try (OutputStream sink =
        path.isEmpty() ? OutputStream.nullOutputStream() : Files.newOutputStream(Path.of(path))) {
      byte[] buffer = new byte[64 << 10];
      int pieces = 0;
      for (int read = source.read(buffer); read >= 0; read = source.read(buffer)) {
        sink.write(buffer, 0, read);
        hash.update(buffer, 0, read);
        size += read;
        if (++pieces == count) {
          break;
        }
      }
    }
    return BytesResult.newBuilder()
        .setSize(size)
        .setSha256(HexFormat.of().formatHex(hash.digest()))
        .build();
  }

  /** A source that fails after so many bytes. */
  private static final class Failing extends FilterInputStream {
    private long left;

    Failing(InputStream source, long after) {
      super(source);
      left = after;
    }

    @Override
    public int read(byte[] into, int offset, int length) throws IOException {
      if (left == 0) {
        throw new LeftException();
      }
      int count = super.read(into, offset, (int) Math.min(left, length));
      left -= Math.max(count, 0);
      return count;
    }
  }

  private void load(LoadOperation wanted, Result.Builder found) throws IOException {
    long limit = wanted.getAbandonAfterBytes();
    InputStream file = new FileInputStream(wanted.getPath());
    try (InputStream archive = limit == 0 ? file : new Failing(file, limit)) {
      found.setLoaded(client.loadImages(wanted.getRequest(), archive));
    } catch (LeftException left) {
      found.setBytes(BytesResult.newBuilder().setSize(limit));
    }
  }

  private void events(EventsOperation wanted, Result.Builder found) throws IOException {
    try (EventStream stream = client.watchEvents(wanted.getRequest())) {
      if (wanted.hasOnceListening()) {
        run(wanted.getOnceListening());
      }
      int count = 0;
      for (StoreEvent event : stream) {
        found.getEventsBuilder().addEvents(event);
        if (++count == wanted.getCount()) {
          break;
        }
      }
    }
  }
}
