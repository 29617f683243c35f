package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
 * gRPC's standard services beside this one.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class SystemServiceGrpc {

  private SystemServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.SystemService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetCapabilitiesRequest,
      dev.imgd.v1.GetCapabilitiesResponse> getGetCapabilitiesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetCapabilities",
      requestType = dev.imgd.v1.GetCapabilitiesRequest.class,
      responseType = dev.imgd.v1.GetCapabilitiesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetCapabilitiesRequest,
      dev.imgd.v1.GetCapabilitiesResponse> getGetCapabilitiesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetCapabilitiesRequest, dev.imgd.v1.GetCapabilitiesResponse> getGetCapabilitiesMethod;
    if ((getGetCapabilitiesMethod = SystemServiceGrpc.getGetCapabilitiesMethod) == null) {
      synchronized (SystemServiceGrpc.class) {
        if ((getGetCapabilitiesMethod = SystemServiceGrpc.getGetCapabilitiesMethod) == null) {
          SystemServiceGrpc.getGetCapabilitiesMethod = getGetCapabilitiesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetCapabilitiesRequest, dev.imgd.v1.GetCapabilitiesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetCapabilities"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetCapabilitiesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetCapabilitiesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new SystemServiceMethodDescriptorSupplier("GetCapabilities"))
              .build();
        }
      }
    }
    return getGetCapabilitiesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetInfoRequest,
      dev.imgd.v1.GetInfoResponse> getGetInfoMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetInfo",
      requestType = dev.imgd.v1.GetInfoRequest.class,
      responseType = dev.imgd.v1.GetInfoResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetInfoRequest,
      dev.imgd.v1.GetInfoResponse> getGetInfoMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetInfoRequest, dev.imgd.v1.GetInfoResponse> getGetInfoMethod;
    if ((getGetInfoMethod = SystemServiceGrpc.getGetInfoMethod) == null) {
      synchronized (SystemServiceGrpc.class) {
        if ((getGetInfoMethod = SystemServiceGrpc.getGetInfoMethod) == null) {
          SystemServiceGrpc.getGetInfoMethod = getGetInfoMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetInfoRequest, dev.imgd.v1.GetInfoResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetInfo"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetInfoRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetInfoResponse.getDefaultInstance()))
              .setSchemaDescriptor(new SystemServiceMethodDescriptorSupplier("GetInfo"))
              .build();
        }
      }
    }
    return getGetInfoMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetDiskUsageRequest,
      dev.imgd.v1.GetDiskUsageResponse> getGetDiskUsageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetDiskUsage",
      requestType = dev.imgd.v1.GetDiskUsageRequest.class,
      responseType = dev.imgd.v1.GetDiskUsageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetDiskUsageRequest,
      dev.imgd.v1.GetDiskUsageResponse> getGetDiskUsageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetDiskUsageRequest, dev.imgd.v1.GetDiskUsageResponse> getGetDiskUsageMethod;
    if ((getGetDiskUsageMethod = SystemServiceGrpc.getGetDiskUsageMethod) == null) {
      synchronized (SystemServiceGrpc.class) {
        if ((getGetDiskUsageMethod = SystemServiceGrpc.getGetDiskUsageMethod) == null) {
          SystemServiceGrpc.getGetDiskUsageMethod = getGetDiskUsageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetDiskUsageRequest, dev.imgd.v1.GetDiskUsageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetDiskUsage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetDiskUsageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetDiskUsageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new SystemServiceMethodDescriptorSupplier("GetDiskUsage"))
              .build();
        }
      }
    }
    return getGetDiskUsageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CollectGarbageRequest,
      dev.imgd.v1.CollectGarbageResponse> getCollectGarbageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CollectGarbage",
      requestType = dev.imgd.v1.CollectGarbageRequest.class,
      responseType = dev.imgd.v1.CollectGarbageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CollectGarbageRequest,
      dev.imgd.v1.CollectGarbageResponse> getCollectGarbageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CollectGarbageRequest, dev.imgd.v1.CollectGarbageResponse> getCollectGarbageMethod;
    if ((getCollectGarbageMethod = SystemServiceGrpc.getCollectGarbageMethod) == null) {
      synchronized (SystemServiceGrpc.class) {
        if ((getCollectGarbageMethod = SystemServiceGrpc.getCollectGarbageMethod) == null) {
          SystemServiceGrpc.getCollectGarbageMethod = getCollectGarbageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CollectGarbageRequest, dev.imgd.v1.CollectGarbageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CollectGarbage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CollectGarbageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CollectGarbageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new SystemServiceMethodDescriptorSupplier("CollectGarbage"))
              .build();
        }
      }
    }
    return getCollectGarbageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CheckStoreRequest,
      dev.imgd.v1.CheckStoreResponse> getCheckStoreMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CheckStore",
      requestType = dev.imgd.v1.CheckStoreRequest.class,
      responseType = dev.imgd.v1.CheckStoreResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CheckStoreRequest,
      dev.imgd.v1.CheckStoreResponse> getCheckStoreMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CheckStoreRequest, dev.imgd.v1.CheckStoreResponse> getCheckStoreMethod;
    if ((getCheckStoreMethod = SystemServiceGrpc.getCheckStoreMethod) == null) {
      synchronized (SystemServiceGrpc.class) {
        if ((getCheckStoreMethod = SystemServiceGrpc.getCheckStoreMethod) == null) {
          SystemServiceGrpc.getCheckStoreMethod = getCheckStoreMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CheckStoreRequest, dev.imgd.v1.CheckStoreResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CheckStore"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CheckStoreRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CheckStoreResponse.getDefaultInstance()))
              .setSchemaDescriptor(new SystemServiceMethodDescriptorSupplier("CheckStore"))
              .build();
        }
      }
    }
    return getCheckStoreMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static SystemServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<SystemServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<SystemServiceStub>() {
        @java.lang.Override
        public SystemServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new SystemServiceStub(channel, callOptions);
        }
      };
    return SystemServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static SystemServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<SystemServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<SystemServiceBlockingV2Stub>() {
        @java.lang.Override
        public SystemServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new SystemServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return SystemServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static SystemServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<SystemServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<SystemServiceBlockingStub>() {
        @java.lang.Override
        public SystemServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new SystemServiceBlockingStub(channel, callOptions);
        }
      };
    return SystemServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static SystemServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<SystemServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<SystemServiceFutureStub>() {
        @java.lang.Override
        public SystemServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new SystemServiceFutureStub(channel, callOptions);
        }
      };
    return SystemServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Returns what this daemon implements, and its bounds.
     * </pre>
     */
    default void getCapabilities(dev.imgd.v1.GetCapabilitiesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetCapabilitiesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetCapabilitiesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the daemon's version and state.
     * </pre>
     */
    default void getInfo(dev.imgd.v1.GetInfoRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetInfoResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetInfoMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the space used, as `docker system df` does.
     * </pre>
     */
    default void getDiskUsage(dev.imgd.v1.GetDiskUsageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetDiskUsageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetDiskUsageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Frees the content that nothing refers to, beside everything else that runs.
     * </pre>
     */
    default void collectGarbage(dev.imgd.v1.CollectGarbageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CollectGarbageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCollectGarbageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Verifies every blob and every reference, and streams what it finds.
     * </pre>
     */
    default void checkStore(dev.imgd.v1.CheckStoreRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CheckStoreResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCheckStoreMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service SystemService.
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public static abstract class SystemServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return SystemServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service SystemService.
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public static final class SystemServiceStub
      extends io.grpc.stub.AbstractAsyncStub<SystemServiceStub> {
    private SystemServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected SystemServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new SystemServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns what this daemon implements, and its bounds.
     * </pre>
     */
    public void getCapabilities(dev.imgd.v1.GetCapabilitiesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetCapabilitiesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetCapabilitiesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the daemon's version and state.
     * </pre>
     */
    public void getInfo(dev.imgd.v1.GetInfoRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetInfoResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetInfoMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the space used, as `docker system df` does.
     * </pre>
     */
    public void getDiskUsage(dev.imgd.v1.GetDiskUsageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetDiskUsageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetDiskUsageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Frees the content that nothing refers to, beside everything else that runs.
     * </pre>
     */
    public void collectGarbage(dev.imgd.v1.CollectGarbageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CollectGarbageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCollectGarbageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Verifies every blob and every reference, and streams what it finds.
     * </pre>
     */
    public void checkStore(dev.imgd.v1.CheckStoreRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CheckStoreResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getCheckStoreMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service SystemService.
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public static final class SystemServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<SystemServiceBlockingV2Stub> {
    private SystemServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected SystemServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new SystemServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns what this daemon implements, and its bounds.
     * </pre>
     */
    public dev.imgd.v1.GetCapabilitiesResponse getCapabilities(dev.imgd.v1.GetCapabilitiesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetCapabilitiesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the daemon's version and state.
     * </pre>
     */
    public dev.imgd.v1.GetInfoResponse getInfo(dev.imgd.v1.GetInfoRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetInfoMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the space used, as `docker system df` does.
     * </pre>
     */
    public dev.imgd.v1.GetDiskUsageResponse getDiskUsage(dev.imgd.v1.GetDiskUsageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetDiskUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Frees the content that nothing refers to, beside everything else that runs.
     * </pre>
     */
    public dev.imgd.v1.CollectGarbageResponse collectGarbage(dev.imgd.v1.CollectGarbageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCollectGarbageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Verifies every blob and every reference, and streams what it finds.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.CheckStoreResponse>
        checkStore(dev.imgd.v1.CheckStoreRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getCheckStoreMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service SystemService.
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public static final class SystemServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<SystemServiceBlockingStub> {
    private SystemServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected SystemServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new SystemServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns what this daemon implements, and its bounds.
     * </pre>
     */
    public dev.imgd.v1.GetCapabilitiesResponse getCapabilities(dev.imgd.v1.GetCapabilitiesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetCapabilitiesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the daemon's version and state.
     * </pre>
     */
    public dev.imgd.v1.GetInfoResponse getInfo(dev.imgd.v1.GetInfoRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetInfoMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the space used, as `docker system df` does.
     * </pre>
     */
    public dev.imgd.v1.GetDiskUsageResponse getDiskUsage(dev.imgd.v1.GetDiskUsageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetDiskUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Frees the content that nothing refers to, beside everything else that runs.
     * </pre>
     */
    public dev.imgd.v1.CollectGarbageResponse collectGarbage(dev.imgd.v1.CollectGarbageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCollectGarbageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Verifies every blob and every reference, and streams what it finds.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.CheckStoreResponse> checkStore(
        dev.imgd.v1.CheckStoreRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getCheckStoreMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service SystemService.
   * <pre>
   * The daemon: what it is, what it can, and its house-keeping. Health, reflection and channelz are
   * gRPC's standard services beside this one.
   * </pre>
   */
  public static final class SystemServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<SystemServiceFutureStub> {
    private SystemServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected SystemServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new SystemServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns what this daemon implements, and its bounds.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetCapabilitiesResponse> getCapabilities(
        dev.imgd.v1.GetCapabilitiesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetCapabilitiesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the daemon's version and state.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetInfoResponse> getInfo(
        dev.imgd.v1.GetInfoRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetInfoMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the space used, as `docker system df` does.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetDiskUsageResponse> getDiskUsage(
        dev.imgd.v1.GetDiskUsageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetDiskUsageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Frees the content that nothing refers to, beside everything else that runs.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CollectGarbageResponse> collectGarbage(
        dev.imgd.v1.CollectGarbageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCollectGarbageMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_CAPABILITIES = 0;
  private static final int METHODID_GET_INFO = 1;
  private static final int METHODID_GET_DISK_USAGE = 2;
  private static final int METHODID_COLLECT_GARBAGE = 3;
  private static final int METHODID_CHECK_STORE = 4;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_GET_CAPABILITIES:
          serviceImpl.getCapabilities((dev.imgd.v1.GetCapabilitiesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetCapabilitiesResponse>) responseObserver);
          break;
        case METHODID_GET_INFO:
          serviceImpl.getInfo((dev.imgd.v1.GetInfoRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetInfoResponse>) responseObserver);
          break;
        case METHODID_GET_DISK_USAGE:
          serviceImpl.getDiskUsage((dev.imgd.v1.GetDiskUsageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetDiskUsageResponse>) responseObserver);
          break;
        case METHODID_COLLECT_GARBAGE:
          serviceImpl.collectGarbage((dev.imgd.v1.CollectGarbageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CollectGarbageResponse>) responseObserver);
          break;
        case METHODID_CHECK_STORE:
          serviceImpl.checkStore((dev.imgd.v1.CheckStoreRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CheckStoreResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getGetCapabilitiesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetCapabilitiesRequest,
              dev.imgd.v1.GetCapabilitiesResponse>(
                service, METHODID_GET_CAPABILITIES)))
        .addMethod(
          getGetInfoMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetInfoRequest,
              dev.imgd.v1.GetInfoResponse>(
                service, METHODID_GET_INFO)))
        .addMethod(
          getGetDiskUsageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetDiskUsageRequest,
              dev.imgd.v1.GetDiskUsageResponse>(
                service, METHODID_GET_DISK_USAGE)))
        .addMethod(
          getCollectGarbageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CollectGarbageRequest,
              dev.imgd.v1.CollectGarbageResponse>(
                service, METHODID_COLLECT_GARBAGE)))
        .addMethod(
          getCheckStoreMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.CheckStoreRequest,
              dev.imgd.v1.CheckStoreResponse>(
                service, METHODID_CHECK_STORE)))
        .build();
  }

  private static abstract class SystemServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    SystemServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.SystemServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("SystemService");
    }
  }

  private static final class SystemServiceFileDescriptorSupplier
      extends SystemServiceBaseDescriptorSupplier {
    SystemServiceFileDescriptorSupplier() {}
  }

  private static final class SystemServiceMethodDescriptorSupplier
      extends SystemServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    SystemServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (SystemServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new SystemServiceFileDescriptorSupplier())
              .addMethod(getGetCapabilitiesMethod())
              .addMethod(getGetInfoMethod())
              .addMethod(getGetDiskUsageMethod())
              .addMethod(getCollectGarbageMethod())
              .addMethod(getCheckStoreMethod())
              .build();
        }
      }
    }
    return result;
  }
}
