package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
 * other; its name comes in the first message of the answer, or is known from StartTransfer.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ArchiveServiceGrpc {

  private ArchiveServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.ArchiveService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.SaveImagesRequest,
      dev.imgd.v1.SaveImagesResponse> getSaveImagesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SaveImages",
      requestType = dev.imgd.v1.SaveImagesRequest.class,
      responseType = dev.imgd.v1.SaveImagesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.SaveImagesRequest,
      dev.imgd.v1.SaveImagesResponse> getSaveImagesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.SaveImagesRequest, dev.imgd.v1.SaveImagesResponse> getSaveImagesMethod;
    if ((getSaveImagesMethod = ArchiveServiceGrpc.getSaveImagesMethod) == null) {
      synchronized (ArchiveServiceGrpc.class) {
        if ((getSaveImagesMethod = ArchiveServiceGrpc.getSaveImagesMethod) == null) {
          ArchiveServiceGrpc.getSaveImagesMethod = getSaveImagesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.SaveImagesRequest, dev.imgd.v1.SaveImagesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SaveImages"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.SaveImagesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.SaveImagesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ArchiveServiceMethodDescriptorSupplier("SaveImages"))
              .build();
        }
      }
    }
    return getSaveImagesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.LoadImagesRequest,
      dev.imgd.v1.LoadImagesResponse> getLoadImagesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "LoadImages",
      requestType = dev.imgd.v1.LoadImagesRequest.class,
      responseType = dev.imgd.v1.LoadImagesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.LoadImagesRequest,
      dev.imgd.v1.LoadImagesResponse> getLoadImagesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.LoadImagesRequest, dev.imgd.v1.LoadImagesResponse> getLoadImagesMethod;
    if ((getLoadImagesMethod = ArchiveServiceGrpc.getLoadImagesMethod) == null) {
      synchronized (ArchiveServiceGrpc.class) {
        if ((getLoadImagesMethod = ArchiveServiceGrpc.getLoadImagesMethod) == null) {
          ArchiveServiceGrpc.getLoadImagesMethod = getLoadImagesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.LoadImagesRequest, dev.imgd.v1.LoadImagesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "LoadImages"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.LoadImagesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.LoadImagesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ArchiveServiceMethodDescriptorSupplier("LoadImages"))
              .build();
        }
      }
    }
    return getLoadImagesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ImportImageRequest,
      dev.imgd.v1.ImportImageResponse> getImportImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ImportImage",
      requestType = dev.imgd.v1.ImportImageRequest.class,
      responseType = dev.imgd.v1.ImportImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ImportImageRequest,
      dev.imgd.v1.ImportImageResponse> getImportImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ImportImageRequest, dev.imgd.v1.ImportImageResponse> getImportImageMethod;
    if ((getImportImageMethod = ArchiveServiceGrpc.getImportImageMethod) == null) {
      synchronized (ArchiveServiceGrpc.class) {
        if ((getImportImageMethod = ArchiveServiceGrpc.getImportImageMethod) == null) {
          ArchiveServiceGrpc.getImportImageMethod = getImportImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ImportImageRequest, dev.imgd.v1.ImportImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ImportImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ImportImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ImportImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ArchiveServiceMethodDescriptorSupplier("ImportImage"))
              .build();
        }
      }
    }
    return getImportImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ExportContainerRequest,
      dev.imgd.v1.ExportContainerResponse> getExportContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ExportContainer",
      requestType = dev.imgd.v1.ExportContainerRequest.class,
      responseType = dev.imgd.v1.ExportContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ExportContainerRequest,
      dev.imgd.v1.ExportContainerResponse> getExportContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ExportContainerRequest, dev.imgd.v1.ExportContainerResponse> getExportContainerMethod;
    if ((getExportContainerMethod = ArchiveServiceGrpc.getExportContainerMethod) == null) {
      synchronized (ArchiveServiceGrpc.class) {
        if ((getExportContainerMethod = ArchiveServiceGrpc.getExportContainerMethod) == null) {
          ArchiveServiceGrpc.getExportContainerMethod = getExportContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ExportContainerRequest, dev.imgd.v1.ExportContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ExportContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ExportContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ExportContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ArchiveServiceMethodDescriptorSupplier("ExportContainer"))
              .build();
        }
      }
    }
    return getExportContainerMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ArchiveServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceStub>() {
        @java.lang.Override
        public ArchiveServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ArchiveServiceStub(channel, callOptions);
        }
      };
    return ArchiveServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ArchiveServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceBlockingV2Stub>() {
        @java.lang.Override
        public ArchiveServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ArchiveServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ArchiveServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ArchiveServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceBlockingStub>() {
        @java.lang.Override
        public ArchiveServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ArchiveServiceBlockingStub(channel, callOptions);
        }
      };
    return ArchiveServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ArchiveServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ArchiveServiceFutureStub>() {
        @java.lang.Override
        public ArchiveServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ArchiveServiceFutureStub(channel, callOptions);
        }
      };
    return ArchiveServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Saves images into one tar that is an OCI image layout and a `docker save` archive at once.
     * </pre>
     */
    default void saveImages(dev.imgd.v1.SaveImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.SaveImagesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSaveImagesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Loads an archive of either form, plain, gzip or zstd. Refused whole when any part is broken.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.imgd.v1.LoadImagesRequest> loadImages(
        io.grpc.stub.StreamObserver<dev.imgd.v1.LoadImagesResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getLoadImagesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes an image of one layer from a root file system's tar.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.imgd.v1.ImportImageRequest> importImage(
        io.grpc.stub.StreamObserver<dev.imgd.v1.ImportImageResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getImportImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams a container's merged root file system as a tar.
     * </pre>
     */
    default void exportContainer(dev.imgd.v1.ExportContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ExportContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getExportContainerMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ArchiveService.
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public static abstract class ArchiveServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ArchiveServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ArchiveService.
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public static final class ArchiveServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ArchiveServiceStub> {
    private ArchiveServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ArchiveServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ArchiveServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Saves images into one tar that is an OCI image layout and a `docker save` archive at once.
     * </pre>
     */
    public void saveImages(dev.imgd.v1.SaveImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.SaveImagesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getSaveImagesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Loads an archive of either form, plain, gzip or zstd. Refused whole when any part is broken.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.imgd.v1.LoadImagesRequest> loadImages(
        io.grpc.stub.StreamObserver<dev.imgd.v1.LoadImagesResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getLoadImagesMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Makes an image of one layer from a root file system's tar.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.imgd.v1.ImportImageRequest> importImage(
        io.grpc.stub.StreamObserver<dev.imgd.v1.ImportImageResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getImportImageMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Streams a container's merged root file system as a tar.
     * </pre>
     */
    public void exportContainer(dev.imgd.v1.ExportContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ExportContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getExportContainerMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ArchiveService.
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public static final class ArchiveServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ArchiveServiceBlockingV2Stub> {
    private ArchiveServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ArchiveServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ArchiveServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Saves images into one tar that is an OCI image layout and a `docker save` archive at once.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.SaveImagesResponse>
        saveImages(dev.imgd.v1.SaveImagesRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getSaveImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Loads an archive of either form, plain, gzip or zstd. Refused whole when any part is broken.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.imgd.v1.LoadImagesRequest, dev.imgd.v1.LoadImagesResponse>
        loadImages() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getLoadImagesMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Makes an image of one layer from a root file system's tar.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.imgd.v1.ImportImageRequest, dev.imgd.v1.ImportImageResponse>
        importImage() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getImportImageMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Streams a container's merged root file system as a tar.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.ExportContainerResponse>
        exportContainer(dev.imgd.v1.ExportContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getExportContainerMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ArchiveService.
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public static final class ArchiveServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ArchiveServiceBlockingStub> {
    private ArchiveServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ArchiveServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ArchiveServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Saves images into one tar that is an OCI image layout and a `docker save` archive at once.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.SaveImagesResponse> saveImages(
        dev.imgd.v1.SaveImagesRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getSaveImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a container's merged root file system as a tar.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.ExportContainerResponse> exportContainer(
        dev.imgd.v1.ExportContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getExportContainerMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ArchiveService.
   * <pre>
   * Byte streams of whole images. Each stream is bound to a transfer, which can be watched like any
   * other; its name comes in the first message of the answer, or is known from StartTransfer.
   * </pre>
   */
  public static final class ArchiveServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ArchiveServiceFutureStub> {
    private ArchiveServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ArchiveServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ArchiveServiceFutureStub(channel, callOptions);
    }
  }

  private static final int METHODID_SAVE_IMAGES = 0;
  private static final int METHODID_EXPORT_CONTAINER = 1;
  private static final int METHODID_LOAD_IMAGES = 2;
  private static final int METHODID_IMPORT_IMAGE = 3;

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
        case METHODID_SAVE_IMAGES:
          serviceImpl.saveImages((dev.imgd.v1.SaveImagesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.SaveImagesResponse>) responseObserver);
          break;
        case METHODID_EXPORT_CONTAINER:
          serviceImpl.exportContainer((dev.imgd.v1.ExportContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ExportContainerResponse>) responseObserver);
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
        case METHODID_LOAD_IMAGES:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.loadImages(
              (io.grpc.stub.StreamObserver<dev.imgd.v1.LoadImagesResponse>) responseObserver);
        case METHODID_IMPORT_IMAGE:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.importImage(
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ImportImageResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getSaveImagesMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.SaveImagesRequest,
              dev.imgd.v1.SaveImagesResponse>(
                service, METHODID_SAVE_IMAGES)))
        .addMethod(
          getLoadImagesMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.LoadImagesRequest,
              dev.imgd.v1.LoadImagesResponse>(
                service, METHODID_LOAD_IMAGES)))
        .addMethod(
          getImportImageMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.ImportImageRequest,
              dev.imgd.v1.ImportImageResponse>(
                service, METHODID_IMPORT_IMAGE)))
        .addMethod(
          getExportContainerMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.ExportContainerRequest,
              dev.imgd.v1.ExportContainerResponse>(
                service, METHODID_EXPORT_CONTAINER)))
        .build();
  }

  private static abstract class ArchiveServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ArchiveServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.ArchiveServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ArchiveService");
    }
  }

  private static final class ArchiveServiceFileDescriptorSupplier
      extends ArchiveServiceBaseDescriptorSupplier {
    ArchiveServiceFileDescriptorSupplier() {}
  }

  private static final class ArchiveServiceMethodDescriptorSupplier
      extends ArchiveServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ArchiveServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ArchiveServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ArchiveServiceFileDescriptorSupplier())
              .addMethod(getSaveImagesMethod())
              .addMethod(getLoadImagesMethod())
              .addMethod(getImportImageMethod())
              .addMethod(getExportContainerMethod())
              .build();
        }
      }
    }
    return result;
  }
}
