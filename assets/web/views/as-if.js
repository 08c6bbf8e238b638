// The preview of a finished text at other slider values: the numbers of every token, and which tokens the same noise would
// change. Computed in the page from the recorded candidates, and exact where the server has scored these values.

import { controlsOf, remix } from "../lib/counterfactual.js";
import { symbolOf } from "../lib/formats.js";
import { liveOf } from "../lib/schedule.js";
import { isChanged, summaryText, sureness } from "../lib/summary.js";
import { el, part, verbatim } from "../dom.js";
import { asIf, nonce, on, paused, plotted, run, running, selected, setAsIfState, slidersOf } from "../store.js";
import { replot } from "./bars.js";
import { drawCard } from "./card.js";
import { repaintTokens } from "./painting.js";
import { scoreColumn } from "./scoring.js";
import { setControls } from "./sliders.js";

let asWritten = []; // the text shown while no slider is moved
let asIfTimer = 0;
const HALF_STEP = 0.025; // of a slider; recorded values are rounded

// Show the text at these sliders; null: as it was written.
function setAsIf(sliders) {
  const before = asIf;
  setAsIfState(null);
  if (run && sliders) {
    const first = {}, counts = {}, unsure = {};
    run.columns.forEach((column, p) => {
      column.remixed = controlsOf(column).length ? column.tokens.map((token) => remix(column, token, sliders, run.factors)) : null;
      const changed = (column.remixed || []).flatMap((token, i) => (token.would !== undefined && token.would !== token.i ? [i] : []));
      if (changed.length) first[p] = changed[0];
      counts[p] = changed.length;
      unsure[p] = (column.remixed || []).filter((token) => token.would === token.i && !token.sure).length;
    });
    const moved = run.columns.some((column) => column.remixed && column.remixed.some((token, i) => token !== column.tokens[i]));
    if (moved) setAsIfState({ sliders, first, counts, unsure });
    if (moved) run.columns.forEach((column, p) => column.remixed && scoreColumn(p));
  }
  if (!asIf && !before) return;
  if (run) repaint();
  describeAsIf();
}

function repaint() {
  repaintTokens();
  replot();
  if (selected) drawCard();
}

// The column that the preview describes: the plotted one if a slider affects it, else the one plotted first.
export function steeredColumn() {
  if (selected && run.columns[selected.p].remixed) return selected.p;
  return run.columns[plotted]?.remixed ? plotted : run.attributed;
}

const isSteerable = () => run.columns.some((column) => controlsOf(column).length && !column.ended);

const MOST_BARS = 64; // in the picture of the run

// One sentence about the run, with a picture: a bar per token, as high as the base was sure, marked where tuning changed the
// likeliest token.
function aboutRun() {
  const column = run?.columns[run.attributed], text = column ? summaryText(column) : "";
  if (running) return [isSteerable() ? (paused ? "The run waits" : "The run goes on") + ": move α, and it acts on the tokens yet to come." : "The columns that α affects are finished: what moving it would change is shown when the run has ended."];
  if (!text) return null;
  const strip = el("span", "strip");
  strip.setAttribute("aria-hidden", "true");
  strip.append(...column.tokens.slice(0, MOST_BARS).map((token) => {
    const bar = el("i", isChanged(token) ? "changed" : "");
    bar.style.height = Math.max(8, 100 * sureness(token)) + "%";
    return bar;
  }));
  return [strip, text];
}

function describeRun() {
  const steered = !run || run.columns.some((column) => controlsOf(column).length);
  part("as-if-text").replaceChildren(...((steered || !running) && aboutRun() || asWritten));
  const hint = part("as-if-text").querySelector(".by-slider");
  if (hint) hint.hidden = !steered;
}

export function describeAsIf() {
  for (const name of ["as-if", "page"]) part(name).classList.toggle("moved", asIf !== null);
  part("as-written").hidden = part("write-on").hidden = !asIf;
  if (!asIf) return describeRun();
  const p = steeredColumn(), column = run.columns[p], first = asIf.first[p], unsure = asIf.unsure[p], n = column.tokens.length;
  const values = Object.entries(asIf.sliders).map(([name, value]) => symbolOf(name) + " " + value.toFixed(2)).join(", ");
  const exact = column.remixed.every((token, i) => token.exact || token === column.tokens[i]);
  const texts = [(exact ? "At " : "Estimated from this run at ") + values + ": "];
  if (column.unreplayed.length && !exact) texts.push("which tokens would change is unknown: " + column.unreplayed.join(", ") + " needs every token's probability, and the page has only the likeliest.");
  else if (first === undefined) texts.push(unsure
    ? "no token of " + column.name + " is known to change, but " + unsure + " of " + n + " are uncertain, because the run records only the likeliest candidates."
    : "no token of " + column.name + " would change.");
  else texts.push(asIf.counts[p] + " of " + n + " tokens of " + column.name + " would change, " + (unsure ? unsure + " more are uncertain" : "each judged on the text as written") + "; the first is token " + (first + 1) + ": ",
    run.labels.get(column.tokens[first].i), column.remixed[first].sure ? " becomes " : " may become ", run.labels.get(column.remixed[first].would), ".");
  part("as-if-text").replaceChildren(...texts.map((text, i) => (i === 2 || i === 4 ? verbatim(el("b", "", text)) : text)));
  part("write-on").hidden = first === undefined;
}

// Not for every update of a stream: the words stay the same while a run goes on.
function describeSoon() {
  if (running && run?.n !== nonce) return; // the server may refuse what was asked for
  const state = [run?.id, running, paused, running ? run && isSteerable() : run?.columns[run.attributed]?.tokens.length].join(" ");
  if (!asIf && part("as-if").dataset.state === state) return;
  part("as-if").dataset.state = state;
  describeAsIf();
}

export function asIfSoon() { // the sliders have moved
  if (running || !run) return;
  asIfTimer ||= requestAnimationFrame(() => {
    asIfTimer = 0;
    if (!running) setAsIf(slidersOf(run.columns));
  });
}

// A slider may have moved after the last token that it acts on: no token was written at its value.
function asIfMoved() {
  if (running || !run || asIf) return;
  const sliders = Object.entries(slidersOf(run.columns));
  const lasts = run.columns.map((column) => recordedBy(column.tokens)).filter((values) => Object.keys(values).length);
  const isLast = (values) => sliders.every(([name, value]) => !(name in values) || Math.abs(values[name] - value) < HALF_STEP);
  if (lasts.length && !lasts.some(isLast)) asIfSoon();
}

function cancelAsIf() {
  cancelAnimationFrame(asIfTimer);
  asIfTimer = 0;
}

// The last positions of the sliders, as far as these tokens record them.
const recordedBy = (tokens) => Object.fromEntries(tokens.flatMap((token) => Object.entries(liveOf(token, run.factors))).filter(([, value]) => Number.isFinite(value)));

// Moves the sliders back to their last positions, as far as these tokens record them.
/** @type {(tokens?: Pick<import("../types.js").Token, "n" | "v">[]) => void} */
export function setSliders(tokens = run.columns.flatMap((column) => column.tokens)) {
  setControls(recordedBy(tokens));
  cancelAsIf(); // this is not a request for a preview
  setAsIf(null);
}

export function listen() {
  asWritten = [...part("as-if-text").childNodes];
  for (const kind of ["plotted", "running", "paused", "shown", "taken"]) on(kind, () => (kind === "plotted" ? asIf : !asIf) && describeSoon());
  on("running", asIfMoved);
  on("controls", asIfSoon);
  on("scored", () => asIf && asIfSoon());
}
