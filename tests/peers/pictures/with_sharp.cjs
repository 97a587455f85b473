// The work of gateway/benches/pictures in sharp. Usage: with_sharp.cjs ORIGINAL FOLDER TIMES OVERLAYS PACKET [PNG level]
//
// OVERLAYS is a folder with 1024.png and 256.png, decoded outside the measured time; PACKET a file. The original is
// decoded once; each output is a pipeline over the pixels, as sharp's manual advises for several outputs.

const fs = require("node:fs");
const path = require("node:path");
const sharp = require(path.join(process.env.SHARP_HOME, "node_modules", "sharp"));

sharp.concurrency(1);
sharp.cache(false);

const [original, folder, times, overlays, packet, level] = process.argv.slice(2);
const input = fs.readFileSync(original);
const xmp = fs.readFileSync(packet, "utf8");
const pngOptions = level === undefined ? {} : { compressionLevel: Number(level) };

async function overlay(side) {
  const { data, info } = await sharp(path.join(overlays, `${side}.png`)).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const margin = Math.floor(side / 100) + 1;
  const raw = { width: info.width, height: info.height, channels: 4 };
  return { input: data, raw, left: side - info.width - margin, top: side - info.height - margin };
}

async function once(stamps) {
  const { data, info } = await sharp(input).raw().toBuffer({ resolveWithObject: true });
  const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
  const whole = await sharp(data, raw).composite([stamps[1024]]).removeAlpha().raw().toBuffer();
  const small = await sharp(data, raw).resize(256, 256, { kernel: "lanczos3" }).raw().toBuffer();
  const smallRaw = { raw: { width: 256, height: 256, channels: info.channels } };
  return {
    png: await sharp(whole, raw).withXmp(xmp).png(pngOptions).toBuffer(),
    webp: await sharp(whole, raw).withXmp(xmp).webp({ quality: 80, effort: 4 }).toBuffer(),
    thumb: await sharp(small, smallRaw).composite([stamps[256]]).removeAlpha().withXmp(xmp).webp({ quality: 80, effort: 4 }).toBuffer(),
  };
}

(async () => {
  const stamps = { 1024: await overlay(1024), 256: await overlay(256) };
  const [wall, cpu] = [[], []];
  let made = await once(stamps);
  for (let i = 0; i < Number(times); i += 1) {
    const [began, ran] = [performance.now(), process.cpuUsage()];
    made = await once(stamps);
    const used = process.cpuUsage(ran);
    cpu.push((used.user + used.system) / 1000);
    wall.push(performance.now() - began);
  }
  fs.mkdirSync(folder, { recursive: true });
  const sizes = {};
  for (const [name, file] of Object.entries(made)) {
    fs.writeFileSync(path.join(folder, `${name}.${name === "png" ? "png" : "webp"}`), file);
    sizes[name] = file.length;
  }
  console.log(JSON.stringify({ wall_ms: wall, cpu_ms: cpu, bytes: sizes }));
})();
