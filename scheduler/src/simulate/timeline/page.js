"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const chart = document.getElementById("chart"), pen = chart.getContext("2d"), tip = document.getElementById("tip");
const COMPLETED = 0, OUT_OF_MEMORY = 1, INTERRUPTED = 2, NODE_LOST = 3;
const GUTTER = 168, RIGHT = 14, TOP = 26, BAR = 15, STEP = 18, GROUP = 9, STRIP = 92, AXIS = 22;

/* Colours: a hue per family, a tone per popular checkpoint, one quiet tone for the rest. */
const HUES = [30, 158, 218, 318, 268, 52, 188, 350];
const TONES = [[0, 46], [-12, 62], [14, 36], [-17, 75], [9, 56]];
const modelTime = new Float64Array(data.models.length);
for (const [, start, , end, job] of data.attempts) modelTime[data.jobs[job][3]] += end - start;
const tones = data.models.map(() => null);
const families = data.families.map((name, family) => {
  const own = data.models.map((_, model) => model).filter((model) => data.models[model][1] === family && modelTime[model] > 0);
  own.sort((a, b) => modelTime[b] - modelTime[a] || a - b);
  const hue = HUES[family % HUES.length];
  own.forEach((model, rank) => {
    tones[model] = rank < TONES.length ? [hue + TONES[rank][0], 64, TONES[rank][1]] : [hue, 16, 58];
  });
  return { name, own, time: own.reduce((sum, model) => sum + modelTime[model], 0) };
}).filter((family) => family.own.length).sort((a, b) => b.time - a.time);
const shade = ([hue, full, light], by, pale = 1) => `hsl(${hue} ${full * pale}% ${light * (1 + by)}%)`;
const fill = (model) => shade(tones[model], isDark() ? -0.04 : 0.06);
const deep = (model) => shade(tones[model], isDark() ? -0.45 : -0.34, 0.62);
const isDark = () => document.documentElement.dataset.theme === "dark";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/* Rows from top to bottom, and the attempts of each, in time. */
const rows = [];
let height = TOP;
for (const group of data.classes) {
  group.top = height;
  for (const node of group.nodes) {
    rows[node.row] = { node, group, top: height, bars: [] };
    height += STEP;
  }
  height += GROUP;
}
for (const bar of data.attempts) rows[bar[0]].bars.push(bar);
const stripTop = height + 12, bottom = stripTop + STRIP;
const total = bottom + AXIS;

let from = 0, until = Math.max(1, data.end), width = 0, followed = null, hovered = null;
const x = (time) => GUTTER + (time - from) / (until - from) * (width - GUTTER - RIGHT);
const timeAt = (px) => from + (px - GUTTER) / (width - GUTTER - RIGHT) * (until - from);

