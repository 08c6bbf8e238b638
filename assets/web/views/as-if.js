// A finished text as other sliders would have it: the numbers of every token at the new values, and which tokens the
// same noise would draw otherwise. Worked out in the page from what was recorded; no model is asked.

import { controlsOf, remix } from "../lib/counterfactual.js";
import { symbolOf } from "../lib/formats.js";
import { liveOf } from "../lib/schedule.js";
import { el, part, verbatim } from "../dom.js";
import { asIf, config, on, plotted, run, running, selected, setAsIfState, slidersOf } from "../store.js";
import { replot } from "./bars.js";
import { drawCard } from "./card.js";
import { repaintTokens } from "./painting.js";
import { setControls } from "./sliders.js";

let asWritten = ""; // what stands there while nothing is moved
let asIfTimer = 0;

// Show the text at these sliders; null: as it was written.
function setAsIf(sliders) {
  const before = asIf;
  setAsIfState(null);
  if (run && sliders) {
    const first = {}, counts = {};
    run.panels.forEach((panel, p) => {
      panel.remixed = controlsOf(panel).length ? panel.tokens.map((token) => remix(panel, token, sliders, run.factors, config.max_unsure)) : null;
      const changed = (panel.remixed || []).flatMap((token, i) => (token.would !== undefined && token.would !== token.i ? [i] : []));
      if (changed.length) first[p] = changed[0];
      counts[p] = changed.length;
    });
    const moved = run.panels.some((panel) => panel.remixed && panel.remixed.some((token, i) => token !== panel.tokens[i]));
    if (moved) setAsIfState({ sliders, first, counts });
  }
  if (!asIf && !before) return;
  if (run) repaint();
  tellAsIf();
}

function repaint() {
  repaintTokens();
  replot();
  if (selected) drawCard();
}

// The panel that is spoken of: the plotted one if a slider steers it, else the one whose account comes first.
export function steeredPanel() {
  if (selected && run.panels[selected.p].remixed) return selected.p;
  return run.panels[plotted]?.remixed ? plotted : run.account;
}

export function tellAsIf() {
  part("as-if").classList.toggle("moved", asIf !== null);
  part("as-written").hidden = part("write-on").hidden = !asIf;
  if (!asIf) return void (part("as-if-text").textContent = asWritten);
  const p = steeredPanel(), panel = run.panels[p], first = asIf.first[p], n = panel.tokens.length;
  const values = Object.entries(asIf.sliders).map(([name, value]) => symbolOf(name) + " " + value.toFixed(2)).join(", ");
  const texts = ["Shown at " + values + ", no model asked. "];
  if (first === undefined) texts.push("No token of " + panel.name + " would change.");
  else texts.push(asIf.counts[p] + " of " + n + " tokens of " + panel.name + " would change, first token " + (first + 1) + ": ",
    run.labels.get(panel.tokens[first].i), panel.remixed[first].sure ? " becomes " : " perhaps becomes ", run.labels.get(panel.remixed[first].would), ".");
  part("as-if-text").replaceChildren(...texts.map((text, i) => (i === 2 || i === 4 ? verbatim(el("b", "", text)) : text)));
  part("write-on").hidden = first === undefined;
}

export function asIfSoon() { // the sliders stand elsewhere now
  if (running || !run) return;
  asIfTimer ||= requestAnimationFrame(() => {
    asIfTimer = 0;
    if (!running) setAsIf(slidersOf(run.panels));
  });
}

function cancelAsIf() {
  cancelAnimationFrame(asIfTimer);
  asIfTimer = 0;
}

// The sliders back to where they stood in the end, as far as these tokens tell.
/** @type {(tokens?: Pick<import("../types.js").Token, "n" | "v">[]) => void} */
export function setSliders(tokens = run.panels.flatMap((panel) => panel.tokens)) {
  const told = tokens.flatMap((token) => Object.entries(liveOf(token, run.factors))).filter(([, value]) => Number.isFinite(value));
  setControls(Object.fromEntries(told));
  cancelAsIf(); // nobody asked for the text at other values
  setAsIf(null);
}

export function listen() {
  asWritten = part("as-if-text").textContent;
  on("plotted", () => asIf && tellAsIf());
  on("controls", asIfSoon);
}
