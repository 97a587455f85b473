// @saintno/comfyui-sdk: maps an output node and reads the queue at every status; then a pool of two hosts, which gives
// work to members whose queue it saw empty.
import assert from "node:assert";
import { readFile } from "node:fs/promises";
import { CallWrapper, ComfyApi, ComfyPool, EQueueMode, PromptBuilder } from "@saintno/comfyui-sdk";

const [base, path] = process.argv.slice(2);
const prompt = JSON.parse(await readFile(path, "utf8"));
const used = new Set();
const job = (color) => async (api) => {
  used.add(api.id);
  prompt["1"].inputs.color = color;
  const builder = new PromptBuilder(structuredClone(prompt), [], ["images"]).setOutputNode("images", "2");
  let failure;
  const result = await new CallWrapper(api, builder).onFailed((error) => (failure = error)).run();
  assert.ok(result, failure);
  const [image] = result.images.images;
  const bytes = await (await fetch(api.getPathImage(image))).arrayBuffer();
  assert.equal(Buffer.from(bytes).subarray(1, 4).toString(), "PNG");
  return image.filename;
};
await job(0)(await new ComfyApi(base).init().waitForReady());
used.clear();

const hosts = [base, base.replace("127.0.0.1", "localhost")];
const members = hosts.map((host, number) => new ComfyApi(host, `member-${number}`));
const pool = new ComfyPool(members, EQueueMode.PICK_ZERO);
const names = await pool.batch([1, 2, 3, 4, 5, 6].map(job));
assert.equal(new Set(names).size, 6, names);
assert.equal(used.size, 2, "one member starves");
process.exit(0);