const two = (number) => String(number).padStart(2, "0");
const clock = (ms) => {
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
};
const span = (ms) => ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${two(Math.round(ms / 1000) % 60)} s`;

function hatch(colour, gap) {
  const tile = document.createElement("canvas"), ratio = devicePixelRatio || 1;
  tile.width = tile.height = Math.max(4, Math.round(gap * ratio));
  const side = tile.width, brush = tile.getContext("2d");
  brush.strokeStyle = colour;
  brush.lineWidth = Math.max(1, ratio * 1.1);
  for (const shift of [-side, 0, side]) {
    brush.beginPath(); brush.moveTo(shift - 1, side + 1); brush.lineTo(shift + side + 1, -1); brush.stroke();
  }
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

function draw() {
  const ratio = devicePixelRatio || 1;
  width = chart.clientWidth;
  chart.style.height = `${total}px`;
  chart.width = Math.round(width * ratio);
  chart.height = Math.round(total * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const ink = { paper: css("--card"), text: css("--ink"), soft: css("--soft"), line: css("--line"), row: css("--row"),
    bad: css("--bad"), warn: css("--warn"), down: css("--down"), load: hatch("rgba(255,255,255,.32)", 5) };
  ink.gone = hatch(ink.down, 7);
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, width, total);
  drawGrid(ink);
  drawRows(ink);
  drawStrip(ink);
  drawLabels(ink);
}

function ticks() {
  const steps = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400].map((s) => s * 1000);
  const step = steps.find((ms) => ms / (until - from) * (width - GUTTER) > 78) || steps.at(-1);
  const list = [];
  for (let time = Math.ceil(from / step) * step; time <= until; time += step) list.push(time);
  return list;
}

function drawGrid(ink) {
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  for (const time of ticks()) {
    const at = Math.round(x(time)) + .5;
    pen.strokeStyle = ink.line;
    pen.beginPath(); pen.moveTo(at, TOP - 4); pen.lineTo(at, bottom); pen.stroke();
    pen.fillStyle = ink.soft;
    const middle = Math.min(at, width - 28);
    pen.fillText(clock(time), middle, TOP - 10);
    pen.fillText(clock(time), middle, bottom + 15);
  }
}

function drawRows(ink) {
  pen.save();
  pen.beginPath(); pen.rect(GUTTER, 0, width - GUTTER - RIGHT, stripTop); pen.clip();
  for (const row of rows) {
    pen.fillStyle = ink.row;
    pen.fillRect(GUTTER, row.top, width, BAR);
    for (const bar of row.bars) if (bar[3] >= from && bar[1] <= until) drawBar(row, bar, ink);
    for (const [start, end] of row.node.downs) drawDown(row, start, end, ink);
  }
  for (const row of rows) for (const bar of row.bars) if (bar[5] !== COMPLETED) drawMark(row, bar, ink);
  pen.restore();
}

function drawBar(row, bar, ink) {
  const [, start, loaded, end, job, outcome] = bar, model = data.jobs[job][3];
  const left = x(start), middle = Math.min(x(loaded), x(end)), right = x(end), wide = right - left;
  const gap = wide > 3 ? .8 : 0;
  pen.globalAlpha = (followed !== null && followed !== model ? .1 : 1) * (outcome === COMPLETED ? 1 : .5);
  pen.fillStyle = fill(model);
  pen.fillRect(left, row.top, Math.max(wide - gap, .6), BAR);
  if (middle - left > .4) {
    const loading = Math.min(middle - left, Math.max(wide - gap, .6));
    pen.fillStyle = deep(model);
    pen.fillRect(left, row.top, loading, BAR);
    if (loading > 4) { pen.fillStyle = ink.load; pen.fillRect(left, row.top, loading, BAR); }
  }
  pen.globalAlpha = 1;
  if (bar === hovered) {
    pen.strokeStyle = ink.text; pen.lineWidth = 2;
    pen.strokeRect(left - 1, row.top - 1, Math.max(wide, 2) + 1, BAR + 2);
    pen.lineWidth = 1;
  }
}

function drawMark(row, bar, ink) {
  const [, start, , end, , outcome] = bar;
  if (end < from || start > until) return;
  const left = x(start), right = Math.max(x(end), left + 2.5);
  pen.fillStyle = pen.strokeStyle = outcome === INTERRUPTED ? ink.warn : ink.bad;
  if (outcome === OUT_OF_MEMORY) {
    pen.lineWidth = 1.4;
    pen.strokeRect(left + .7, row.top + .7, Math.max(right - left - 1.4, 1.2), BAR - 1.4);
    const middle = (left + right) / 2, cross = 3.4, y = row.top + BAR / 2;
    pen.beginPath();
    pen.moveTo(middle - cross, y - cross); pen.lineTo(middle + cross, y + cross);
    pen.moveTo(middle - cross, y + cross); pen.lineTo(middle + cross, y - cross);
    pen.lineWidth = 2; pen.stroke(); pen.lineWidth = 1;
    return;
  }
  pen.fillRect(right - 2, row.top - 1, 2.4, BAR + 2);
  pen.beginPath();
  pen.moveTo(right - 4.6, row.top - 3); pen.lineTo(right + 3, row.top - 3); pen.lineTo(right - .8, row.top + 3);
  pen.fill();
}

function drawDown(row, start, end, ink) {
  const left = x(start), wide = Math.max(x(end) - left, 1);
  pen.fillStyle = ink.paper; pen.fillRect(left, row.top, wide, BAR);
  pen.fillStyle = ink.gone; pen.fillRect(left, row.top, wide, BAR);
  if (wide > 44) {
    pen.font = "10px system-ui, sans-serif"; pen.textAlign = "center";
    pen.fillStyle = ink.paper; pen.fillRect(left + wide / 2 - 17, row.top + 2, 34, BAR - 4);
    pen.fillStyle = ink.soft; pen.fillText("down", left + wide / 2, row.top + 11);
  }
}

const PRIO_NAMES = ["batch", "normal", "interactive"];
const PRIO_LIGHT = ["#b8c4d6", "#6f8fc2", "#24508f"], PRIO_DARK = ["#3c4a60", "#5b83c4", "#a8c8ff"];
const prioColour = (prio) => (isDark() ? PRIO_DARK : PRIO_LIGHT)[prio];

function drawStrip(ink) {
  const most = Math.max(1, ...data.backlog.map((point) => point[1] + point[2] + point[3]));
  const y = (count) => bottom - count / most * (STRIP - 8);
  pen.save();
  pen.beginPath(); pen.rect(GUTTER, stripTop - 4, width - GUTTER - RIGHT, STRIP + 5); pen.clip();
  for (const prio of [0, 1, 2]) {
    pen.fillStyle = prioColour(prio);
    pen.beginPath(); pen.moveTo(x(0), bottom);
    let height = 0;
    for (const point of data.backlog) {
      pen.lineTo(x(point[0]), y(height));
      height = 0;
      for (let above = prio; above < 3; above++) height += point[1 + above];
      pen.lineTo(x(point[0]), y(height));
    }
    pen.lineTo(x(data.end), y(height)); pen.lineTo(x(data.end), bottom);
    pen.fill();
  }
  pen.restore();
  pen.strokeStyle = ink.line;
  pen.beginPath(); pen.moveTo(GUTTER, bottom + .5); pen.lineTo(width - RIGHT, bottom + .5); pen.stroke();
  pen.textAlign = "right"; pen.fillStyle = ink.soft; pen.font = "11px system-ui, sans-serif";
  pen.fillText(most.toLocaleString("en"), GUTTER - 7, y(most) + 8);
  pen.fillText("0", GUTTER - 7, bottom);
}

function drawLabels(ink) {
  for (const group of data.classes) {
    pen.textAlign = "left"; pen.fillStyle = ink.text; pen.font = "600 12px system-ui, sans-serif";
    pen.fillText(group.name, 14, group.top + 11.5);
    pen.fillStyle = ink.soft; pen.font = "10.5px system-ui, sans-serif";
    if (group.nodes.length > 1) pen.fillText(`${group.vram} · ${group.price}`, 14, group.top + 26);
    pen.textAlign = "right";
    for (const node of group.nodes) {
      pen.fillStyle = ink.soft;
      pen.fillText(node.id + (node.spot ? " ◇" : ""), GUTTER - 7, rows[node.row].top + 11.5);
    }
  }
  pen.textAlign = "left"; pen.fillStyle = ink.text; pen.font = "600 12px system-ui, sans-serif";
  pen.fillText("Backlog", 14, stripTop + 12);
  pen.font = "10.5px system-ui, sans-serif";
  [2, 1, 0].forEach((prio, at) => {
    pen.fillStyle = prioColour(prio); pen.fillRect(14, stripTop + 22 + at * 15, 9, 9);
    pen.fillStyle = ink.soft; pen.fillText(PRIO_NAMES[prio], 28, stripTop + 30 + at * 15);
  });
}

/* The figures and the legend. */
document.getElementById("sub").textContent = data.subtitle;
document.getElementById("tiles").innerHTML =
  data.tiles.map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`).join("");

