// ComfyUI's web editor in a real browser, used as a person uses it: a workflow is dragged in, run, watched, its picture
// dragged back in, the workflow saved and found again. Ends with 1 at the first step that fails; leaves a picture of the
// page after each step. With a key it comes in by the login page.
import assert from "node:assert";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, workflow, screenshots, key] = process.argv.slice(2);
const nodes = Object.values(JSON.parse(await readFile(workflow)));
const { seed } = nodes.find((node) => node.class_type === "KSampler").inputs;

// Longest wait within a step, ms: it only bounds how late a failure is told.
const PATIENCE = 60_000;
const NAME = "a tree of mine";

await mkdir(screenshots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

let page;
let steps = 0;

async function step(name, act) {
  steps += 1;
  const picture = (how) => join(screenshots, `${String(steps).padStart(2, "0")} ${name}${how}.png`);
  try {
    await act();
    await page.screenshot({ path: picture("") });
    console.log(`done: ${name}`);
  } catch (error) {
    console.error(`failed: ${name}\n${error.stack}`);
    await page?.screenshot({ path: picture(" (failed)") }).catch(() => {});
    await browser.close();
    process.exit(1);
  }
}

const until = (condition, argument) => page.waitForFunction(condition, argument, { timeout: PATIENCE });

// A browser that never was here, with the editor ready in it.
async function open() {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => console.error(`the page says: ${error}`));
  await page.goto(base, { waitUntil: "domcontentloaded" });
  if (key) {
    await page.locator("input[name=key]").fill(key);
    await page.keyboard.press("Enter");
  }
  await until(() => window.app?.graph && window.app.extensionManager);
  await page.getByTestId("queue-button").waitFor();
}

// Drags a file of this machine onto the canvas.
async function drag(file) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [file], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: 700, y: 450, data });
  }
  await session.detach();
}

// What stands on the canvas: the kind of each node and what its fields hold.
const graph = () =>
  page.evaluate(() =>
    window.app.graph._nodes
      .map((node) => [node.type, ...(node.widgets ?? []).map((widget) => widget.value)].join(" "))
      .sort(),
  );

const holds = (count) => until((count) => window.app.graph._nodes.length === count, count);

await step("the editor opens", async () => {
  await open();
  // A first visit, and no other, is offered templates.
  await page.getByTestId("base-modal-content").waitFor();
  await page.keyboard.press("Escape");
  await page.getByTestId("base-modal-content").waitFor({ state: "hidden" });
});

let made;
await step("a workflow is dragged in", async () => {
  await drag(workflow);
  await holds(nodes.length);
  await page.getByLabel("Fit View (.)").click(); // pictures are loaded when they are seen
  made = await graph();
  assert.ok(made.some((node) => node.startsWith(`KSampler ${seed} `)), made.join("\n"));
});

await step("the button Run queues it", async () => {
  await page.getByTestId("queue-button").click();
  await until(() => /\[\d+%\]/.test(document.title));
});

await step("its progress and preview are shown", async () => {
  await until(() => /\[([1-9]|[1-9]\d)%\] KSampler/.test(document.title));
  await until(() => {
    const sampler = window.app.graph._nodes.find((node) => node.type === "KSampler");
    return sampler.imgs?.[0]?.src.startsWith("blob:") && sampler.imgs[0].naturalWidth > 0;
  });
});

let picture;
await step("the picture is in its node", async () => {
  await until(() => {
    const saver = window.app.graph._nodes.find((node) => node.type === "SaveImage");
    return saver.imgs?.[0]?.naturalWidth === 512;
  });
  const bytes = await page.evaluate(async () => {
    const saver = window.app.graph._nodes.find((node) => node.type === "SaveImage");
    const shown = new URL(saver.imgs[0].src);
    shown.searchParams.delete("preview");
    return [...new Uint8Array(await (await fetch(shown)).arrayBuffer())];
  });
  picture = join(screenshots, "the picture.png");
  await writeFile(picture, Buffer.from(bytes));
  await until(() => !document.title.includes("%"));
});

await step("the picture is dragged in and is the workflow it was made by", async () => {
  await page.getByLabel("Create a new blank workflow").click();
  await holds(0);
  await drag(picture);
  await holds(nodes.length);
  assert.deepEqual(await graph(), made);
});

await step("the workflow is saved", async () => {
  await page.keyboard.press("Control+s");
  const name = page.getByRole("dialog").getByRole("textbox");
  await name.fill(NAME);
  await name.press("Enter");
  await name.waitFor({ state: "hidden" });
  await until(
    async ([name, count]) => {
      const file = `api/userdata/${encodeURIComponent(`workflows/${name}.json`)}`;
      const answer = await fetch(new URL(file, location.href));
      return answer.ok && (await answer.json()).nodes.length === count;
    },
    [NAME, nodes.length],
  );
});

await step("the workflow is found by another browser", async () => {
  await page.context().close();
  await open();
  await page.getByTestId("workflows-tab-button").click();
  await page.getByTestId("workflows-sidebar").getByText(NAME).click();
  await holds(nodes.length);
  assert.deepEqual(await graph(), made);
});

await browser.close();
