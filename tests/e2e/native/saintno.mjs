// @saintno/comfyui-sdk: maps an output node and reads the queue at every status.
import assert from "node:assert";
import { readFile } from "node:fs/promises";
import { CallWrapper, ComfyApi, PromptBuilder } from "@saintno/comfyui-sdk";

const [base, path] = process.argv.slice(2);
const prompt = JSON.parse(await readFile(path, "utf8"));
const api = await new ComfyApi(base).init().waitForReady();
const builder = new PromptBuilder(prompt, [], ["images"]).setOutputNode("images", "2");
let failure;
const result = await new CallWrapper(api, builder).onFailed((error) => (failure = error)).run();
assert.ok(result, failure);
const [image] = result.images.images;
const bytes = await (await fetch(api.getPathImage(image))).arrayBuffer();
assert.equal(Buffer.from(bytes).subarray(1, 4).toString(), "PNG");
process.exit(0);
