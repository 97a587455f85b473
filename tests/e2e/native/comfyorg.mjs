// @comfyorg/sdk: Comfy API v2.
import assert from "node:assert";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Comfy } from "@comfyorg/sdk";

const [base, path, apiKey] = process.argv.slice(2);
process.env.COMFY_BASE_URL = base;
const client = new Comfy({ baseUrl: base, apiKey });
const job = await client.run(await client.workflows.fromFile(path));
const file = join(await mkdtemp(join(tmpdir(), "comfy-")), "out.png");
await job.getOutputs("2")[0].toFile(file);
assert.equal((await readFile(file)).subarray(1, 4).toString(), "PNG");
process.exit(0);
