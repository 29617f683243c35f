import { Client, TransferFailedError } from "../src/index.js";

await using imgd = new Client();

// Leaving the loop early cancels the pull. What was fetched stays for a while: the next one goes on there.
const pull = await imgd.pull(process.argv[2] ?? "redis:7");
for await (const { event } of pull) {
  if (event.case !== "update") continue;
  for (const node of event.value.nodes) console.log(node.nodeId, node.state);
}
try {
  const { outcome } = await pull.result();
  console.log("pulled", outcome?.target?.digest);
} catch (error) {
  if (!(error instanceof TransferFailedError)) throw error;
  console.error(`${error.reason}: ${error.message}`);
  process.exitCode = 1;
}

for await (const image of imgd.images.list()) {
  console.log(image.tags, image.imageId, image.size);
}
