// The colours of the tokens, the legend that says what they mean, and the numbers behind them. Every colour has a second
// cue: stripes, a triangle, or a line under the token that grows with it.

import { COLOURS, strengthOf } from "../lib/colours.js";
import { el, part } from "../dom.js";
import { asIf, colourBy, run, setColourBy, shown } from "../store.js";

export function paint(column, token, span) {
  const mode = COLOURS[colourBy];
  span.className = ["t", ...span.dataset.kind.split(" "), ...mode.classes(column, token)].join(" ").trim();
  span.style.setProperty("--k", strengthOf(token) + "%");
  span.dataset.number = mode.number(column, token, run.labels);
  if (token.would !== undefined && token.would !== token.i) span.classList.add("would");
}

export function chooseColour(name) {
  setColourBy(name);
  if (run) repaintTokens();
  drawLegend();
}

/** @type {(className: string, text: string, mark?: string) => HTMLElement} */
function sample(className, text, mark) {
  const entry = el("span");
  entry.append(el("i", "swatch " + className, mark), document.createTextNode(text));
  return entry;
}

export function drawLegend() {
  const drafts = run && run.drafted ? [sample("accepted", "draft accepted", "abc"), sample("resampled", "draft rejected, resampled", "abc")] : [];
  part("legend").replaceChildren(...COLOURS[colourBy].legend.map((entry) => sample(...entry)), ...drafts);
  if (!part("colour").options.length)
    part("colour").replaceChildren(...Object.entries(COLOURS).map(([name, { title }]) => Object.assign(el("option", "", title), { value: name })));
}

export function repaintTokens() {
  run.columns.forEach((column, p) => {
    const first = asIf ? asIf.first[p] ?? Infinity : Infinity;
    column.spans.forEach((span, i) => {
      paint(column, shown(column, i), span);
      if (i > first) span.classList.add("beyond");
      if (i !== first) return;
      span.classList.add("parts");
      span.dataset.would = run.labels.get(column.remixed[i].would) + (column.remixed[i].sure ? "" : "?");
    });
  });
}

export function listen() {
  part("colour").addEventListener("change", () => chooseColour(part("colour").value));
  part("numbers").addEventListener("change", () => part("columns").classList.toggle("numbers", part("numbers").checked));
}
