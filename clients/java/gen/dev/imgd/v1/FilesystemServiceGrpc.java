package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * The many layers of an image, shown as the one tree that they make, or one at a time.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class FilesystemServiceGrpc {

  private FilesystemServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.FilesystemService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListFilesRequest,
      dev.imgd.v1.ListFilesResponse> getListFilesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListFiles",
      requestType = dev.imgd.v1.ListFilesRequest.class,
      responseType = dev.imgd.v1.ListFilesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListFilesRequest,
      dev.imgd.v1.ListFilesResponse> getListFilesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListFilesRequest, dev.imgd.v1.ListFilesResponse> getListFilesMethod;
    if ((getListFilesMethod = FilesystemServiceGrpc.getListFilesMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getListFilesMethod = FilesystemServiceGrpc.getListFilesMethod) == null) {
          FilesystemServiceGrpc.getListFilesMethod = getListFilesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListFilesRequest, dev.imgd.v1.ListFilesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListFiles"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListFilesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListFilesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("ListFiles"))
              .build();
        }
      }
    }
    return getListFilesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetFileRequest,
      dev.imgd.v1.GetFileResponse> getGetFileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetFile",
      requestType = dev.imgd.v1.GetFileRequest.class,
      responseType = dev.imgd.v1.GetFileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetFileRequest,
      dev.imgd.v1.GetFileResponse> getGetFileMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetFileRequest, dev.imgd.v1.GetFileResponse> getGetFileMethod;
    if ((getGetFileMethod = FilesystemServiceGrpc.getGetFileMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getGetFileMethod = FilesystemServiceGrpc.getGetFileMethod) == null) {
          FilesystemServiceGrpc.getGetFileMethod = getGetFileMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetFileRequest, dev.imgd.v1.GetFileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetFile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetFileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetFileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("GetFile"))
              .build();
        }
      }
    }
    return getGetFileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ReadFileRequest,
      dev.imgd.v1.ReadFileResponse> getReadFileMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadFile",
      requestType = dev.imgd.v1.ReadFileRequest.class,
      responseType = dev.imgd.v1.ReadFileResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ReadFileRequest,
      dev.imgd.v1.ReadFileResponse> getReadFileMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ReadFileRequest, dev.imgd.v1.ReadFileResponse> getReadFileMethod;
    if ((getReadFileMethod = FilesystemServiceGrpc.getReadFileMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getReadFileMethod = FilesystemServiceGrpc.getReadFileMethod) == null) {
          FilesystemServiceGrpc.getReadFileMethod = getReadFileMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ReadFileRequest, dev.imgd.v1.ReadFileResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadFile"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ReadFileRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ReadFileResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("ReadFile"))
              .build();
        }
      }
    }
    return getReadFileMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListLayersRequest,
      dev.imgd.v1.ListLayersResponse> getListLayersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListLayers",
      requestType = dev.imgd.v1.ListLayersRequest.class,
      responseType = dev.imgd.v1.ListLayersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListLayersRequest,
      dev.imgd.v1.ListLayersResponse> getListLayersMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListLayersRequest, dev.imgd.v1.ListLayersResponse> getListLayersMethod;
    if ((getListLayersMethod = FilesystemServiceGrpc.getListLayersMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getListLayersMethod = FilesystemServiceGrpc.getListLayersMethod) == null) {
          FilesystemServiceGrpc.getListLayersMethod = getListLayersMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListLayersRequest, dev.imgd.v1.ListLayersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListLayers"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLayersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLayersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("ListLayers"))
              .build();
        }
      }
    }
    return getListLayersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListLayerChangesRequest,
      dev.imgd.v1.ListLayerChangesResponse> getListLayerChangesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListLayerChanges",
      requestType = dev.imgd.v1.ListLayerChangesRequest.class,
      responseType = dev.imgd.v1.ListLayerChangesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListLayerChangesRequest,
      dev.imgd.v1.ListLayerChangesResponse> getListLayerChangesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListLayerChangesRequest, dev.imgd.v1.ListLayerChangesResponse> getListLayerChangesMethod;
    if ((getListLayerChangesMethod = FilesystemServiceGrpc.getListLayerChangesMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getListLayerChangesMethod = FilesystemServiceGrpc.getListLayerChangesMethod) == null) {
          FilesystemServiceGrpc.getListLayerChangesMethod = getListLayerChangesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListLayerChangesRequest, dev.imgd.v1.ListLayerChangesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListLayerChanges"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLayerChangesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLayerChangesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("ListLayerChanges"))
              .build();
        }
      }
    }
    return getListLayerChangesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.MountImageRequest,
      dev.imgd.v1.MountImageResponse> getMountImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "MountImage",
      requestType = dev.imgd.v1.MountImageRequest.class,
      responseType = dev.imgd.v1.MountImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.MountImageRequest,
      dev.imgd.v1.MountImageResponse> getMountImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.MountImageRequest, dev.imgd.v1.MountImageResponse> getMountImageMethod;
    if ((getMountImageMethod = FilesystemServiceGrpc.getMountImageMethod) == null) {
      synchronized (FilesystemServiceGrpc.class) {
        if ((getMountImageMethod = FilesystemServiceGrpc.getMountImageMethod) == null) {
          FilesystemServiceGrpc.getMountImageMethod = getMountImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.MountImageRequest, dev.imgd.v1.MountImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "MountImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.MountImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.MountImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new FilesystemServiceMethodDescriptorSupplier("MountImage"))
              .build();
        }
      }
    }
    return getMountImageMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static FilesystemServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceStub>() {
        @java.lang.Override
        public FilesystemServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new FilesystemServiceStub(channel, callOptions);
        }
      };
    return FilesystemServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static FilesystemServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceBlockingV2Stub>() {
        @java.lang.Override
        public FilesystemServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new FilesystemServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return FilesystemServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static FilesystemServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceBlockingStub>() {
        @java.lang.Override
        public FilesystemServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new FilesystemServiceBlockingStub(channel, callOptions);
        }
      };
    return FilesystemServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static FilesystemServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<FilesystemServiceFutureStub>() {
        @java.lang.Override
        public FilesystemServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new FilesystemServiceFutureStub(channel, callOptions);
        }
      };
    return FilesystemServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Lists a directory, or a whole tree, in the order of paths.
     * </pre>
     */
    default void listFiles(dev.imgd.v1.ListFilesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListFilesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListFilesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns one file's attributes.
     * </pre>
     */
    default void getFile(dev.imgd.v1.GetFileRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetFileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetFileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams a regular file's bytes.
     * </pre>
     */
    default void readFile(dev.imgd.v1.ReadFileRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ReadFileResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadFileMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns what each layer adds, changes and removes, and what is wasted.
     * </pre>
     */
    default void listLayers(dev.imgd.v1.ListLayersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListLayersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams one layer's changes, in the order of paths.
     * </pre>
     */
    default void listLayerChanges(dev.imgd.v1.ListLayerChangesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayerChangesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListLayerChangesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Prepares a read-only view of an image, held by a lease, for callers without a container.
     * </pre>
     */
    default void mountImage(dev.imgd.v1.MountImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.MountImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getMountImageMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service FilesystemService.
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public static abstract class FilesystemServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return FilesystemServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service FilesystemService.
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public static final class FilesystemServiceStub
      extends io.grpc.stub.AbstractAsyncStub<FilesystemServiceStub> {
    private FilesystemServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected FilesystemServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new FilesystemServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a directory, or a whole tree, in the order of paths.
     * </pre>
     */
    public void listFiles(dev.imgd.v1.ListFilesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListFilesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListFilesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns one file's attributes.
     * </pre>
     */
    public void getFile(dev.imgd.v1.GetFileRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetFileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetFileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams a regular file's bytes.
     * </pre>
     */
    public void readFile(dev.imgd.v1.ReadFileRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ReadFileResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getReadFileMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns what each layer adds, changes and removes, and what is wasted.
     * </pre>
     */
    public void listLayers(dev.imgd.v1.ListLayersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListLayersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams one layer's changes, in the order of paths.
     * </pre>
     */
    public void listLayerChanges(dev.imgd.v1.ListLayerChangesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayerChangesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getListLayerChangesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Prepares a read-only view of an image, held by a lease, for callers without a container.
     * </pre>
     */
    public void mountImage(dev.imgd.v1.MountImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.MountImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getMountImageMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service FilesystemService.
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public static final class FilesystemServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<FilesystemServiceBlockingV2Stub> {
    private FilesystemServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected FilesystemServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new FilesystemServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a directory, or a whole tree, in the order of paths.
     * </pre>
     */
    public dev.imgd.v1.ListFilesResponse listFiles(dev.imgd.v1.ListFilesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListFilesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one file's attributes.
     * </pre>
     */
    public dev.imgd.v1.GetFileResponse getFile(dev.imgd.v1.GetFileRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetFileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a regular file's bytes.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.ReadFileResponse>
        readFile(dev.imgd.v1.ReadFileRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getReadFileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns what each layer adds, changes and removes, and what is wasted.
     * </pre>
     */
    public dev.imgd.v1.ListLayersResponse listLayers(dev.imgd.v1.ListLayersRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListLayersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams one layer's changes, in the order of paths.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.ListLayerChangesResponse>
        listLayerChanges(dev.imgd.v1.ListLayerChangesRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getListLayerChangesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Prepares a read-only view of an image, held by a lease, for callers without a container.
     * </pre>
     */
    public dev.imgd.v1.MountImageResponse mountImage(dev.imgd.v1.MountImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getMountImageMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service FilesystemService.
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public static final class FilesystemServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<FilesystemServiceBlockingStub> {
    private FilesystemServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected FilesystemServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new FilesystemServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a directory, or a whole tree, in the order of paths.
     * </pre>
     */
    public dev.imgd.v1.ListFilesResponse listFiles(dev.imgd.v1.ListFilesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListFilesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one file's attributes.
     * </pre>
     */
    public dev.imgd.v1.GetFileResponse getFile(dev.imgd.v1.GetFileRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetFileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a regular file's bytes.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.ReadFileResponse> readFile(
        dev.imgd.v1.ReadFileRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getReadFileMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns what each layer adds, changes and removes, and what is wasted.
     * </pre>
     */
    public dev.imgd.v1.ListLayersResponse listLayers(dev.imgd.v1.ListLayersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListLayersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams one layer's changes, in the order of paths.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.ListLayerChangesResponse> listLayerChanges(
        dev.imgd.v1.ListLayerChangesRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getListLayerChangesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Prepares a read-only view of an image, held by a lease, for callers without a container.
     * </pre>
     */
    public dev.imgd.v1.MountImageResponse mountImage(dev.imgd.v1.MountImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getMountImageMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service FilesystemService.
   * <pre>
   * The many layers of an image, shown as the one tree that they make, or one at a time.
   * </pre>
   */
  public static final class FilesystemServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<FilesystemServiceFutureStub> {
    private FilesystemServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected FilesystemServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new FilesystemServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a directory, or a whole tree, in the order of paths.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListFilesResponse> listFiles(
        dev.imgd.v1.ListFilesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListFilesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns one file's attributes.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetFileResponse> getFile(
        dev.imgd.v1.GetFileRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetFileMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns what each layer adds, changes and removes, and what is wasted.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListLayersResponse> listLayers(
        dev.imgd.v1.ListLayersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListLayersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Prepares a read-only view of an image, held by a lease, for callers without a container.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.MountImageResponse> mountImage(
        dev.imgd.v1.MountImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getMountImageMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_FILES = 0;
  private static final int METHODID_GET_FILE = 1;
  private static final int METHODID_READ_FILE = 2;
  private static final int METHODID_LIST_LAYERS = 3;
  private static final int METHODID_LIST_LAYER_CHANGES = 4;
  private static final int METHODID_MOUNT_IMAGE = 5;

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
        case METHODID_LIST_FILES:
          serviceImpl.listFiles((dev.imgd.v1.ListFilesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListFilesResponse>) responseObserver);
          break;
        case METHODID_GET_FILE:
          serviceImpl.getFile((dev.imgd.v1.GetFileRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetFileResponse>) responseObserver);
          break;
        case METHODID_READ_FILE:
          serviceImpl.readFile((dev.imgd.v1.ReadFileRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ReadFileResponse>) responseObserver);
          break;
        case METHODID_LIST_LAYERS:
          serviceImpl.listLayers((dev.imgd.v1.ListLayersRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayersResponse>) responseObserver);
          break;
        case METHODID_LIST_LAYER_CHANGES:
          serviceImpl.listLayerChanges((dev.imgd.v1.ListLayerChangesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListLayerChangesResponse>) responseObserver);
          break;
        case METHODID_MOUNT_IMAGE:
          serviceImpl.mountImage((dev.imgd.v1.MountImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.MountImageResponse>) responseObserver);
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
          getListFilesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListFilesRequest,
              dev.imgd.v1.ListFilesResponse>(
                service, METHODID_LIST_FILES)))
        .addMethod(
          getGetFileMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetFileRequest,
              dev.imgd.v1.GetFileResponse>(
                service, METHODID_GET_FILE)))
        .addMethod(
          getReadFileMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.ReadFileRequest,
              dev.imgd.v1.ReadFileResponse>(
                service, METHODID_READ_FILE)))
        .addMethod(
          getListLayersMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListLayersRequest,
              dev.imgd.v1.ListLayersResponse>(
                service, METHODID_LIST_LAYERS)))
        .addMethod(
          getListLayerChangesMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.ListLayerChangesRequest,
              dev.imgd.v1.ListLayerChangesResponse>(
                service, METHODID_LIST_LAYER_CHANGES)))
        .addMethod(
          getMountImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.MountImageRequest,
              dev.imgd.v1.MountImageResponse>(
                service, METHODID_MOUNT_IMAGE)))
        .build();
  }

  private static abstract class FilesystemServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    FilesystemServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.FilesystemServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("FilesystemService");
    }
  }

  private static final class FilesystemServiceFileDescriptorSupplier
      extends FilesystemServiceBaseDescriptorSupplier {
    FilesystemServiceFileDescriptorSupplier() {}
  }

  private static final class FilesystemServiceMethodDescriptorSupplier
      extends FilesystemServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    FilesystemServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (FilesystemServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new FilesystemServiceFileDescriptorSupplier())
              .addMethod(getListFilesMethod())
              .addMethod(getGetFileMethod())
              .addMethod(getReadFileMethod())
              .addMethod(getListLayersMethod())
              .addMethod(getListLayerChangesMethod())
              .addMethod(getMountImageMethod())
              .build();
        }
      }
    }
    return result;
  }
}
