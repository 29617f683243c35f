import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { relay } from "../examples/relay.js";
import { TransferState } from "../src/gen/imgd/v1/transfer_pb.js";
import * as imgd from "../src/index.js";
import { Daemon, finished, NAME, snapshot } from "./scripted.js";

test("leaving the loop cancels the pull, once, whoever closes it too", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const pull = await daemon.client(t).pull("redis:7");
  for await (const _ of pull) break;
  await Promise.all([pull.close(), pull.close(), pull[Symbol.asyncDispose]()]);
  assert.equal(daemon.cancellations, 1);
  await assert.rejects(pull.result(), imgd.CancelledError);
});

test("a signal cancels the pull, read or not, and is told to who reads", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const client = daemon.client(t);
  const aborter = new AbortController();
  await client.pull("redis:7", { signal: aborter.signal });
  aborter.abort();
  await daemon.cancelled();
  const again = new AbortController();
  const pull = await client.pull("redis:7", { signal: again.signal });
  await assert.rejects(async () => {
    for await (const _ of pull) again.abort();
  }, imgd.CancelledError);
});

test("closing the client cancels its pulls, but not the detached ones", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const client = daemon.client(t);
  await client.pull("redis:7");
  await client.pull("redis:7", { detach: true });
  await client.close();
  assert.equal(daemon.cancellations, 1);
});

test("closing the client ends watches, and nothing is asked of it any more", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const client = daemon.client(t);
  const watch = client.watch(NAME);
  for await (const _ of watch) await client.close();
  await assert.rejects(watch.result(), imgd.CancelledError);
  assert.equal(daemon.cancellations, 0);
});

test("a closed client says so", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const client = daemon.client(t);
  await client.close();
  await client.close();
  const calls: (() => unknown)[] = [
    () => client.pull("redis:7"),
    () => client.watch(NAME).result(),
    () => client.images.get("redis:7"),
    () => client.images.list().next(),
    () => client.events(),
    () => client.leases.hold([]),
    () => client.archives.save([]).next(),
    () => client.archives.load([new Uint8Array(3)]),
  ];
  for (const call of calls) {
    await assert.rejects(async () => await call(), imgd.UsageError, String(call));
  }
  assert.equal(daemon.started.length, 0);
});

test("leaving a watch cancels nothing", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const left = once(daemon, "left");
  for await (const event of daemon.client(t).watch(NAME)) {
    assert.equal(event.sequence, 1n);
    break;
  }
  await left;
  assert.equal(daemon.cancellations, 0);
});

test("the end is no cancellation, and the result can be asked for again", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n), finished(2n));
  await using pull = await daemon.client(t).pull("redis:7");
  const seen = [];
  for await (const event of pull) seen.push(event.event.case);
  assert.deepEqual(seen, ["snapshot", "finished"]);
  assert.equal((await pull.result()).state, TransferState.SUCCEEDED);
  assert.equal((await pull.result()).name, NAME);
  await pull.close();
  assert.equal(daemon.cancellations, 0);
});

test("a transfer that failed has a class of its own", async (t) => {
  const daemon = await Daemon.start(t, finished(1n, TransferState.FAILED));
  const pull = await daemon.client(t).pull("redis:7");
  await assert.rejects(pull.result(), (error: unknown) => {
    assert(error instanceof imgd.TransferFailedError);
    assert.equal(error.transfer.state, TransferState.FAILED);
    assert.equal(error.message, `${NAME} is failed`);
    return true;
  });
});

test("each pull has a request ID of its own", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n));
  const client = daemon.client(t);
  await client.pull("redis:7");
  await client.pull("redis:7");
  await client.pull("redis:7", { requestId: "mine" });
  const ids = daemon.started.map((request) => request.requestId);
  assert.equal(new Set(ids).size, 3);
  assert(ids.every(Boolean));
  assert.equal(ids[2], "mine");
});

// A net for what never comes, far above what it takes.
const NET = { timeout: 60_000 };

