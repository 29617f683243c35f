package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
 * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
 * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
 * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
 * like an ID prefix wins over the prefix. At most 4,096 characters.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ImageServiceGrpc {

  private ImageServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.ImageService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListImagesRequest,
      dev.imgd.v1.ListImagesResponse> getListImagesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListImages",
      requestType = dev.imgd.v1.ListImagesRequest.class,
      responseType = dev.imgd.v1.ListImagesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListImagesRequest,
      dev.imgd.v1.ListImagesResponse> getListImagesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListImagesRequest, dev.imgd.v1.ListImagesResponse> getListImagesMethod;
    if ((getListImagesMethod = ImageServiceGrpc.getListImagesMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getListImagesMethod = ImageServiceGrpc.getListImagesMethod) == null) {
          ImageServiceGrpc.getListImagesMethod = getListImagesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListImagesRequest, dev.imgd.v1.ListImagesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListImages"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListImagesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListImagesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("ListImages"))
              .build();
        }
      }
    }
    return getListImagesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetImageRequest,
      dev.imgd.v1.GetImageResponse> getGetImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetImage",
      requestType = dev.imgd.v1.GetImageRequest.class,
      responseType = dev.imgd.v1.GetImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetImageRequest,
      dev.imgd.v1.GetImageResponse> getGetImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetImageRequest, dev.imgd.v1.GetImageResponse> getGetImageMethod;
    if ((getGetImageMethod = ImageServiceGrpc.getGetImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getGetImageMethod = ImageServiceGrpc.getGetImageMethod) == null) {
          ImageServiceGrpc.getGetImageMethod = getGetImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetImageRequest, dev.imgd.v1.GetImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("GetImage"))
              .build();
        }
      }
    }
    return getGetImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.InspectImageRequest,
      dev.imgd.v1.InspectImageResponse> getInspectImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "InspectImage",
      requestType = dev.imgd.v1.InspectImageRequest.class,
      responseType = dev.imgd.v1.InspectImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.InspectImageRequest,
      dev.imgd.v1.InspectImageResponse> getInspectImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.InspectImageRequest, dev.imgd.v1.InspectImageResponse> getInspectImageMethod;
    if ((getInspectImageMethod = ImageServiceGrpc.getInspectImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getInspectImageMethod = ImageServiceGrpc.getInspectImageMethod) == null) {
          ImageServiceGrpc.getInspectImageMethod = getInspectImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.InspectImageRequest, dev.imgd.v1.InspectImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "InspectImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.InspectImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.InspectImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("InspectImage"))
              .build();
        }
      }
    }
    return getInspectImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetImageHistoryRequest,
      dev.imgd.v1.GetImageHistoryResponse> getGetImageHistoryMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetImageHistory",
      requestType = dev.imgd.v1.GetImageHistoryRequest.class,
      responseType = dev.imgd.v1.GetImageHistoryResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetImageHistoryRequest,
      dev.imgd.v1.GetImageHistoryResponse> getGetImageHistoryMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetImageHistoryRequest, dev.imgd.v1.GetImageHistoryResponse> getGetImageHistoryMethod;
    if ((getGetImageHistoryMethod = ImageServiceGrpc.getGetImageHistoryMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getGetImageHistoryMethod = ImageServiceGrpc.getGetImageHistoryMethod) == null) {
          ImageServiceGrpc.getGetImageHistoryMethod = getGetImageHistoryMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetImageHistoryRequest, dev.imgd.v1.GetImageHistoryResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetImageHistory"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetImageHistoryRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetImageHistoryResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("GetImageHistory"))
              .build();
        }
      }
    }
    return getGetImageHistoryMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.TagImageRequest,
      dev.imgd.v1.TagImageResponse> getTagImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "TagImage",
      requestType = dev.imgd.v1.TagImageRequest.class,
      responseType = dev.imgd.v1.TagImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.TagImageRequest,
      dev.imgd.v1.TagImageResponse> getTagImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.TagImageRequest, dev.imgd.v1.TagImageResponse> getTagImageMethod;
    if ((getTagImageMethod = ImageServiceGrpc.getTagImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getTagImageMethod = ImageServiceGrpc.getTagImageMethod) == null) {
          ImageServiceGrpc.getTagImageMethod = getTagImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.TagImageRequest, dev.imgd.v1.TagImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "TagImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.TagImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.TagImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("TagImage"))
              .build();
        }
      }
    }
    return getTagImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.UntagImageRequest,
      dev.imgd.v1.UntagImageResponse> getUntagImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UntagImage",
      requestType = dev.imgd.v1.UntagImageRequest.class,
      responseType = dev.imgd.v1.UntagImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.UntagImageRequest,
      dev.imgd.v1.UntagImageResponse> getUntagImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.UntagImageRequest, dev.imgd.v1.UntagImageResponse> getUntagImageMethod;
    if ((getUntagImageMethod = ImageServiceGrpc.getUntagImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getUntagImageMethod = ImageServiceGrpc.getUntagImageMethod) == null) {
          ImageServiceGrpc.getUntagImageMethod = getUntagImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.UntagImageRequest, dev.imgd.v1.UntagImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UntagImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.UntagImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.UntagImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("UntagImage"))
              .build();
        }
      }
    }
    return getUntagImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.RemoveImageRequest,
      dev.imgd.v1.RemoveImageResponse> getRemoveImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RemoveImage",
      requestType = dev.imgd.v1.RemoveImageRequest.class,
      responseType = dev.imgd.v1.RemoveImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.RemoveImageRequest,
      dev.imgd.v1.RemoveImageResponse> getRemoveImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.RemoveImageRequest, dev.imgd.v1.RemoveImageResponse> getRemoveImageMethod;
    if ((getRemoveImageMethod = ImageServiceGrpc.getRemoveImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getRemoveImageMethod = ImageServiceGrpc.getRemoveImageMethod) == null) {
          ImageServiceGrpc.getRemoveImageMethod = getRemoveImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.RemoveImageRequest, dev.imgd.v1.RemoveImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RemoveImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RemoveImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RemoveImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("RemoveImage"))
              .build();
        }
      }
    }
    return getRemoveImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.PruneImagesRequest,
      dev.imgd.v1.PruneImagesResponse> getPruneImagesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PruneImages",
      requestType = dev.imgd.v1.PruneImagesRequest.class,
      responseType = dev.imgd.v1.PruneImagesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.PruneImagesRequest,
      dev.imgd.v1.PruneImagesResponse> getPruneImagesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.PruneImagesRequest, dev.imgd.v1.PruneImagesResponse> getPruneImagesMethod;
    if ((getPruneImagesMethod = ImageServiceGrpc.getPruneImagesMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getPruneImagesMethod = ImageServiceGrpc.getPruneImagesMethod) == null) {
          ImageServiceGrpc.getPruneImagesMethod = getPruneImagesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.PruneImagesRequest, dev.imgd.v1.PruneImagesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PruneImages"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PruneImagesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PruneImagesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("PruneImages"))
              .build();
        }
      }
    }
    return getPruneImagesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.PinImageRequest,
      dev.imgd.v1.PinImageResponse> getPinImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PinImage",
      requestType = dev.imgd.v1.PinImageRequest.class,
      responseType = dev.imgd.v1.PinImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.PinImageRequest,
      dev.imgd.v1.PinImageResponse> getPinImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.PinImageRequest, dev.imgd.v1.PinImageResponse> getPinImageMethod;
    if ((getPinImageMethod = ImageServiceGrpc.getPinImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getPinImageMethod = ImageServiceGrpc.getPinImageMethod) == null) {
          ImageServiceGrpc.getPinImageMethod = getPinImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.PinImageRequest, dev.imgd.v1.PinImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PinImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PinImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PinImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("PinImage"))
              .build();
        }
      }
    }
    return getPinImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.UnpinImageRequest,
      dev.imgd.v1.UnpinImageResponse> getUnpinImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UnpinImage",
      requestType = dev.imgd.v1.UnpinImageRequest.class,
      responseType = dev.imgd.v1.UnpinImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.UnpinImageRequest,
      dev.imgd.v1.UnpinImageResponse> getUnpinImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.UnpinImageRequest, dev.imgd.v1.UnpinImageResponse> getUnpinImageMethod;
    if ((getUnpinImageMethod = ImageServiceGrpc.getUnpinImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getUnpinImageMethod = ImageServiceGrpc.getUnpinImageMethod) == null) {
          ImageServiceGrpc.getUnpinImageMethod = getUnpinImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.UnpinImageRequest, dev.imgd.v1.UnpinImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UnpinImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.UnpinImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.UnpinImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("UnpinImage"))
              .build();
        }
      }
    }
    return getUnpinImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.AppendImageRequest,
      dev.imgd.v1.AppendImageResponse> getAppendImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "AppendImage",
      requestType = dev.imgd.v1.AppendImageRequest.class,
      responseType = dev.imgd.v1.AppendImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.AppendImageRequest,
      dev.imgd.v1.AppendImageResponse> getAppendImageMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.AppendImageRequest, dev.imgd.v1.AppendImageResponse> getAppendImageMethod;
    if ((getAppendImageMethod = ImageServiceGrpc.getAppendImageMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getAppendImageMethod = ImageServiceGrpc.getAppendImageMethod) == null) {
          ImageServiceGrpc.getAppendImageMethod = getAppendImageMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.AppendImageRequest, dev.imgd.v1.AppendImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "AppendImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.AppendImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.AppendImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("AppendImage"))
              .build();
        }
      }
    }
    return getAppendImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ParseReferenceRequest,
      dev.imgd.v1.ParseReferenceResponse> getParseReferenceMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ParseReference",
      requestType = dev.imgd.v1.ParseReferenceRequest.class,
      responseType = dev.imgd.v1.ParseReferenceResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ParseReferenceRequest,
      dev.imgd.v1.ParseReferenceResponse> getParseReferenceMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ParseReferenceRequest, dev.imgd.v1.ParseReferenceResponse> getParseReferenceMethod;
    if ((getParseReferenceMethod = ImageServiceGrpc.getParseReferenceMethod) == null) {
      synchronized (ImageServiceGrpc.class) {
        if ((getParseReferenceMethod = ImageServiceGrpc.getParseReferenceMethod) == null) {
          ImageServiceGrpc.getParseReferenceMethod = getParseReferenceMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ParseReferenceRequest, dev.imgd.v1.ParseReferenceResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ParseReference"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ParseReferenceRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ParseReferenceResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ImageServiceMethodDescriptorSupplier("ParseReference"))
              .build();
        }
      }
    }
    return getParseReferenceMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ImageServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ImageServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ImageServiceStub>() {
        @java.lang.Override
        public ImageServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ImageServiceStub(channel, callOptions);
        }
      };
    return ImageServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ImageServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ImageServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ImageServiceBlockingV2Stub>() {
        @java.lang.Override
        public ImageServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ImageServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ImageServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ImageServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ImageServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ImageServiceBlockingStub>() {
        @java.lang.Override
        public ImageServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ImageServiceBlockingStub(channel, callOptions);
        }
      };
    return ImageServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ImageServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ImageServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ImageServiceFutureStub>() {
        @java.lang.Override
        public ImageServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ImageServiceFutureStub(channel, callOptions);
        }
      };
    return ImageServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Lists images, newest first: by create time (those without one last), then by repository and tag.
     * </pre>
     */
    default void listImages(dev.imgd.v1.ListImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListImagesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListImagesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns one image. NOT_FOUND / IMAGE_NOT_FOUND when there is none.
     * </pre>
     */
    default void getImage(dev.imgd.v1.GetImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns an image with its parsed config, for one platform.
     * </pre>
     */
    default void inspectImage(dev.imgd.v1.InspectImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.InspectImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getInspectImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the steps that made an image, oldest first, for one platform.
     * </pre>
     */
    default void getImageHistory(dev.imgd.v1.GetImageHistoryRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageHistoryResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetImageHistoryMethod(), responseObserver);
    }

    /**
     * <pre>
     * Gives an image one more name. A tag in use moves here; its former image keeps its other names,
     * or becomes dangling. Idempotent.
     * </pre>
     */
    default void tagImage(dev.imgd.v1.TagImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.TagImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getTagImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Takes one name away, and never content: an image that loses its last name becomes dangling.
     * </pre>
     */
    default void untagImage(dev.imgd.v1.UntagImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.UntagImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUntagImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Removes as `docker rmi` does: by name while other names remain, it untags; the last name, or an
     * ID, removes the image, unless containers, leases or a pin hold it (IMAGE_IN_USE).
     * </pre>
     */
    default void removeImage(dev.imgd.v1.RemoveImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRemoveImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Removes dangling images, or with `all` every image that nothing holds.
     * </pre>
     */
    default void pruneImages(dev.imgd.v1.PruneImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PruneImagesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPruneImagesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Pins an image: neither prune nor automatic collection takes it, removal needs force. Idempotent.
     * </pre>
     */
    default void pinImage(dev.imgd.v1.PinImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PinImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPinImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Takes a pin away. Idempotent.
     * </pre>
     */
    default void unpinImage(dev.imgd.v1.UnpinImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.UnpinImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUnpinImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes a new image from a base (or none), layer archives and config changes.
     * </pre>
     */
    default void appendImage(dev.imgd.v1.AppendImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.AppendImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAppendImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Parses and normalises a reference, without looking anything up.
     * </pre>
     */
    default void parseReference(dev.imgd.v1.ParseReferenceRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ParseReferenceResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getParseReferenceMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ImageService.
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public static abstract class ImageServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ImageServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ImageService.
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public static final class ImageServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ImageServiceStub> {
    private ImageServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ImageServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ImageServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists images, newest first: by create time (those without one last), then by repository and tag.
     * </pre>
     */
    public void listImages(dev.imgd.v1.ListImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListImagesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListImagesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns one image. NOT_FOUND / IMAGE_NOT_FOUND when there is none.
     * </pre>
     */
    public void getImage(dev.imgd.v1.GetImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns an image with its parsed config, for one platform.
     * </pre>
     */
    public void inspectImage(dev.imgd.v1.InspectImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.InspectImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getInspectImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the steps that made an image, oldest first, for one platform.
     * </pre>
     */
    public void getImageHistory(dev.imgd.v1.GetImageHistoryRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageHistoryResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetImageHistoryMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Gives an image one more name. A tag in use moves here; its former image keeps its other names,
     * or becomes dangling. Idempotent.
     * </pre>
     */
    public void tagImage(dev.imgd.v1.TagImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.TagImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getTagImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Takes one name away, and never content: an image that loses its last name becomes dangling.
     * </pre>
     */
    public void untagImage(dev.imgd.v1.UntagImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.UntagImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUntagImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Removes as `docker rmi` does: by name while other names remain, it untags; the last name, or an
     * ID, removes the image, unless containers, leases or a pin hold it (IMAGE_IN_USE).
     * </pre>
     */
    public void removeImage(dev.imgd.v1.RemoveImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRemoveImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Removes dangling images, or with `all` every image that nothing holds.
     * </pre>
     */
    public void pruneImages(dev.imgd.v1.PruneImagesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PruneImagesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPruneImagesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Pins an image: neither prune nor automatic collection takes it, removal needs force. Idempotent.
     * </pre>
     */
    public void pinImage(dev.imgd.v1.PinImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PinImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPinImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Takes a pin away. Idempotent.
     * </pre>
     */
    public void unpinImage(dev.imgd.v1.UnpinImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.UnpinImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUnpinImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes a new image from a base (or none), layer archives and config changes.
     * </pre>
     */
    public void appendImage(dev.imgd.v1.AppendImageRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.AppendImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAppendImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Parses and normalises a reference, without looking anything up.
     * </pre>
     */
    public void parseReference(dev.imgd.v1.ParseReferenceRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ParseReferenceResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getParseReferenceMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ImageService.
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public static final class ImageServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ImageServiceBlockingV2Stub> {
    private ImageServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ImageServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ImageServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists images, newest first: by create time (those without one last), then by repository and tag.
     * </pre>
     */
    public dev.imgd.v1.ListImagesResponse listImages(dev.imgd.v1.ListImagesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one image. NOT_FOUND / IMAGE_NOT_FOUND when there is none.
     * </pre>
     */
    public dev.imgd.v1.GetImageResponse getImage(dev.imgd.v1.GetImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns an image with its parsed config, for one platform.
     * </pre>
     */
    public dev.imgd.v1.InspectImageResponse inspectImage(dev.imgd.v1.InspectImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getInspectImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the steps that made an image, oldest first, for one platform.
     * </pre>
     */
    public dev.imgd.v1.GetImageHistoryResponse getImageHistory(dev.imgd.v1.GetImageHistoryRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetImageHistoryMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives an image one more name. A tag in use moves here; its former image keeps its other names,
     * or becomes dangling. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.TagImageResponse tagImage(dev.imgd.v1.TagImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getTagImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes one name away, and never content: an image that loses its last name becomes dangling.
     * </pre>
     */
    public dev.imgd.v1.UntagImageResponse untagImage(dev.imgd.v1.UntagImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUntagImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes as `docker rmi` does: by name while other names remain, it untags; the last name, or an
     * ID, removes the image, unless containers, leases or a pin hold it (IMAGE_IN_USE).
     * </pre>
     */
    public dev.imgd.v1.RemoveImageResponse removeImage(dev.imgd.v1.RemoveImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRemoveImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes dangling images, or with `all` every image that nothing holds.
     * </pre>
     */
    public dev.imgd.v1.PruneImagesResponse pruneImages(dev.imgd.v1.PruneImagesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPruneImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pins an image: neither prune nor automatic collection takes it, removal needs force. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.PinImageResponse pinImage(dev.imgd.v1.PinImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPinImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a pin away. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.UnpinImageResponse unpinImage(dev.imgd.v1.UnpinImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUnpinImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a new image from a base (or none), layer archives and config changes.
     * </pre>
     */
    public dev.imgd.v1.AppendImageResponse appendImage(dev.imgd.v1.AppendImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAppendImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Parses and normalises a reference, without looking anything up.
     * </pre>
     */
    public dev.imgd.v1.ParseReferenceResponse parseReference(dev.imgd.v1.ParseReferenceRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getParseReferenceMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ImageService.
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public static final class ImageServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ImageServiceBlockingStub> {
    private ImageServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ImageServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ImageServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists images, newest first: by create time (those without one last), then by repository and tag.
     * </pre>
     */
    public dev.imgd.v1.ListImagesResponse listImages(dev.imgd.v1.ListImagesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one image. NOT_FOUND / IMAGE_NOT_FOUND when there is none.
     * </pre>
     */
    public dev.imgd.v1.GetImageResponse getImage(dev.imgd.v1.GetImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns an image with its parsed config, for one platform.
     * </pre>
     */
    public dev.imgd.v1.InspectImageResponse inspectImage(dev.imgd.v1.InspectImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getInspectImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the steps that made an image, oldest first, for one platform.
     * </pre>
     */
    public dev.imgd.v1.GetImageHistoryResponse getImageHistory(dev.imgd.v1.GetImageHistoryRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetImageHistoryMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives an image one more name. A tag in use moves here; its former image keeps its other names,
     * or becomes dangling. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.TagImageResponse tagImage(dev.imgd.v1.TagImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getTagImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes one name away, and never content: an image that loses its last name becomes dangling.
     * </pre>
     */
    public dev.imgd.v1.UntagImageResponse untagImage(dev.imgd.v1.UntagImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUntagImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes as `docker rmi` does: by name while other names remain, it untags; the last name, or an
     * ID, removes the image, unless containers, leases or a pin hold it (IMAGE_IN_USE).
     * </pre>
     */
    public dev.imgd.v1.RemoveImageResponse removeImage(dev.imgd.v1.RemoveImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRemoveImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes dangling images, or with `all` every image that nothing holds.
     * </pre>
     */
    public dev.imgd.v1.PruneImagesResponse pruneImages(dev.imgd.v1.PruneImagesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPruneImagesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pins an image: neither prune nor automatic collection takes it, removal needs force. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.PinImageResponse pinImage(dev.imgd.v1.PinImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPinImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a pin away. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.UnpinImageResponse unpinImage(dev.imgd.v1.UnpinImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUnpinImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a new image from a base (or none), layer archives and config changes.
     * </pre>
     */
    public dev.imgd.v1.AppendImageResponse appendImage(dev.imgd.v1.AppendImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAppendImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Parses and normalises a reference, without looking anything up.
     * </pre>
     */
    public dev.imgd.v1.ParseReferenceResponse parseReference(dev.imgd.v1.ParseReferenceRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getParseReferenceMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ImageService.
   * <pre>
   * The images of the local store. Moving images in and out is TransferService's and ArchiveService's.
   * Wherever a request says `image`, it takes: a reference (normalised, `:latest` when it has neither
   * tag nor digest), an image ID or repo digest in full, a prefix of an ID of at least 4 hex digits
   * that fits one image only (several: IMAGE_AMBIGUOUS), or an image's resource name. A tag that looks
   * like an ID prefix wins over the prefix. At most 4,096 characters.
   * </pre>
   */
  public static final class ImageServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ImageServiceFutureStub> {
    private ImageServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ImageServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ImageServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Lists images, newest first: by create time (those without one last), then by repository and tag.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListImagesResponse> listImages(
        dev.imgd.v1.ListImagesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListImagesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns one image. NOT_FOUND / IMAGE_NOT_FOUND when there is none.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetImageResponse> getImage(
        dev.imgd.v1.GetImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns an image with its parsed config, for one platform.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.InspectImageResponse> inspectImage(
        dev.imgd.v1.InspectImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getInspectImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the steps that made an image, oldest first, for one platform.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetImageHistoryResponse> getImageHistory(
        dev.imgd.v1.GetImageHistoryRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetImageHistoryMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Gives an image one more name. A tag in use moves here; its former image keeps its other names,
     * or becomes dangling. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.TagImageResponse> tagImage(
        dev.imgd.v1.TagImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getTagImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Takes one name away, and never content: an image that loses its last name becomes dangling.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.UntagImageResponse> untagImage(
        dev.imgd.v1.UntagImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUntagImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Removes as `docker rmi` does: by name while other names remain, it untags; the last name, or an
     * ID, removes the image, unless containers, leases or a pin hold it (IMAGE_IN_USE).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.RemoveImageResponse> removeImage(
        dev.imgd.v1.RemoveImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRemoveImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Removes dangling images, or with `all` every image that nothing holds.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.PruneImagesResponse> pruneImages(
        dev.imgd.v1.PruneImagesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPruneImagesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Pins an image: neither prune nor automatic collection takes it, removal needs force. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.PinImageResponse> pinImage(
        dev.imgd.v1.PinImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPinImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Takes a pin away. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.UnpinImageResponse> unpinImage(
        dev.imgd.v1.UnpinImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUnpinImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes a new image from a base (or none), layer archives and config changes.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.AppendImageResponse> appendImage(
        dev.imgd.v1.AppendImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAppendImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Parses and normalises a reference, without looking anything up.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ParseReferenceResponse> parseReference(
        dev.imgd.v1.ParseReferenceRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getParseReferenceMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_IMAGES = 0;
  private static final int METHODID_GET_IMAGE = 1;
  private static final int METHODID_INSPECT_IMAGE = 2;
  private static final int METHODID_GET_IMAGE_HISTORY = 3;
  private static final int METHODID_TAG_IMAGE = 4;
  private static final int METHODID_UNTAG_IMAGE = 5;
  private static final int METHODID_REMOVE_IMAGE = 6;
  private static final int METHODID_PRUNE_IMAGES = 7;
  private static final int METHODID_PIN_IMAGE = 8;
  private static final int METHODID_UNPIN_IMAGE = 9;
  private static final int METHODID_APPEND_IMAGE = 10;
  private static final int METHODID_PARSE_REFERENCE = 11;

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
        case METHODID_LIST_IMAGES:
          serviceImpl.listImages((dev.imgd.v1.ListImagesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListImagesResponse>) responseObserver);
          break;
        case METHODID_GET_IMAGE:
          serviceImpl.getImage((dev.imgd.v1.GetImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageResponse>) responseObserver);
          break;
        case METHODID_INSPECT_IMAGE:
          serviceImpl.inspectImage((dev.imgd.v1.InspectImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.InspectImageResponse>) responseObserver);
          break;
        case METHODID_GET_IMAGE_HISTORY:
          serviceImpl.getImageHistory((dev.imgd.v1.GetImageHistoryRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetImageHistoryResponse>) responseObserver);
          break;
        case METHODID_TAG_IMAGE:
          serviceImpl.tagImage((dev.imgd.v1.TagImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.TagImageResponse>) responseObserver);
          break;
        case METHODID_UNTAG_IMAGE:
          serviceImpl.untagImage((dev.imgd.v1.UntagImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.UntagImageResponse>) responseObserver);
          break;
        case METHODID_REMOVE_IMAGE:
          serviceImpl.removeImage((dev.imgd.v1.RemoveImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveImageResponse>) responseObserver);
          break;
        case METHODID_PRUNE_IMAGES:
          serviceImpl.pruneImages((dev.imgd.v1.PruneImagesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.PruneImagesResponse>) responseObserver);
          break;
        case METHODID_PIN_IMAGE:
          serviceImpl.pinImage((dev.imgd.v1.PinImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.PinImageResponse>) responseObserver);
          break;
        case METHODID_UNPIN_IMAGE:
          serviceImpl.unpinImage((dev.imgd.v1.UnpinImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.UnpinImageResponse>) responseObserver);
          break;
        case METHODID_APPEND_IMAGE:
          serviceImpl.appendImage((dev.imgd.v1.AppendImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.AppendImageResponse>) responseObserver);
          break;
        case METHODID_PARSE_REFERENCE:
          serviceImpl.parseReference((dev.imgd.v1.ParseReferenceRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ParseReferenceResponse>) responseObserver);
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
          getListImagesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListImagesRequest,
              dev.imgd.v1.ListImagesResponse>(
                service, METHODID_LIST_IMAGES)))
        .addMethod(
          getGetImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetImageRequest,
              dev.imgd.v1.GetImageResponse>(
                service, METHODID_GET_IMAGE)))
        .addMethod(
          getInspectImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.InspectImageRequest,
              dev.imgd.v1.InspectImageResponse>(
                service, METHODID_INSPECT_IMAGE)))
        .addMethod(
          getGetImageHistoryMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetImageHistoryRequest,
              dev.imgd.v1.GetImageHistoryResponse>(
                service, METHODID_GET_IMAGE_HISTORY)))
        .addMethod(
          getTagImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.TagImageRequest,
              dev.imgd.v1.TagImageResponse>(
                service, METHODID_TAG_IMAGE)))
        .addMethod(
          getUntagImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.UntagImageRequest,
              dev.imgd.v1.UntagImageResponse>(
                service, METHODID_UNTAG_IMAGE)))
        .addMethod(
          getRemoveImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.RemoveImageRequest,
              dev.imgd.v1.RemoveImageResponse>(
                service, METHODID_REMOVE_IMAGE)))
        .addMethod(
          getPruneImagesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.PruneImagesRequest,
              dev.imgd.v1.PruneImagesResponse>(
                service, METHODID_PRUNE_IMAGES)))
        .addMethod(
          getPinImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.PinImageRequest,
              dev.imgd.v1.PinImageResponse>(
                service, METHODID_PIN_IMAGE)))
        .addMethod(
          getUnpinImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.UnpinImageRequest,
              dev.imgd.v1.UnpinImageResponse>(
                service, METHODID_UNPIN_IMAGE)))
        .addMethod(
          getAppendImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.AppendImageRequest,
              dev.imgd.v1.AppendImageResponse>(
                service, METHODID_APPEND_IMAGE)))
        .addMethod(
          getParseReferenceMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ParseReferenceRequest,
              dev.imgd.v1.ParseReferenceResponse>(
                service, METHODID_PARSE_REFERENCE)))
        .build();
  }

  private static abstract class ImageServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ImageServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.ImageServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ImageService");
    }
  }

  private static final class ImageServiceFileDescriptorSupplier
      extends ImageServiceBaseDescriptorSupplier {
    ImageServiceFileDescriptorSupplier() {}
  }

  private static final class ImageServiceMethodDescriptorSupplier
      extends ImageServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ImageServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ImageServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ImageServiceFileDescriptorSupplier())
              .addMethod(getListImagesMethod())
              .addMethod(getGetImageMethod())
              .addMethod(getInspectImageMethod())
              .addMethod(getGetImageHistoryMethod())
              .addMethod(getTagImageMethod())
              .addMethod(getUntagImageMethod())
              .addMethod(getRemoveImageMethod())
              .addMethod(getPruneImagesMethod())
              .addMethod(getPinImageMethod())
              .addMethod(getUnpinImageMethod())
              .addMethod(getAppendImageMethod())
              .addMethod(getParseReferenceMethod())
              .build();
        }
      }
    }
    return result;
  }
}
