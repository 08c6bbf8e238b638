// Live controls: a slider for each control of the chosen recipes, and sending moved ones to the run.

import { symbolOf } from "../lib/formats.js";
import { server } from "../api.js";
import { el, part } from "../dom.js";
import {
  chosen, config, controls, emit, moveControls, nonce, noteSent, run, runControls, running, sent,
} from "../store.js";
import { hideError, makeErrorPlace, showError } from "./messages.js";

const OF_ALL = { alpha: "strength of tuning", beta: "strength of size" };
const TICK_NAMES = {
  alpha: { [-1]: " · undone", 0: " · no tuning", 1: " · as tuned", 2: " · exaggerated" },
  beta: { 0: " · small only", 1: " · full size", 2: " · exaggerated" },
};
const OF_UNUSUAL = { alpha: "strength of the α terms", beta: "strength of the β terms" };
let sending = false;

export const rangeOf = (name) => config.controls[name] || config.controls.alpha;
const sliderRow = (name) => [...part("sliders").children].find((row) => row.dataset.control === name);

// The controls of the columns chosen for the next run and of the run that is shown.
function controlsInPlay() {
  const used = new Set([...chosen.flatMap((column) => column.controls), ...runControls()]);
  const own = [...used].filter((name) => !(name in OF_ALL));
  return [...Object.keys(OF_ALL).filter((name) => used.has(name)), ...own];
}

export function showSliders() {
  const names = controlsInPlay();
  for (const name of [...Object.keys(OF_ALL), ...names]) if (!sliderRow(name)) part("sliders").append(makeSlider(name));
  for (const row of part("sliders").children) {
    row.hidden = !names.includes(row.dataset.control);
    if (row.dataset.control in OF_ALL) nameSlider(row, row.dataset.control);
  }
  part("sliders").classList.toggle("several", names.length > 1);
  part("sliders").classList.toggle("many", names.length > 2);
  part("no-sliders").hidden = names.length > 0;
  part("undoing").hidden = !names.some((name) => rangeOf(name).low < 0);
  emit("sliders");
}

// A typed recipe may put alpha or beta before any difference of two models; then the label promises nothing about it.
function nameSlider(row, name) {
  const isUnusual = chosen.some((column) => column.unusual?.includes(name)), title = row.querySelector(".dial-name span");
  const said = (isUnusual ? OF_UNUSUAL : OF_ALL)[name];
  if (title.textContent === said) return;
  title.textContent = said;
  row.querySelector(".ticks").replaceChildren(...makeTicks(rangeOf(name), isUnusual ? { 0: " · off" } : TICK_NAMES[name]));
}

function makeSlider(name) {
  const range = rangeOf(name), behaviour = config.behaviours.find(({ role }) => "alpha_" + role === name);
  const row = el("div", "slider" + (name in OF_ALL ? "" : " own"));
  row.dataset.control = name;
  const label = el("label", "dial-name");
  label.append(el("b", "", name === "beta" ? "β" : "α"), el("span", "", OF_ALL[name] || (behaviour ? behaviour.title : symbolOf(name).slice(2))));
  const input = Object.assign(el("input"), { type: "range", id: "eft-" + name, min: range.low, max: range.high, step: range.step });
  input.dataset.part = name;
  label.htmlFor = input.id;
  const ticks = el("div", "ticks");
  ticks.setAttribute("aria-hidden", "true");
  ticks.append(...makeTicks(range, TICK_NAMES[name] || {}));
  const rail = el("div", "rail");
  rail.append(input, ticks);
  const value = el("output", "dial-value");
  value.dataset.part = name + "-value";
  value.htmlFor = input.id;
  value.setAttribute("aria-live", "off"); // the slider says its value
  row.append(label, rail, value, makeErrorPlace(name, [input]));
  if (controls[name] === undefined) moveControls({ [name]: name in OF_ALL ? range.value : equalShare() });
  input.value = controls[name];
  showControl(row);
  input.addEventListener("input", () => setControls({ [name]: input.valueAsNumber }));
  keepWhileScrolling(input, name);
  return row;
}

// A finger that begins a scroll of the page on the slider has already moved it: back to where it was.
function keepWhileScrolling(input, name) {
  let before = null;
  input.addEventListener("pointerdown", () => (before = controls[name]));
  input.addEventListener("pointercancel", () => setControls({ [name]: before ?? controls[name] }));
}

// Blended behaviours start with equal shares of 1, rounded to a step of the slider.
const equalShare = () => Math.round(20 / Math.max(1, config.behaviours.length)) / 20;

function makeTicks({ low, high }, names) {
  const ticks = [];
  for (let value = low; value <= high; value += 1) {
    const tick = el("span", "", String(value));
    tick.append(el("i", "", names[value] || ""));
    tick.style.left = (100 * (value - low)) / (high - low) + "%";
    ticks.push(tick);
  }
  return ticks;
}

function showControl(row) {
  const name = row.dataset.control, text = controls[name].toFixed(2), input = row.querySelector("input");
  row.querySelector("output").textContent = text;
  input.value = controls[name];
  input.setAttribute("aria-valuetext", symbolOf(name) + " " + text);
}

export function setControls(values) {
  moveControls(values);
  Object.keys(values).map(sliderRow).filter(Boolean).forEach(showControl);
  sendControls();
  emit("controls");
}

export const controlsNow = () => Object.fromEntries(chosen.flatMap((column) => column.controls).map((name) => [name, controls[name]]));

// One request in flight, then the newest values: a dragged slider never builds a queue. Values that belong together are sent
// together, so that no token uses half of them.
export async function sendControls() {
  if (sending) return;
  sending = true;
  while (running && run && run.n === nonce) {
    const changed = runControls().filter((name) => controls[name] !== undefined && controls[name] !== sent[name]);
    if (!changed.length) break;
    const values = Object.fromEntries(changed.map((name) => [name, controls[name]]));
    noteSent(values);
    try {
      const sentence = await server.set_controls({ run: run.id, values });
      if (sentence && running) showError(changed[0], sentence);
      else changed.forEach(hideError);
    } catch {
      showError(changed[0], "The server could not be reached, so the value was not changed.");
    }
  }
  sending = false;
}
