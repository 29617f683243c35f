package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
 * transfers.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class RegistryServiceGrpc {

  private RegistryServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.RegistryService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListTagsRequest,
      dev.imgd.v1.ListTagsResponse> getListTagsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListTags",
      requestType = dev.imgd.v1.ListTagsRequest.class,
      responseType = dev.imgd.v1.ListTagsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListTagsRequest,
      dev.imgd.v1.ListTagsResponse> getListTagsMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListTagsRequest, dev.imgd.v1.ListTagsResponse> getListTagsMethod;
    if ((getListTagsMethod = RegistryServiceGrpc.getListTagsMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getListTagsMethod = RegistryServiceGrpc.getListTagsMethod) == null) {
          RegistryServiceGrpc.getListTagsMethod = getListTagsMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListTagsRequest, dev.imgd.v1.ListTagsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListTags"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListTagsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListTagsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("ListTags"))
              .build();
        }
      }
    }
    return getListTagsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListRepositoriesRequest,
      dev.imgd.v1.ListRepositoriesResponse> getListRepositoriesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRepositories",
      requestType = dev.imgd.v1.ListRepositoriesRequest.class,
      responseType = dev.imgd.v1.ListRepositoriesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListRepositoriesRequest,
      dev.imgd.v1.ListRepositoriesResponse> getListRepositoriesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListRepositoriesRequest, dev.imgd.v1.ListRepositoriesResponse> getListRepositoriesMethod;
    if ((getListRepositoriesMethod = RegistryServiceGrpc.getListRepositoriesMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getListRepositoriesMethod = RegistryServiceGrpc.getListRepositoriesMethod) == null) {
          RegistryServiceGrpc.getListRepositoriesMethod = getListRepositoriesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListRepositoriesRequest, dev.imgd.v1.ListRepositoriesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRepositories"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListRepositoriesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListRepositoriesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("ListRepositories"))
              .build();
        }
      }
    }
    return getListRepositoriesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ResolveReferenceRequest,
      dev.imgd.v1.ResolveReferenceResponse> getResolveReferenceMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResolveReference",
      requestType = dev.imgd.v1.ResolveReferenceRequest.class,
      responseType = dev.imgd.v1.ResolveReferenceResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ResolveReferenceRequest,
      dev.imgd.v1.ResolveReferenceResponse> getResolveReferenceMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ResolveReferenceRequest, dev.imgd.v1.ResolveReferenceResponse> getResolveReferenceMethod;
    if ((getResolveReferenceMethod = RegistryServiceGrpc.getResolveReferenceMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getResolveReferenceMethod = RegistryServiceGrpc.getResolveReferenceMethod) == null) {
          RegistryServiceGrpc.getResolveReferenceMethod = getResolveReferenceMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ResolveReferenceRequest, dev.imgd.v1.ResolveReferenceResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResolveReference"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ResolveReferenceRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ResolveReferenceResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("ResolveReference"))
              .build();
        }
      }
    }
    return getResolveReferenceMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetRemoteManifestRequest,
      dev.imgd.v1.GetRemoteManifestResponse> getGetRemoteManifestMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetRemoteManifest",
      requestType = dev.imgd.v1.GetRemoteManifestRequest.class,
      responseType = dev.imgd.v1.GetRemoteManifestResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetRemoteManifestRequest,
      dev.imgd.v1.GetRemoteManifestResponse> getGetRemoteManifestMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetRemoteManifestRequest, dev.imgd.v1.GetRemoteManifestResponse> getGetRemoteManifestMethod;
    if ((getGetRemoteManifestMethod = RegistryServiceGrpc.getGetRemoteManifestMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getGetRemoteManifestMethod = RegistryServiceGrpc.getGetRemoteManifestMethod) == null) {
          RegistryServiceGrpc.getGetRemoteManifestMethod = getGetRemoteManifestMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetRemoteManifestRequest, dev.imgd.v1.GetRemoteManifestResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetRemoteManifest"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetRemoteManifestRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetRemoteManifestResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("GetRemoteManifest"))
              .build();
        }
      }
    }
    return getGetRemoteManifestMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListReferrersRequest,
      dev.imgd.v1.ListReferrersResponse> getListReferrersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListReferrers",
      requestType = dev.imgd.v1.ListReferrersRequest.class,
      responseType = dev.imgd.v1.ListReferrersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListReferrersRequest,
      dev.imgd.v1.ListReferrersResponse> getListReferrersMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListReferrersRequest, dev.imgd.v1.ListReferrersResponse> getListReferrersMethod;
    if ((getListReferrersMethod = RegistryServiceGrpc.getListReferrersMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getListReferrersMethod = RegistryServiceGrpc.getListReferrersMethod) == null) {
          RegistryServiceGrpc.getListReferrersMethod = getListReferrersMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListReferrersRequest, dev.imgd.v1.ListReferrersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListReferrers"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListReferrersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListReferrersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("ListReferrers"))
              .build();
        }
      }
    }
    return getListReferrersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.SearchRepositoriesRequest,
      dev.imgd.v1.SearchRepositoriesResponse> getSearchRepositoriesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SearchRepositories",
      requestType = dev.imgd.v1.SearchRepositoriesRequest.class,
      responseType = dev.imgd.v1.SearchRepositoriesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.SearchRepositoriesRequest,
      dev.imgd.v1.SearchRepositoriesResponse> getSearchRepositoriesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.SearchRepositoriesRequest, dev.imgd.v1.SearchRepositoriesResponse> getSearchRepositoriesMethod;
    if ((getSearchRepositoriesMethod = RegistryServiceGrpc.getSearchRepositoriesMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getSearchRepositoriesMethod = RegistryServiceGrpc.getSearchRepositoriesMethod) == null) {
          RegistryServiceGrpc.getSearchRepositoriesMethod = getSearchRepositoriesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.SearchRepositoriesRequest, dev.imgd.v1.SearchRepositoriesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SearchRepositories"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.SearchRepositoriesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.SearchRepositoriesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("SearchRepositories"))
              .build();
        }
      }
    }
    return getSearchRepositoriesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListRateBudgetsRequest,
      dev.imgd.v1.ListRateBudgetsResponse> getListRateBudgetsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRateBudgets",
      requestType = dev.imgd.v1.ListRateBudgetsRequest.class,
      responseType = dev.imgd.v1.ListRateBudgetsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListRateBudgetsRequest,
      dev.imgd.v1.ListRateBudgetsResponse> getListRateBudgetsMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListRateBudgetsRequest, dev.imgd.v1.ListRateBudgetsResponse> getListRateBudgetsMethod;
    if ((getListRateBudgetsMethod = RegistryServiceGrpc.getListRateBudgetsMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getListRateBudgetsMethod = RegistryServiceGrpc.getListRateBudgetsMethod) == null) {
          RegistryServiceGrpc.getListRateBudgetsMethod = getListRateBudgetsMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListRateBudgetsRequest, dev.imgd.v1.ListRateBudgetsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRateBudgets"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListRateBudgetsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListRateBudgetsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("ListRateBudgets"))
              .build();
        }
      }
    }
    return getListRateBudgetsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CheckCredentialsRequest,
      dev.imgd.v1.CheckCredentialsResponse> getCheckCredentialsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CheckCredentials",
      requestType = dev.imgd.v1.CheckCredentialsRequest.class,
      responseType = dev.imgd.v1.CheckCredentialsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CheckCredentialsRequest,
      dev.imgd.v1.CheckCredentialsResponse> getCheckCredentialsMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CheckCredentialsRequest, dev.imgd.v1.CheckCredentialsResponse> getCheckCredentialsMethod;
    if ((getCheckCredentialsMethod = RegistryServiceGrpc.getCheckCredentialsMethod) == null) {
      synchronized (RegistryServiceGrpc.class) {
        if ((getCheckCredentialsMethod = RegistryServiceGrpc.getCheckCredentialsMethod) == null) {
          RegistryServiceGrpc.getCheckCredentialsMethod = getCheckCredentialsMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CheckCredentialsRequest, dev.imgd.v1.CheckCredentialsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CheckCredentials"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CheckCredentialsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CheckCredentialsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RegistryServiceMethodDescriptorSupplier("CheckCredentials"))
              .build();
        }
      }
    }
    return getCheckCredentialsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static RegistryServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RegistryServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RegistryServiceStub>() {
        @java.lang.Override
        public RegistryServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RegistryServiceStub(channel, callOptions);
        }
      };
    return RegistryServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static RegistryServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RegistryServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RegistryServiceBlockingV2Stub>() {
        @java.lang.Override
        public RegistryServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RegistryServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return RegistryServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static RegistryServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RegistryServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RegistryServiceBlockingStub>() {
        @java.lang.Override
        public RegistryServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RegistryServiceBlockingStub(channel, callOptions);
        }
      };
    return RegistryServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static RegistryServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RegistryServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RegistryServiceFutureStub>() {
        @java.lang.Override
        public RegistryServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RegistryServiceFutureStub(channel, callOptions);
        }
      };
    return RegistryServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Lists a repository's tags in lexical order.
     * </pre>
     */
    default void listTags(dev.imgd.v1.ListTagsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListTagsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListTagsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists a registry's repositories, where it permits that.
     * </pre>
     */
    default void listRepositories(dev.imgd.v1.ListRepositoriesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListRepositoriesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRepositoriesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns what a name points at.
     * </pre>
     */
    default void resolveReference(dev.imgd.v1.ResolveReferenceRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ResolveReferenceResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResolveReferenceMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns a remote manifest's bytes and, for an image, its config.
     * </pre>
     */
    default void getRemoteManifest(dev.imgd.v1.GetRemoteManifestRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetRemoteManifestResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetRemoteManifestMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists what refers to a manifest: signatures, attestations, SBOMs.
     * </pre>
     */
    default void listReferrers(dev.imgd.v1.ListReferrersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListReferrersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListReferrersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Searches Docker Hub, or another registry that offers searching.
     * </pre>
     */
    default void searchRepositories(dev.imgd.v1.SearchRepositoriesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.SearchRepositoriesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSearchRepositoriesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the request budgets that registries have told of.
     * </pre>
     */
    default void listRateBudgets(dev.imgd.v1.ListRateBudgetsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListRateBudgetsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRateBudgetsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Tries credentials against a registry. Stores nothing.
     * </pre>
     */
    default void checkCredentials(dev.imgd.v1.CheckCredentialsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CheckCredentialsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCheckCredentialsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service RegistryService.
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public static abstract class RegistryServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return RegistryServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service RegistryService.
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public static final class RegistryServiceStub
      extends io.grpc.stub.AbstractAsyncStub<RegistryServiceStub> {
    private RegistryServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RegistryServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RegistryServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a repository's tags in lexical order.
     * </pre>
     */
    public void listTags(dev.imgd.v1.ListTagsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListTagsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListTagsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists a registry's repositories, where it permits that.
     * </pre>
     */
    public void listRepositories(dev.imgd.v1.ListRepositoriesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListRepositoriesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListRepositoriesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns what a name points at.
     * </pre>
     */
    public void resolveReference(dev.imgd.v1.ResolveReferenceRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ResolveReferenceResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResolveReferenceMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns a remote manifest's bytes and, for an image, its config.
     * </pre>
     */
    public void getRemoteManifest(dev.imgd.v1.GetRemoteManifestRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetRemoteManifestResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getGetRemoteManifestMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists what refers to a manifest: signatures, attestations, SBOMs.
     * </pre>
     */
    public void listReferrers(dev.imgd.v1.ListReferrersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListReferrersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListReferrersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Searches Docker Hub, or another registry that offers searching.
     * </pre>
     */
    public void searchRepositories(dev.imgd.v1.SearchRepositoriesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.SearchRepositoriesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSearchRepositoriesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the request budgets that registries have told of.
     * </pre>
     */
    public void listRateBudgets(dev.imgd.v1.ListRateBudgetsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListRateBudgetsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListRateBudgetsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Tries credentials against a registry. Stores nothing.
     * </pre>
     */
    public void checkCredentials(dev.imgd.v1.CheckCredentialsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CheckCredentialsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCheckCredentialsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service RegistryService.
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public static final class RegistryServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<RegistryServiceBlockingV2Stub> {
    private RegistryServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RegistryServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RegistryServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a repository's tags in lexical order.
     * </pre>
     */
    public dev.imgd.v1.ListTagsResponse listTags(dev.imgd.v1.ListTagsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListTagsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists a registry's repositories, where it permits that.
     * </pre>
     */
    public dev.imgd.v1.ListRepositoriesResponse listRepositories(dev.imgd.v1.ListRepositoriesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListRepositoriesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns what a name points at.
     * </pre>
     */
    public dev.imgd.v1.ResolveReferenceResponse resolveReference(dev.imgd.v1.ResolveReferenceRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResolveReferenceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a remote manifest's bytes and, for an image, its config.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.GetRemoteManifestResponse>
        getRemoteManifest(dev.imgd.v1.GetRemoteManifestRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getGetRemoteManifestMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists what refers to a manifest: signatures, attestations, SBOMs.
     * </pre>
     */
    public dev.imgd.v1.ListReferrersResponse listReferrers(dev.imgd.v1.ListReferrersRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListReferrersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Searches Docker Hub, or another registry that offers searching.
     * </pre>
     */
    public dev.imgd.v1.SearchRepositoriesResponse searchRepositories(dev.imgd.v1.SearchRepositoriesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSearchRepositoriesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the request budgets that registries have told of.
     * </pre>
     */
    public dev.imgd.v1.ListRateBudgetsResponse listRateBudgets(dev.imgd.v1.ListRateBudgetsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListRateBudgetsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tries credentials against a registry. Stores nothing.
     * </pre>
     */
    public dev.imgd.v1.CheckCredentialsResponse checkCredentials(dev.imgd.v1.CheckCredentialsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCheckCredentialsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service RegistryService.
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public static final class RegistryServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<RegistryServiceBlockingStub> {
    private RegistryServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RegistryServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RegistryServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a repository's tags in lexical order.
     * </pre>
     */
    public dev.imgd.v1.ListTagsResponse listTags(dev.imgd.v1.ListTagsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListTagsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists a registry's repositories, where it permits that.
     * </pre>
     */
    public dev.imgd.v1.ListRepositoriesResponse listRepositories(dev.imgd.v1.ListRepositoriesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListRepositoriesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns what a name points at.
     * </pre>
     */
    public dev.imgd.v1.ResolveReferenceResponse resolveReference(dev.imgd.v1.ResolveReferenceRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResolveReferenceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a remote manifest's bytes and, for an image, its config.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.GetRemoteManifestResponse> getRemoteManifest(
        dev.imgd.v1.GetRemoteManifestRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getGetRemoteManifestMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists what refers to a manifest: signatures, attestations, SBOMs.
     * </pre>
     */
    public dev.imgd.v1.ListReferrersResponse listReferrers(dev.imgd.v1.ListReferrersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListReferrersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Searches Docker Hub, or another registry that offers searching.
     * </pre>
     */
    public dev.imgd.v1.SearchRepositoriesResponse searchRepositories(dev.imgd.v1.SearchRepositoriesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSearchRepositoriesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the request budgets that registries have told of.
     * </pre>
     */
    public dev.imgd.v1.ListRateBudgetsResponse listRateBudgets(dev.imgd.v1.ListRateBudgetsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListRateBudgetsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Tries credentials against a registry. Stores nothing.
     * </pre>
     */
    public dev.imgd.v1.CheckCredentialsResponse checkCredentials(dev.imgd.v1.CheckCredentialsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCheckCredentialsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service RegistryService.
   * <pre>
   * Look-ups in remote registries, through the same hosts, mirrors, credentials and egress policy as
   * transfers.
   * </pre>
   */
  public static final class RegistryServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<RegistryServiceFutureStub> {
    private RegistryServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RegistryServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RegistryServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists a repository's tags in lexical order.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListTagsResponse> listTags(
        dev.imgd.v1.ListTagsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListTagsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists a registry's repositories, where it permits that.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListRepositoriesResponse> listRepositories(
        dev.imgd.v1.ListRepositoriesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListRepositoriesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns what a name points at.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ResolveReferenceResponse> resolveReference(
        dev.imgd.v1.ResolveReferenceRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResolveReferenceMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists what refers to a manifest: signatures, attestations, SBOMs.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListReferrersResponse> listReferrers(
        dev.imgd.v1.ListReferrersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListReferrersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Searches Docker Hub, or another registry that offers searching.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.SearchRepositoriesResponse> searchRepositories(
        dev.imgd.v1.SearchRepositoriesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSearchRepositoriesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the request budgets that registries have told of.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListRateBudgetsResponse> listRateBudgets(
        dev.imgd.v1.ListRateBudgetsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListRateBudgetsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Tries credentials against a registry. Stores nothing.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CheckCredentialsResponse> checkCredentials(
        dev.imgd.v1.CheckCredentialsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCheckCredentialsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_TAGS = 0;
  private static final int METHODID_LIST_REPOSITORIES = 1;
  private static final int METHODID_RESOLVE_REFERENCE = 2;
  private static final int METHODID_GET_REMOTE_MANIFEST = 3;
  private static final int METHODID_LIST_REFERRERS = 4;
  private static final int METHODID_SEARCH_REPOSITORIES = 5;
  private static final int METHODID_LIST_RATE_BUDGETS = 6;
  private static final int METHODID_CHECK_CREDENTIALS = 7;

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
        case METHODID_LIST_TAGS:
          serviceImpl.listTags((dev.imgd.v1.ListTagsRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListTagsResponse>) responseObserver);
          break;
        case METHODID_LIST_REPOSITORIES:
          serviceImpl.listRepositories((dev.imgd.v1.ListRepositoriesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListRepositoriesResponse>) responseObserver);
          break;
        case METHODID_RESOLVE_REFERENCE:
          serviceImpl.resolveReference((dev.imgd.v1.ResolveReferenceRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ResolveReferenceResponse>) responseObserver);
          break;
        case METHODID_GET_REMOTE_MANIFEST:
          serviceImpl.getRemoteManifest((dev.imgd.v1.GetRemoteManifestRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetRemoteManifestResponse>) responseObserver);
          break;
        case METHODID_LIST_REFERRERS:
          serviceImpl.listReferrers((dev.imgd.v1.ListReferrersRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListReferrersResponse>) responseObserver);
          break;
        case METHODID_SEARCH_REPOSITORIES:
          serviceImpl.searchRepositories((dev.imgd.v1.SearchRepositoriesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.SearchRepositoriesResponse>) responseObserver);
          break;
        case METHODID_LIST_RATE_BUDGETS:
          serviceImpl.listRateBudgets((dev.imgd.v1.ListRateBudgetsRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListRateBudgetsResponse>) responseObserver);
          break;
        case METHODID_CHECK_CREDENTIALS:
          serviceImpl.checkCredentials((dev.imgd.v1.CheckCredentialsRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CheckCredentialsResponse>) responseObserver);
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
          getListTagsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListTagsRequest,
              dev.imgd.v1.ListTagsResponse>(
                service, METHODID_LIST_TAGS)))
        .addMethod(
          getListRepositoriesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListRepositoriesRequest,
              dev.imgd.v1.ListRepositoriesResponse>(
                service, METHODID_LIST_REPOSITORIES)))
        .addMethod(
          getResolveReferenceMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ResolveReferenceRequest,
              dev.imgd.v1.ResolveReferenceResponse>(
                service, METHODID_RESOLVE_REFERENCE)))
        .addMethod(
          getGetRemoteManifestMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.GetRemoteManifestRequest,
              dev.imgd.v1.GetRemoteManifestResponse>(
                service, METHODID_GET_REMOTE_MANIFEST)))
        .addMethod(
          getListReferrersMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListReferrersRequest,
              dev.imgd.v1.ListReferrersResponse>(
                service, METHODID_LIST_REFERRERS)))
        .addMethod(
          getSearchRepositoriesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.SearchRepositoriesRequest,
              dev.imgd.v1.SearchRepositoriesResponse>(
                service, METHODID_SEARCH_REPOSITORIES)))
        .addMethod(
          getListRateBudgetsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListRateBudgetsRequest,
              dev.imgd.v1.ListRateBudgetsResponse>(
                service, METHODID_LIST_RATE_BUDGETS)))
        .addMethod(
          getCheckCredentialsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CheckCredentialsRequest,
              dev.imgd.v1.CheckCredentialsResponse>(
                service, METHODID_CHECK_CREDENTIALS)))
        .build();
  }

  private static abstract class RegistryServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    RegistryServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.RegistryServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("RegistryService");
    }
  }

  private static final class RegistryServiceFileDescriptorSupplier
      extends RegistryServiceBaseDescriptorSupplier {
    RegistryServiceFileDescriptorSupplier() {}
  }

  private static final class RegistryServiceMethodDescriptorSupplier
      extends RegistryServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    RegistryServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (RegistryServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new RegistryServiceFileDescriptorSupplier())
              .addMethod(getListTagsMethod())
              .addMethod(getListRepositoriesMethod())
              .addMethod(getResolveReferenceMethod())
              .addMethod(getGetRemoteManifestMethod())
              .addMethod(getListReferrersMethod())
              .addMethod(getSearchRepositoriesMethod())
              .addMethod(getListRateBudgetsMethod())
              .addMethod(getCheckCredentialsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
