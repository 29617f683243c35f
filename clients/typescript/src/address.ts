import { lstatSync } from "node:fs";
import { isIP } from "node:net";

// sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
const MAX_SOCKET_PATH = 107;
// An IPv6 address is in brackets.
const HOST_PORT = /^([^\s/:[\]]+|\[[0-9a-fA-F:.%\w]+\]):([0-9]{1,5})$/;

/** What the program itself did wrong, found before any call: a malformed address, say. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Where the daemon listens: `IMGD_ADDRESS`, else the system's socket for root, else the user's own, in
 * `$XDG_RUNTIME_DIR` or without one in `/tmp/imgd-UID`.
 *
 * @throws {@link UsageError} That folder is not the user's alone: somebody else could have put it there.
 */
export function defaultAddress(): string {
  const address = process.env["IMGD_ADDRESS"];
  if (address) return address;
  const user = process.geteuid?.() ?? 0;
  if (user === 0) return "unix:///run/imgd/imgd.sock";
  let folder = process.env["XDG_RUNTIME_DIR"];
  if (!folder) {
    folder = `/tmp/imgd-${user}`;
    checkOwn(folder, user);
  }
  return `unix:${folder}/imgd.sock`;
}

/** Anybody can make the folder in our name, and get what is sent to the socket there. */
function checkOwn(folder: string, user: number): void {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (!found || (found.uid === user && found.isDirectory() && (found.mode & 0o022) === 0)) return;
  throw new UsageError(
    `${folder} is not this user's alone: somebody else may have made it; ` +
      "set XDG_RUNTIME_DIR, or name the daemon's address",
  );
}

/** What gRPC connects to for `unix:PATH`, `unix:///PATH` or `HOST:PORT`. Throws UsageError for others. */
export function target(address: string): string {
  if (address.startsWith("unix:")) {
    let path = address.slice("unix:".length);
    if (path.startsWith("//")) {
      if (!path.startsWith("///")) {
        throw new UsageError(`address "${address}": write unix:PATH or unix:///PATH`);
      }
      path = path.slice(2);
    }
    if (!path) throw new UsageError(`address "${address}" names no socket`);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
      throw new UsageError(
        `address "${address}": a socket's path has at most ${MAX_SOCKET_PATH} bytes`,
      );
    }
    return `unix:${path}`;
  }
  const port = Number(HOST_PORT.exec(address)?.[2] ?? 0);
  if (port > 0 && port < 65536) return `dns:${address}`;
  throw new UsageError(`address "${address}" is neither unix:PATH nor HOST:PORT`);
}

/** Whether what is sent to a target stays on this machine. */
export function isHere(where: string): boolean {
  if (where.startsWith("unix:")) return true;
  const host = where
    .slice("dns:".length)
    .replace(/:[0-9]+$/, "")
    .replace(/[[\]]/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
