// @stable-canvas/comfyui-client: waits by socket, then looks at queue and history.
import assert from "node:assert";
import { readFile } from "node:fs/promises";
import { Client } from "@stable-canvas/comfyui-client";
import WebSocket from "ws";

const [base, path] = process.argv.slice(2);
const prompt = JSON.parse(await readFile(path, "utf8"));
const client = new Client({ api_host: new URL(base).host, WebSocket, fetch });
await client.connect();
const output = await client.enqueue(prompt, { workflow: null });
assert.equal(output.images.length, 1);
const [image] = output.images;
const bytes = image.type === "buff" ? image.data : await (await fetch(image.data)).arrayBuffer();
assert.equal(Buffer.from(bytes).subarray(1, 4).toString(), "PNG");
client.close();
process.exit(0);
