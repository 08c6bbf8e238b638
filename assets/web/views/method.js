// Method settings: the schedule of alpha, the weight filter and speculative decoding.

import { counted } from "../lib/formats.js";
import { factorsOf } from "../lib/schedule.js";
import { el, element, menuOption, part } from "../dom.js";
import { noNumber } from "./fields.js";
import { hideError, makeErrorPlace } from "./messages.js";

const SVG = "http://www.w3.org/2000/svg";
const CURVE_TOKENS = 24, CURVE_WIDTH = 220, CURVE_HEIGHT = 44;
const SCHEDULES = {
  constant: { title: "constant", help: () => "α is the same for every token" },
  warmup: { title: "warm-up", unit: "tokens", value: 8, help: (n) => "α grows to its full value over " + counted(n) },
  first: { title: "only the first tokens", unit: "tokens", value: 8, help: (n) => "α acts on " + counted(n) + "; from then on it is 0" },
  list: { title: "custom list", text: "0 0.5 1", help: () => "one factor from 0 to 1 per token; the last one applies to all later tokens" },
};
const FILTERS = {
  off: { title: "off", help: () => "the terms act on every token" },
  "top-p": { title: "top-p of the anchor", unit: "p", value: 0.95,
    help: () => "the terms act only on the anchor's likeliest candidates that together reach p; the others keep the anchor's log-probability" },
  mask: { title: "contrastive mask", unit: "r", value: 0.1, help: () => "candidates less likely than r times the anchor's top candidate are removed" },
};
const DRAFTS = {
  auto: { title: "automatic", help: () => "used where it turns out faster; the text stays the same" },
  on: { title: "on, in blocks of", unit: "tokens", value: 4, least: 0,
    help: (n) => "a small model drafts " + (n >= 1 ? counted(n) : "a number of tokens chosen by the engine") + " and one forward pass of the large model verifies them; the text stays the same" },
  off: { title: "off", help: () => "every token costs one forward pass of each model" },
};
export const METHODS = { schedule: ["α over time", SCHEDULES], filter: ["Weight filter", FILTERS], speculation: ["Speculative decoding", DRAFTS] };

export function makeMethods() {
  part("methods").replaceChildren(...Object.entries(METHODS).map(([name, [title, kinds]]) => makeMethod(name, title, kinds)));
  for (const name of Object.keys(METHODS)) fillMethod(name), showMethod(name);
}

function fillMethod(name) { // with the default value of the kind; a person may empty it
  const { menu, value } = methodParts(name), kind = METHODS[name][1][menu.value];
  value.type = "text"; // a number input would reject a list
  value.value = kind.value ?? kind.text ?? "";
}

function makeMethod(name, title, kinds) {
  const box = el("div", "field method");
  box.dataset.method = name;
  const label = el("label", "", title);
  const menu = Object.assign(el("select"), { id: "eft-" + name });
  menu.append(...Object.entries(kinds).map(([kind, one]) => menuOption(kind, one.title)));
  label.htmlFor = menu.id;
  const more = el("label", "method-value");
  const value = Object.assign(el("input"), { id: menu.id + "-value", autocapitalize: "off" });
  more.append(value, el("span"));
  menu.addEventListener("change", () => { fillMethod(name); showMethod(name); });
  value.addEventListener("input", () => showMethod(name));
  box.append(label, menu, more, el("small"), makeErrorPlace(name, [value]));
  if (name === "schedule") box.append(document.createElementNS(SVG, "svg"));
  return box;
}

const methodParts = (name) => {
  const box = element.querySelector('[data-method="' + name + '"]');
  return { box, menu: box.querySelector("select"), more: box.querySelector(".method-value"), value: box.querySelector("input"), help: box.querySelector("small") };
};

function showMethod(name) {
  const { box, menu, more, value, help } = methodParts(name), kind = METHODS[name][1][menu.value];
  more.hidden = kind.value === undefined && kind.text === undefined;
  value.type = kind.text === undefined ? "number" : "text";
  Object.assign(value, kind.unit === "tokens" ? { min: kind.least ?? 1, step: 1 } : { min: 0, step: "any" });
  value.setAttribute("aria-label", kind.unit ? METHODS[name][0] + ": " + kind.unit : "Factors, separated by spaces");
  more.querySelector("span").textContent = kind.unit || "";
  help.textContent = kind.help(value.valueAsNumber);
  hideError(name);
  if (name === "schedule") drawCurve(box.querySelector("svg"), factorsOf(methodNow().schedule, CURVE_TOKENS));
  showMethodSummary();
}

// In the server's syntax: "warmup 8", "top-p 0.95". People write lists with commas too.
export function methodNow() {
  return Object.fromEntries(Object.keys(METHODS).map((name) => {
    const { menu, more, value } = methodParts(name);
    const typed = METHODS[name][1][menu.value].text ? value.value.trim().split(/[\s,;]+/).join(" ") : noNumber(value) ?? value.value;
    return [name, more.hidden ? menu.value : menu.value + " " + typed];
  }));
}

export function setMethod(name, text) {
  const [kind, ...rest] = text.split(" "), { menu, value } = methodParts(name);
  menu.value = kind;
  value.type = "text"; // a number input would reject a list
  value.value = kind === "on" && !rest.length ? "0" : rest.join(" ");
  showMethod(name);
}

function showMethodSummary() {
  const { schedule, filter, speculation } = methodNow();
  const drafts = { auto: [], off: ["no drafts"] }[speculation] || ["drafts " + speculation];
  part("method-summary").textContent = [...(schedule === "constant" ? [] : ["α " + schedule.replace("warmup", "warm-up")]), ...(filter === "off" ? [] : ["filter " + filter]), ...drafts].join(" · ");
}

function drawCurve(svg, factors) {
  const shape = (name, attributes) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const step = CURVE_WIDTH / CURVE_TOKENS, y = (factor) => 4 + (CURVE_HEIGHT - 8) * (1 - factor);
  const points = factors.flatMap((factor, i) => [[i * step, y(factor)], [(i + 1) * step, y(factor)]]).map((point) => point.join()).join(" ");
  svg.setAttribute("viewBox", "0 0 " + CURVE_WIDTH + " " + (CURVE_HEIGHT + 16));
  svg.setAttribute("class", "curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", factors.length ? "Share of α on tokens 1 to " + CURVE_TOKENS + ": " + factors.slice(0, 8).map((f) => +f.toFixed(2)).join(", ") + " …" : "No curve yet");
  const words = [[0, "start", "token 1"], [CURVE_WIDTH, "end", String(CURVE_TOKENS)]].map(([x, anchor, text]) => {
    const word = shape("text", { x, y: CURVE_HEIGHT + 13, "text-anchor": anchor });
    word.textContent = text;
    return word;
  });
  const lines = [0, 1].map((factor) => shape("line", { x1: 0, x2: CURVE_WIDTH, y1: y(factor), y2: y(factor) }));
  svg.replaceChildren(...lines, shape("polyline", { points }), ...words);
}