test("a hold is given back at the end of its block, and says when it was lost", NET, async (t) => {
  const daemon = await Daemon.start(t);
  const client = daemon.client(t);
  const deleted = once(daemon, "deleted");
  {
    await using hold = await client.leases.hold(["redis:7"], { leaseId: "x" });
    assert.equal(hold.name, "leases/x");
  }
  assert.deepEqual(await deleted, ["leases/x"]);
  daemon.loseLeases = true;
  const lost = await client.leases.hold(["redis:7"], { leaseId: "y", ttl: 1 });
  while (!lost.lost) await new Promise((resolve) => setTimeout(resolve, 5));
  await assert.rejects(lost.close(), imgd.NotFoundError);
});

test("an answer, or a signal, does not wait for an archive that does not come", NET, async (t) => {
  const never = (): ReadableStream<Uint8Array> => new ReadableStream();
  const client = (await Daemon.start(t)).client(t);
  await assert.rejects(client.archives.load(never()), imgd.UnimplementedError);
  // Nobody answers at all.
  const silent = createServer().listen(0, "127.0.0.1");
  t.after(() => silent.close());
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const deaf = new imgd.Client({ address: `127.0.0.1:${port}` });
  t.after(() => deaf.close());
  const aborter = new AbortController();
  const loading = deaf.archives.load(never(), {}, { signal: aborter.signal });
  aborter.abort();
  await assert.rejects(loading, imgd.CancelledError);
});

test("what can not be right is said before any call", () => {
  const wrong: imgd.ClientOptions[] = [
    ...["x", "unix:", "unix://x", "http://127.0.0.1:1", "127.0.0.1", "127.0.0.1:0", "a b:1"],
    "127.0.0.1:65536",
    "::1:80",
    "127.0.0.1:1\n",
    `unix:/${"x".repeat(107)}`,
  ].map((address) => ({ address }));
  wrong.push(
    { address: "192.0.2.1:7", token: "s3cret" },
    { address: "[2001:db8::1]:7", token: "s3cret" },
    { address: "127.0.0.1:7", token: "two words" },
    { address: "127.0.0.1:7", token: "line\n" },
    { address: "127.0.0.1:7", tls: { key: "x" } },
  );
  for (const options of wrong) {
    assert.throws(() => new imgd.Client(options), imgd.UsageError, JSON.stringify(options));
  }
  for (const address of ["unix:/x", "unix:///x", "127.0.0.1:1", "[::1]:1", "localhost:65535"]) {
    void new imgd.Client({ address, token: "s3cret" }).close();
  }
});

test("README shows the example that runs", async (t) => {
  const readme = readFileSync("README.md", "utf8");
  const example = readFileSync("examples/pull.ts", "utf8");
  const shown = example.replace("../src/index.js", "@imgd/client");
  assert(readme.includes(`\`\`\`ts\n${shown}\`\`\`\n`));
  const daemon = await Daemon.start(t, snapshot(1n), finished(2n));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["build/js/examples/pull.js", "redis:7"],
    { env: { ...process.env, IMGD_ADDRESS: daemon.address } },
  );
  assert.match(stdout, /^pulled sha256:abc\n\[ 'redis:7' \]/);
});

test("the relay passes every event on, and a user who leaves cancels", async (t) => {
  const daemon = await Daemon.start(t, snapshot(1n), finished(2n));
  const leaver = await Daemon.start(t, snapshot(1n));
  for (const one of [daemon, leaver]) {
    const server = relay(one.client(t)).listen(0, "127.0.0.1");
    t.after(() => server.close());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const request = get(`http://127.0.0.1:${port}/pull?image=redis:7`);
    const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
    let text = "";
    for await (const piece of response) {
      text += String(piece);
      if (one === leaver) break;
    }
    if (one === leaver) {
      request.destroy();
      await one.cancelled();
    } else {
      assert.equal(text.match(/^data: \{.*\}$/gm)?.length, 2);
      assert.match(text, /TRANSFER_STATE_SUCCEEDED/);
    }
  }
});
