package dev.imgd.client;

import dev.imgd.v1.ContainerServiceGrpc;
import dev.imgd.v1.FilesystemServiceGrpc;
import dev.imgd.v1.ImageServiceGrpc;
import dev.imgd.v1.LeaseServiceGrpc;
import dev.imgd.v1.SystemServiceGrpc;
import dev.imgd.v1.TransferServiceGrpc;
import io.grpc.MethodDescriptor;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Which calls are sent again, and when; gRPC's service config. */
final class ServiceConfig {
  // Calls that may be sent twice: they read, or carry a request_id that makes the second one find
  // the first one's result (this package always sends one with what starts or creates), or are
  // idempotent.
  private static final Stream<MethodDescriptor<?, ?>> SAFE =
      Stream.of(
          ImageServiceGrpc.getListImagesMethod(),
          ImageServiceGrpc.getGetImageMethod(),
          ImageServiceGrpc.getInspectImageMethod(),
          ImageServiceGrpc.getGetImageHistoryMethod(),
          ImageServiceGrpc.getParseReferenceMethod(),
          ImageServiceGrpc.getPinImageMethod(),
          ImageServiceGrpc.getUnpinImageMethod(),
          ContainerServiceGrpc.getCreateContainerMethod(),
          ContainerServiceGrpc.getGetContainerMethod(),
          ContainerServiceGrpc.getListContainersMethod(),
          ContainerServiceGrpc.getStartContainerMethod(),
          ContainerServiceGrpc.getPauseContainerMethod(),
          ContainerServiceGrpc.getStopContainerMethod(),
          ContainerServiceGrpc.getHeartbeatContainerMethod(),
          LeaseServiceGrpc.getCreateLeaseMethod(),
          LeaseServiceGrpc.getGetLeaseMethod(),
          LeaseServiceGrpc.getListLeasesMethod(),
          LeaseServiceGrpc.getRenewLeaseMethod(),
          LeaseServiceGrpc.getDeleteLeaseMethod(),
          FilesystemServiceGrpc.getListFilesMethod(),
          FilesystemServiceGrpc.getGetFileMethod(),
          FilesystemServiceGrpc.getListLayersMethod(),
          TransferServiceGrpc.getGetTransferMethod(),
          TransferServiceGrpc.getListTransfersMethod(),
          TransferServiceGrpc.getStartTransferMethod(),
          TransferServiceGrpc.getCancelTransferMethod(),
          SystemServiceGrpc.getGetInfoMethod(),
          SystemServiceGrpc.getGetCapabilitiesMethod(),
          SystemServiceGrpc.getGetDiskUsageMethod());

  // Bridges a restart's moment only. Somebody waits for the answer, and a daemon that is not there
  // should be said to be not there.
  private static final Map<String, ?> RETRIES =
      Map.of(
          "maxAttempts",
          3.0,
          "initialBackoff",
          "0.1s",
          "maxBackoff",
          "0.5s",
          "backoffMultiplier",
          2.0,
          "retryableStatusCodes",
          List.of("UNAVAILABLE"));

  static final Map<String, ?> CONFIG =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name",
                  SAFE.map(
                          method ->
                              Map.of(
                                  "service",
                                  method.getServiceName(),
                                  "method",
                                  method.getBareMethodName()))
                      .toList(),
                  "retryPolicy",
                  RETRIES)));

  private ServiceConfig() {}
}