function escape(text) {
  return String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
}

function legend() {
  const box = document.getElementById("legend");
  box.innerHTML = "";
  const add = (parent, colour, label, model) => {
    const item = document.createElement("span"), swatch = document.createElement("i");
    swatch.style.background = colour;
    item.append(swatch, label);
    if (model !== undefined) {
      item.onmouseenter = () => { followed = model; item.className = "on"; draw(); };
      item.onmouseleave = () => { followed = null; item.className = ""; draw(); };
    }
    parent.append(item);
  };
  for (const { name, own } of families) {
    const line = document.createElement("div"), title = document.createElement("b");
    line.className = "family";
    title.textContent = name;
    line.append(title);
    own.slice(0, TONES.length).forEach((model) => add(line, fill(model), data.models[model][0], model));
    const rest = own.length - TONES.length;
    if (rest > 0) add(line, fill(own[TONES.length]), `${rest} more`);
    box.append(line);
  }
  const line = document.createElement("div");
  line.className = "family";
  const tones = getComputedStyle(document.documentElement);
  const grey = isDark() ? "#7b8088" : "#8d9299", dark = isDark() ? "#4a4e55" : "#5b6067";
  const stripes = (back, front) => `repeating-linear-gradient(135deg, ${back} 0 2.5px, ${front} 2.5px 4px)`;
  add(line, stripes(dark, "#9aa0a8"), "loading");
  add(line, grey, "running");
  add(line, `linear-gradient(90deg, ${grey} 70%, ${tones.getPropertyValue("--warn")} 70%)`, "interrupted");
  add(line, `linear-gradient(90deg, ${grey} 70%, ${tones.getPropertyValue("--bad")} 70%)`, "lost with its device");
  const oom = `linear-gradient(${grey}66, ${grey}66)`;
  add(line, oom, "✕ out of memory");
  line.lastChild.firstChild.style.outline = "1.5px solid var(--bad)";
  add(line, stripes("transparent", "var(--down)"), "down");
  if (data.classes.some((group) => group.nodes.some((node) => node.spot))) line.append("◇ spot");
  box.append(line);
}

