import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Calls } from "./calls.js";
import type { HistoryEntry, Image } from "./gen/imgd/v1/image_pb.js";
import {
  ImageService,
  type InspectImageResponse,
  type ListImagesRequestSchema,
  type PruneImagesRequestSchema,
  type PruneImagesResponse,
  type RemoveImageResponse,
  type TagImageRequestSchema,
  type TagImageResponse,
} from "./gen/imgd/v1/image_service_pb.js";

const methods = ImageService.method;

/**
 * The images of the store. An image is given as a reference, an ID, a repo digest, a unique ID prefix of
 * four digits or more, or a resource name.
 */
export class Images {
  /** @internal */
  constructor(private readonly calls: Calls) {}

  /** Images, newest first, page by page as they are asked for. Filters are `key=value`. */
  async *list(
    request: Omit<MessageInitShape<typeof ListImagesRequestSchema>, "pageToken" | "$typeName"> = {},
    options?: CallOptions,
  ): AsyncGenerator<Image, void, undefined> {
    for (let pageToken = ""; ; ) {
      const page = await this.calls.unary(methods.listImages, { ...request, pageToken }, options);
      yield* page.images;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }

  /** One image. */
  async get(image: string, options?: CallOptions): Promise<Image> {
    return must((await this.calls.unary(methods.getImage, { image }, options)).image);
  }

  /** An image with its parsed config, for one platform. */
  inspect(image: string, platform = "", options?: CallOptions): Promise<InspectImageResponse> {
    return this.calls.unary(methods.inspectImage, { image, platform }, options);
  }

  /** The steps that made an image, oldest first. */
  async history(image: string, platform = "", options?: CallOptions): Promise<HistoryEntry[]> {
    return (await this.calls.unary(methods.getImageHistory, { image, platform }, options)).entries;
  }

  /** Gives an image one more name; a name in use moves. `expectedDigest` makes it a compare and swap. */
  tag(
    image: string,
    tag: string,
    more: Pick<MessageInitShape<typeof TagImageRequestSchema>, "expectedDigest" | "requestId"> = {},
    options?: CallOptions,
  ): Promise<TagImageResponse> {
    return this.calls.unary(methods.tagImage, { ...more, image, tag }, options);
  }

  /** Takes one name away, and never content. Returns the image that lost it. */
  async untag(reference: string, options?: CallOptions): Promise<Image> {
    return must((await this.calls.unary(methods.untagImage, { reference }, options)).image);
  }

  /** Removes a name or an image, as `docker rmi` does. Throws InUseError when it is held. */
  remove(image: string, force = false, options?: CallOptions): Promise<RemoveImageResponse> {
    return this.calls.unary(methods.removeImage, { image, force }, options);
  }

  /**
   * Removes dangling images, or with `all` every image that nothing holds. It takes as long as there are
   * images: the client's timeout does not apply.
   */
  prune(
    request: MessageInitShape<typeof PruneImagesRequestSchema> = {},
    options?: CallOptions,
  ): Promise<PruneImagesResponse> {
    return this.calls.unary(methods.pruneImages, request, { timeout: 0, ...options });
  }

  /** Keeps an image from prune and collection. Idempotent. */
  async pin(image: string, options?: CallOptions): Promise<Image> {
    return must((await this.calls.unary(methods.pinImage, { image }, options)).image);
  }

  /** Takes a pin away. Idempotent. */
  async unpin(image: string, options?: CallOptions): Promise<Image> {
    return must((await this.calls.unary(methods.unpinImage, { image }, options)).image);
  }
}

/** What the protos promise to be there. */
export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the daemon left out what it always says");
  return value;
}
