// The colours of the tokens, the legend that says what they mean, and the numbers behind them. Every colour has a second
// cue: stripes, a triangle, or a line under the token that grows with it.

import { part } from "../dom.js";
import { asIf, colourBy, run, setColourBy, shown } from "../store.js";
import { colourOptions, legendEntries, paintSpan } from "./token-span.js";

export function paint(column, token, span) {
  paintSpan(span, colourBy, run.labels, column, token);
  if (token.would !== undefined && token.would !== token.i) span.classList.add("would");
}

export function chooseColour(name) {
  setColourBy(name);
  if (run) repaintTokens();
  drawLegend();
}

export function drawLegend() {
  part("legend").replaceChildren(...legendEntries(colourBy, run?.drafted));
  if (!part("colour").options.length) part("colour").replaceChildren(...colourOptions());
}

export function repaintTokens() {
  run.columns.forEach((column, p) => {
    const first = asIf ? asIf.first[p] ?? Infinity : Infinity;
    column.view.text.classList.toggle("parted", first < column.spans.length);
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
