// The columns: every token a span that can be focused, coloured by what tuning did to its log-prob.

import { draftsText, speedText } from "../lib/formats.js";
import { placeAfter } from "../lib/keys.js";
import { notablePlace } from "../lib/tokens.js";
import { el, part } from "../dom.js";
import { emit, noteDrafted, ownViews, pick, plotted, run, selected, setWide, shown, wide } from "../store.js";
import { beginText, endText, makePane, reveal, showPanes, writeToken } from "./column-pane.js";
import { drawLegend, paint } from "./painting.js";
import { drawSoon } from "./plotting.js";
import { enterAt, makeButton, makeSpan, spokenLabel, tokenAt } from "./token-span.js";

export const paneOf = (p) => part("columns").querySelectorAll(".pane")[p];

export function makeColumns(columns) {
  showPanes(part("columns"), columns.map((column, p) => makePane(column, p, widenButton(column, p))));
  for (const turns of part("columns").querySelectorAll(".turns")) turns.scrollTop = turns.scrollHeight;
  widen(wide < columns.length ? wide : null);
  drawLegend();
}

// Draws the run's columns with the tokens that they already have.
export function startColumns() {
  makeColumns(run.columns);
  run.columns.forEach((column, p) => {
    column.view = beginText(paneOf(p));
    column.view.speed.textContent = column.tokens.length ? speedText(column) : "waiting for the first token"; // of one that was cut, no end says it
    column.spans = [];
    column.unfolded = 0;
    column.entry = 0;
    for (const token of column.tokens) addToken(column, token);
    if (column.ended) endText(column, column.ended);
  });
}

export function addToken(column, token) {
  const span = makeSpan(token);
  if (token.d) {
    const first = !run.drafted;
    noteDrafted(column);
    if (first) drawLegend();
  }
  paint(column, token, span);
  writeToken(column, token, span, run.factors);
}

// The columns that grow in this update. All heights are read before any of them grows, because reading one afterwards would
// force a new layout for each column.
const grown = new Set();

export function growColumn(column) {
  if (!grown.size) for (const { view } of run.columns) view.atEnd = view.text.scrollHeight - view.text.scrollTop - view.text.clientHeight < 60;
  grown.add(column);
}

export function settleColumns() {
  const growing = [...grown].filter(({ ended }) => !ended);
  for (const column of growing) {
    column.view.speed.textContent = speedText(column);
    if (column.drafted) column.view.drafts.textContent = draftsText(column);
  }
  for (const { view } of growing) if (view.atEnd) view.text.scrollTop = view.text.scrollHeight; // after all texts: one layout for all
  grown.clear();
}

// `picked`: by a person, not by the page.
export function select(p, i, focus, picked = focus) {
  const column = run && run.columns[p];
  if (!column || !column.spans[i]) return;
  const old = selected && run.columns[selected.p].spans[selected.i];
  focus ||= Boolean(old) && old === document.activeElement; // else it would stay on a token that is not selected
  if (old) old.removeAttribute("aria-pressed");
  pick(p, i);
  enterAt(column, i);
  const span = column.spans[i];
  makeButton(span, spokenLabel(run.labels, column, shown(column, i)), true);
  if (focus || picked) reveal(span);
  if (focus) span.focus({ preventScroll: true });
  keepInView(column.view.text, span);
  emit("selected", picked);
}

// After a run: how many tokens there are is known now, and the text may have scrolled away from the selected one.
export function settleSelected() {
  const column = run.columns[selected.p], span = column.spans[selected.i];
  makeButton(span, spokenLabel(run.labels, column, shown(column, selected.i)), true);
  keepInView(column.view.text, span);
}

function keepInView(box, span) {
  const at = span.getBoundingClientRect(), within = box.getBoundingClientRect(), top = at.top - within.top + box.scrollTop;
  if (top < box.scrollTop + 20 || top + at.height > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

// After a run, selects the token where the large base knew what the small tuned model did not, or else the one that
// tuning moved most.
export function selectNotable() {
  for (const { view } of run.columns) view.text.scrollTop = 0; // one reads from the beginning
  if (run.attributed === null || ownViews.bars) return;
  select(run.attributed, notablePlace(run.columns[run.attributed].tokens), false);
}

export function walk(key) {
  const to = run && placeAfter(key, selected || { p: plotted, i: -1 }, run.columns.map(({ tokens }) => tokens.length));
  if (to) select(to.p, to.i, true);
  return Boolean(to);
}

function widenButton(column, p) {
  const button = el("button", "widen", "↔");
  button.type = "button";
  button.title = "Full width on or off";
  button.setAttribute("aria-label", "Full width for the column " + column.name);
  button.addEventListener("click", () => widen(p === wide ? null : p));
  return button;
}

export function widen(p) {
  setWide(p);
  part("columns").classList.toggle("widened", p !== null);
  part("columns").querySelectorAll(".pane").forEach((pane, k) => {
    pane.classList.toggle("wide", k === p);
    pane.querySelector(".widen").setAttribute("aria-pressed", String(k === p));
  });
  drawSoon();
}

export function selectSpan(span, focus) {
  select(Number(span.closest(".text").dataset.p), Number(span.dataset.i), focus, true);
}

export function listen() {
  part("columns").addEventListener("click", (event) => {
    const span = tokenAt(event);
    if (span) selectSpan(span, true);
  });
  part("columns").addEventListener("focusin", (event) => {
    const span = tokenAt(event);
    if (span && !span.hasAttribute("aria-pressed") && span.matches(":focus-visible")) selectSpan(span, false);
  });
}