/* What lies under the pointer. */
function barAt(px, py) {
  const row = rows.find((row) => py >= row.top - 1 && py < row.top + STEP - 1);
  if (!row || px < GUTTER || px > width - RIGHT) return null;
  const time = timeAt(px), near = (until - from) / (width - GUTTER) * 2;
  let low = 0, high = row.bars.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row.bars[middle][1] <= time) low = middle + 1; else high = middle;
  }
  return [row.bars[low - 1], row.bars[low]].find((bar) => bar && bar[1] - near <= time && bar[3] + near >= time) || null;
}

function describe(bar) {
  const [row, start, loaded, end, index, outcome] = bar;
  const [id, tenant, prio, model, loras, shape, arrival, deadline, attempts] = data.jobs[index];
  const ends = ["completed", "out of memory", "interrupted", "lost with its device"][outcome];
  const line = (name, value, bad) => `<tr><td>${name}</td><td${bad ? ' class="bad"' : ""}>${escape(value)}</td></tr>`;
  let text = `<strong>${escape(id)} · ${escape(data.models[model][0])}</strong><table>`;
  text += line("tenant", `${tenant}, ${PRIO_NAMES[prio]}`) + line("shape", shape);
  if (loras) text += line("LoRAs", loras);
  text += line("device", `${rows[row].node.id}, ${rows[row].group.name}`);
  text += line("start", `${clock(start)}, ${span(start - arrival)} after arrival`);
  text += line("loading", span(Math.max(0, Math.min(loaded, end) - start))) + line("running", span(Math.max(0, end - loaded)));
  text += line("end", `${clock(end)}, ${ends}`, outcome !== COMPLETED);
  if (attempts > 1) text += line("attempts", attempts);
  if (deadline !== null && outcome === COMPLETED) {
    const late = end - deadline;
    text += line("deadline", late > 0 ? `missed by ${span(late)}` : `met, ${span(-late)} to spare`, late > 0);
  }
  return text + "</table>";
}

function point(event) {
  const box = chart.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  const bar = barAt(px, py);
  if (bar !== hovered) { hovered = bar; draw(); }
  tip.hidden = !bar;
  if (!bar) return;
  tip.innerHTML = describe(bar);
  const left = px + 16 + tip.offsetWidth > width ? px - tip.offsetWidth - 14 : px + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(py + 14, total - tip.offsetHeight - 6))}px`;
}

/* Moving about. */
function show(newFrom, newUntil) {
  const least = 2000, whole = Math.max(1, data.end);
  const size = Math.min(whole, Math.max(least, newUntil - newFrom));
  from = Math.max(0, Math.min(newFrom, whole - size));
  until = from + size;
  draw();
}
function zoom(by, px) {
  const time = timeAt(px);
  show(time - (time - from) * by, time + (until - time) * by);
}
chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = chart.getBoundingClientRect(), size = until - from;
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) show(from + event.deltaX / width * size, until + event.deltaX / width * size);
  else zoom(Math.exp(event.deltaY / 400), event.clientX - box.left);
  point(event);
}, { passive: false });
let grip = null;
chart.addEventListener("pointerdown", (event) => {
  grip = { px: event.clientX, from, until };
  chart.setPointerCapture(event.pointerId);
});
chart.addEventListener("pointermove", (event) => {
  if (!grip) return point(event);
  const by = (grip.px - event.clientX) / (width - GUTTER - RIGHT) * (grip.until - grip.from);
  show(grip.from + by, grip.until + by);
});
chart.addEventListener("pointerup", () => { grip = null; });
chart.addEventListener("pointerleave", () => { tip.hidden = true; if (hovered) { hovered = null; draw(); } });
chart.addEventListener("dblclick", () => show(0, data.end));
chart.addEventListener("keydown", (event) => {
  const size = until - from, middle = (GUTTER + width - RIGHT) / 2;
  const act = {
    ArrowLeft: () => show(from - size / 5, until - size / 5), ArrowRight: () => show(from + size / 5, until + size / 5),
    "+": () => zoom(.7, middle), "=": () => zoom(.7, middle), "-": () => zoom(1.4, middle), 0: () => show(0, data.end),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

function theme(name) {
  document.documentElement.dataset.theme = name;
  legend();
  draw();
}
document.getElementById("theme").onclick = () => theme(isDark() ? "light" : "dark");
addEventListener("resize", draw);
theme(location.hash === "#dark" || location.hash !== "#light" && matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
