// What the colours of the tokens mean, the legend that says so, and the numbers behind them. Every colour has a second
// cue: stripes, a triangle, or a line under the token that grows with it.

import { nat } from "../lib/counterfactual.js";
import { decimal, signed } from "../lib/formats.js";
import { FAINT_NATS, finalOf, shiftOf, STRONG_NATS } from "../lib/tokens.js";
import { el, part } from "../dom.js";
import { asIf, colourBy, run, setColourBy, shown } from "../store.js";

// Grades from plain to strong: a token belongs to the first whose test it passes; the last takes the rest.
const graded = (title, value, number, grades) => ({
  title,
  classes: (panel, token) => ["grade-" + grades.findIndex(([, test]) => test(value(token)))],
  number: (panel, token) => number(token),
  legend: () => grades.map(([text], k) => sample("grade-" + k, text, "abc")),
});

const COLOURS = {
  tuning: {
    title: "tuning effect",
    classes: tuningClasses,
    number: (panel, token) => (panel.terms.length ? signed(shiftOf(token)) : ""),
    legend: () => [sample("raised", "▲ raised by tuning"), sample("lowered", "▼ lowered by tuning"), sample("flip", "the base would have chosen another token")],
  },
  probability: graded("probability", (token) => Math.exp(nat(finalOf(token))), (token) => decimal(finalOf(token)), [
    ["90 % and more", (p) => p >= 0.9], ["50 to 90 %", (p) => p >= 0.5], ["20 to 50 %", (p) => p >= 0.2], ["5 to 20 %", (p) => p >= 0.05], ["less", () => true],
  ]),
  rank: graded("rank", (token) => token.r, (token) => "#" + token.r, [
    ["first choice", (r) => r <= 1], ["2 to 10", (r) => r <= 10], ["11 to 100", (r) => r <= 100], ["further down", () => true],
  ]),
  entropy: graded("entropy", (token) => nat(token.e), (token) => nat(token.e).toFixed(1), [
    ["sure: below 0.1 nats", (e) => e < 0.1], ["to 0.5", (e) => e < 0.5], ["to 1", (e) => e < 1], ["to 2", (e) => e < 2], ["many ways on: 2 and more", () => true],
  ]),
  flip: {
    title: "flips only",
    classes: flipClasses,
    number: (panel, token) => (flipClasses(panel, token).length ? run.labels.get(token.b) : ""),
    legend: () => [sample("flip", "the base would have chosen another token; the number is its choice")],
  },
  none: { title: "nothing", classes: () => [], number: () => "", legend: () => [] },
};

function flipClasses(panel, token) {
  return panel.terms.length && token.b !== token.i ? ["flip"] : [];
}

function tuningClasses(panel, token) {
  const shift = shiftOf(token), classes = flipClasses(panel, token);
  if (Math.abs(shift) >= FAINT_NATS) classes.push(shift > 0 ? "raised" : "lowered");
  if (Math.abs(shift) >= STRONG_NATS) classes.push("strong");
  return classes;
}

export function paint(panel, token, span) {
  const mode = COLOURS[colourBy];
  span.className = ["t", ...span.dataset.kind.split(" "), ...mode.classes(panel, token)].join(" ").trim();
  span.style.setProperty("--k", Math.round(8 + 40 * Math.min(1, Math.abs(shiftOf(token)) / 4)) + "%");
  span.dataset.number = mode.number(panel, token);
  if (token.would !== undefined && token.would !== token.i) span.classList.add("would");
}

export function chooseColour(name) {
  setColourBy(name);
  if (run) repaintTokens();
  drawLegend();
}

function sample(className, text, mark) {
  const entry = el("span");
  entry.append(el("i", "swatch " + className, mark), document.createTextNode(text));
  return entry;
}

export function drawLegend() {
  const drafts = run && run.drafted ? [sample("accepted", "draft kept", "abc"), sample("resampled", "draft rejected, drawn anew", "abc")] : [];
  part("legend").replaceChildren(...COLOURS[colourBy].legend(), ...drafts);
  if (!part("colour").options.length)
    part("colour").replaceChildren(...Object.entries(COLOURS).map(([name, { title }]) => Object.assign(el("option", "", title), { value: name })));
}

export function repaintTokens() {
  run.panels.forEach((panel, p) => {
    const first = asIf ? asIf.first[p] ?? Infinity : Infinity;
    panel.spans.forEach((span, i) => {
      paint(panel, shown(panel, i), span);
      if (i > first) span.classList.add("beyond");
      if (i !== first) return;
      span.classList.add("parts");
      span.dataset.would = run.labels.get(panel.remixed[i].would) + (panel.remixed[i].sure ? "" : "?");
    });
  });
}

export function listen() {
  part("colour").addEventListener("change", () => chooseColour(part("colour").value));
  part("numbers").addEventListener("change", () => part("columns").classList.toggle("numbers", part("numbers").checked));
}
