import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ArchiveService,
  type ImportImageRequestSchema,
  type LoadImagesRequestSchema,
  type LoadImagesResponse,
  type SaveImagesRequestSchema,
} from "./gen/imgd/v1/archive_service_pb.js";
import type { CallOptions, Calls } from "./calls.js";
import type { FileInfo } from "./gen/imgd/v1/filesystem_pb.js";
import {
  FilesystemService,
  type ListFilesRequestSchema,
  type ReadFileRequestSchema,
} from "./gen/imgd/v1/filesystem_service_pb.js";
import type { Image } from "./gen/imgd/v1/image_pb.js";
import { must } from "./images.js";

// A message stays below 1 MiB with its framing.
const CHUNK = (1 << 20) - 1024;

/** Bytes in pieces: a file's stream, a request's body, a list of buffers. */
export type Source = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

async function* messages<First extends object>(
  first: First,
  source: Source,
): AsyncGenerator<(First | Record<never, never>) & { data?: Uint8Array }> {
  yield first;
  for await (const piece of source) {
    for (let start = 0; start < piece.length; start += CHUNK) {
      yield { data: piece.subarray(start, start + CHUNK) };
    }
  }
}

async function* pieces(
  answers: AsyncIterable<{ data: Uint8Array }>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { data } of answers) if (data.length) yield data;
}

/**
 * Images as archives. Streams take as long as they take: no timeout of the client ends them. Leaving a
 * loop early, or the signal, ends the transfer.
 */
export class Archives {
  /** @internal */
  constructor(private readonly calls: Calls) {}

  /** Images as one archive, an OCI image layout and docker's at once. Before an error it is no archive. */
  save(
    images: string[],
    more: Omit<MessageInitShape<typeof SaveImagesRequestSchema>, "images" | "$typeName"> = {},
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const method = ArchiveService.method.saveImages;
    return pieces(this.calls.receive(method, { ...more, images }, signal));
  }

  /** Loads the images of an archive, all or none. What the source throws is thrown. */
  load(
    source: Source,
    more: Omit<MessageInitShape<typeof LoadImagesRequestSchema>, "data" | "$typeName"> = {},
    options?: CallOptions,
  ): Promise<LoadImagesResponse> {
    return this.calls.send(ArchiveService.method.loadImages, messages(more, source), options);
  }

  /** Makes an image of one layer from a root file system's tar. */
  async import(
    source: Source,
    more: Omit<MessageInitShape<typeof ImportImageRequestSchema>, "data" | "$typeName"> = {},
    options?: CallOptions,
  ): Promise<Image> {
    const method = ArchiveService.method.importImage;
    return must((await this.calls.send(method, messages(more, source), options)).image);
  }

  /** A container's merged root file system as a tar. */
  export(container: string, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const method = ArchiveService.method.exportContainer;
    return pieces(this.calls.receive(method, { container }, signal));
  }
}

/** The files of images, without unpacking them. */
export class Files {
  /** @internal */
  constructor(private readonly calls: Calls) {}

  /** A directory's files in the order of paths, page by page as they are asked for. */
  async *list(
    request: Omit<MessageInitShape<typeof ListFilesRequestSchema>, "pageToken" | "$typeName">,
    options?: CallOptions,
  ): AsyncGenerator<FileInfo, void, undefined> {
    for (let pageToken = ""; ; ) {
      const method = FilesystemService.method.listFiles;
      const page = await this.calls.unary(method, { ...request, pageToken }, options);
      yield* page.files;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }

  /** A file's attributes. */
  async get(
    image: string,
    path: string,
    more: { platform?: string; layerIndex?: number; follow?: boolean } = {},
    options?: CallOptions,
  ): Promise<FileInfo> {
    const { follow = false, ...tree } = more;
    const request = { tree: { ...tree, image }, path, follow };
    return must((await this.calls.unary(FilesystemService.method.getFile, request, options)).file);
  }

  /** A file's bytes, or a part of them. Symbolic links are followed, within the image. */
  read(
    request: Omit<MessageInitShape<typeof ReadFileRequestSchema>, "$typeName">,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    return pieces(this.calls.receive(FilesystemService.method.readFile, request, signal));
  }
}
