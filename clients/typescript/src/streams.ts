import { status } from "@grpc/grpc-js";
import { CancelledError, ImgdError, UnavailableError } from "./errors.js";
import { pause } from "./time.js";

const FIRST = 100;
const LONGEST = 5_000;
// A daemon that asks for more than this is not believed.
const LONGEST_ASKED = 60_000;

/**
 * When to try again: delays that double up to a bound, each drawn from its upper half, so that a
 * thousand watchers of one daemon do not come back in the same moment.
 */
class Patience {
  private failures = 0;
  private since: number | undefined;

  constructor(private readonly limit: number) {}

  reset(): void {
    this.failures = 0;
    this.since = undefined;
  }

  /** Milliseconds to wait, at least what the daemon asked for; undefined when patience is over. */
  next(asked = 0): number | undefined {
    const now = performance.now();
    this.since ??= now;
    const left = this.since + this.limit - now;
    if (left <= 0) return undefined;
    const delay = Math.min(LONGEST, FIRST * 2 ** Math.min(this.failures, 10));
    this.failures += 1;
    return Math.min(
      Math.max(delay * (0.5 + Math.random() / 2), Math.min(asked, LONGEST_ASKED)),
      left,
    );
  }
}

/** How a stream attaches, and what its end means. */
export interface Attachment<T> {
  attach: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>;
  patience: number;
  /** Whether the daemon was there: what never was fails at once. */
  there: boolean;
  /** Whether a stream that ends well is over. Else that is a lost connection. */
  endsWell: boolean;
}

/** A stream's messages; it attaches again when the connection is lost. Aborting ends it quietly. */
export async function* attached<T>(
  options: Attachment<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const patience = new Patience(options.patience);
  let there = options.there;
  for (;;) {
    let failure: unknown;
    try {
      for await (const message of options.attach(signal)) {
        there = true;
        patience.reset();
        yield message;
      }
      if (options.endsWell) return;
      failure = new UnavailableError("the stream ended before its end", status.UNAVAILABLE);
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    if (!(failure instanceof ImgdError) || !isLost(failure)) throw failure;
    if (!there && failure.retryDelay === undefined) throw failure;
    const delay = patience.next(failure.retryDelay);
    if (delay === undefined) throw failure;
    try {
      await pause(delay, signal);
    } catch {
      return;
    }
  }
}

/** A server that stops under its streams ends some of them with a bare CANCELLED. */
function isLost(error: ImgdError): boolean {
  return error instanceof UnavailableError || (error instanceof CancelledError && !error.reason);
}
