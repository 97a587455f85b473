"use strict";
// Everything that comes from the gateway is put in as text, never as markup.

const PERIOD_MS = 1000;
const PICTURES = 48;
const KEY = "darkroom-key";
const byId = (id) => document.getElementById(id);
const pictures = new Map(); // output id → its list item
let key = sessionStorage.getItem(KEY) || "";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined).map((c) => (c instanceof Node ? c : String(c))));
  return element;
}

class Refused extends Error {
  constructor(status) { super(`refused: ${status}`); this.status = status; }
}

async function ask(path) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store" });
  if (!answer.ok) throw new Refused(answer.status);
  return answer;
}

const json = async (path) => (await ask(path)).json();

function age(from, to) {
  const seconds = Math.max(0, Math.round(((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

const tag = (word) => make("span", { class: `tag ${/^[a-z_]+$/.test(word) ? word : ""}` }, word.replace("_", " "));

function bar(job) {
  const value = job.progress ? job.progress.value : null;
  const percent = value === null ? "no progress known" : `${Math.round(value * 100)} %`;
  return make("progress", { max: 1, value, "aria-label": `progress of ${job.id}`, title: percent });
}

function showFigures(fleet, jobs) {
  const figures = [];
  if (fleet) {
    const up = fleet.instances.filter((instance) => instance.state === "idle" || instance.state === "busy").length;
    const { batch, normal, interactive } = fleet.backlog;
    const held = fleet.attempts;
    figures.push([`${up}/${fleet.instances.length}`, "instances serving"], [batch + normal + interactive, "waiting"],
      [held.running, "running"], [held.dispatching, "on their way"], [held.collecting, "storing outputs"]);
  } else {
    figures.push([jobs.filter((job) => job.status === "queued").length, "waiting"],
      [jobs.filter((job) => job.status === "running").length, "running"]);
  }
  byId("figures").replaceChildren(...figures.map(([n, name]) => make("li", {}, make("b", {}, n), make("span", {}, name))));
}

function showFleet(fleet, jobs) {
  const area = byId("fleet");
  if (!fleet) {
    area.replaceChildren(make("p", { class: "empty" }, "The fleet is shown to administrators' keys only."));
    return;
  }
  const cards = fleet.instances.map((instance) => {
    const here = jobs.filter((job) => job.instance === instance.name && job.status === "running")[0];
    const device = [instance.device_name, instance.device_class, instance.vram_mib ? `${instance.vram_mib} MiB` : null];
    return make("article", { class: "card" },
      make("h3", {}, instance.name, tag(instance.state)),
      make("p", {}, device.filter(Boolean).join(" · ") || "device unknown"),
      instance.reason ? make("p", {}, instance.reason) : null,
      here ? make("p", {}, `${here.id.slice(-8)} ${here.progress && here.progress.current_node_class ? here.progress.current_node_class : "runs"}`) : null,
      here ? bar(here) : null);
  });
  area.replaceChildren(...(cards.length ? cards : [make("p", { class: "empty" }, "No instance is configured.")]));
}

function showJobs(jobs) {
  const rows = jobs.map((job) => make("tr", {},
    make("td", {}, make("code", { title: job.id }, job.id.slice(-8))),
    make("td", {}, job.class),
    make("td", { title: job.error ? job.error.message : null }, tag(job.status)),
    make("td", {}, job.progress ? bar(job) : "—"),
    make("td", {}, job.instance || "—"),
    make("td", {}, age(job.created_at, job.ended_at))));
  const none = make("tr", {}, make("td", { class: "empty", colspan: 6 }, "No jobs yet. Submit one and watch it develop."));
  byId("jobs").replaceChildren(...(rows.length ? rows : [none]));
}

async function source(id) {
  const path = `/api/v2/assets/${encodeURIComponent(id)}/content`;
  return key ? URL.createObjectURL(await (await ask(path)).blob()) : path;
}

function picture(output, job) {
  const image = make("img", { loading: "lazy", decoding: "async", alt: `${output.name} of job ${job.id.slice(-8)}` });
  const link = make("a", { title: output.name, target: "_blank", rel: "noopener" }, image);
  source(output.id).then((url) => { image.src = url; link.href = url; }, () => { image.alt = "not available"; });
  return make("li", {}, link);
}

function showPictures(jobs) {
  const newest = jobs.flatMap((job) => job.outputs.filter((output) => output.type === "image").map((output) => [output, job]))
    .slice(0, PICTURES);
  const wanted = new Set(newest.map(([output]) => output.id));
  for (const [id, item] of pictures) {
    if (wanted.has(id)) continue;
    const url = item.querySelector("img").src;
    if (url.startsWith("blob:")) URL.revokeObjectURL(url);
    item.remove();
    pictures.delete(id);
  }
  const list = byId("pictures");
  if (!newest.length) { list.replaceChildren(make("li", { class: "empty" }, "Nothing finished yet.")); return; }
  list.querySelector(".empty")?.remove();
  newest.forEach(([output, job], index) => {
    if (!pictures.has(output.id)) pictures.set(output.id, picture(output, job));
    const item = pictures.get(output.id);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] || null);
  });
}

async function ready() {
  const answer = await fetch("/readyz", { cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) return `Not serving: ${body.reason}`;
  return body.degraded ? `Serving, but: ${body.degraded.join(", ").replaceAll("_", " ")}` : "Serving";
}

async function look() {
  const [state, jobs, finished, fleet] = await Promise.all([
    ready(),
    json("/v1/jobs?limit=100"),
    json(`/v1/jobs?limit=${PICTURES}&status=succeeded`),
    json("/v1/fleet").catch((error) => { if (error.status === 403) return null; throw error; }),
  ]);
  byId("door").hidden = true;
  byId("panels").hidden = false;
  byId("forget").hidden = !key;
  if (byId("state").textContent !== state) byId("state").textContent = state;
  showFigures(fleet, jobs.jobs);
  showFleet(fleet, jobs.jobs);
  showJobs(jobs.jobs);
  showPictures(finished.jobs);
}

async function keepLooking() {
  try {
    if (!document.hidden) await look();
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
      byId("panels").hidden = true;
      byId("door").hidden = false;
      byId("state").textContent = key ? "The key is not accepted" : "Locked";
      return; // Until a key is given.
    }
    byId("state").textContent = "The gateway does not answer; trying again";
  }
  setTimeout(keepLooking, PERIOD_MS);
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  byId("key").value = "";
  sessionStorage.setItem(KEY, key);
  keepLooking();
});

byId("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});

keepLooking();
