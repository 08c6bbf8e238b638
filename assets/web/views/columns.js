// The columns: every token a span that can be focused, coloured by what tuning did to its log-prob.

import { draftsText, ending, percent, readable, roleName, speedText, symbolOf } from "../lib/formats.js";
import { turnsAt } from "../lib/schedule.js";
import { isBase, pusherOf } from "../lib/sentences.js";
import { joins } from "../lib/signs.js";
import { FAINT_NATS, knowledgeOf, shiftOf, STRONG_NATS } from "../lib/tokens.js";
import { el, noHover, part, showText, verbatim } from "../dom.js";
import { emit, ownView, pick, plotted, run, selected, setWide, shown, wide } from "../store.js";
import { drawLegend, paint } from "./painting.js";
import { drawSoon } from "./plotting.js";

export const paneOf = (p) => part("columns").querySelectorAll(".pane")[p];
export const tokenAt = (event) => event.target.closest(".t"); // a translator or an extension may have put elements inside

function showRecipe(place, recipe) { // differences short, whole in the tooltip
  const differences = readable(recipe).replaceAll("(large_base − small_base)", "Δsize").replace(/\((\w+) − \w+_base\)/g, "Δ$1");
  place.textContent = noHover() ? readable(recipe) : differences.replace(/^(\w+ \+ [αβ]·Δ)\w+$/, "$1");
  place.title = readable(recipe);
  place.translate = false;
}

export function makeColumns(columns) {
  part("columns").replaceChildren(...columns.map((column, p) => makeColumn(column, p)));
  widen(wide < columns.length ? wide : null);
  drawLegend();
}

function makeColumn(column, p) {
  const pane = el("section", "pane " + column.kind);
  const title = verbatim(showText(el("h2"), column.name));
  const top = el("div", "pane-top");
  const recipe = el("code", "recipe");
  showRecipe(recipe, column.recipe);
  top.append(title, recipe, widenButton(column, p));
  const text = verbatim(el("div", "text empty"));
  text.dataset.p = p;
  text.dataset.empty = "Its text appears here.";
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "Text of the column " + column.name);
  const sentence = el("p", "sentence");
  sentence.hidden = true;
  sentence.setAttribute("role", "alert");
  const foot = el("div", "foot");
  foot.append(el("span"), el("small", "drafts"), el("b"));
  pane.append(top, el("p", "what", column.about), text, sentence, foot);
  return pane;
}

function columnParts(p) {
  const pane = paneOf(p);
  return {
    text: pane.querySelector(".text"),
    caret: el("span", "caret"),
    sentence: pane.querySelector(".sentence"),
    speed: pane.querySelector(".foot span"),
    drafts: pane.querySelector(".foot .drafts"),
    ending: pane.querySelector(".foot b"),
  };
}

// The columns of the run, with whatever their columns already have.
export function startColumns() {
  makeColumns(run.columns);
  run.columns.forEach((column, p) => {
    column.view = columnParts(p);
    column.view.text.replaceChildren(column.view.caret);
    column.view.text.classList.remove("empty");
    column.view.speed.textContent = "waiting for the first token";
    column.spans = [];
    column.entry = 0;
    for (const token of column.tokens) addToken(column, token);
    if (column.ended) endColumn(column, column.ended);
  });
}

export function addToken(column, token) {
  const index = token.n;
  const span = makeSpan(column, token, index);
  // Leading space stays outside the span, so that colour and outline hug the word.
  const space = token.s.trim() ? token.s.match(/^[^\S\ufeff\u2028\u2029]*/)[0] : "";
  showText(span, token.s.slice(space.length));
  joinParts(column, token);
  if (space) write(column, index ? space : el("span", "lead", space));
  write(column, span);
  column.spans.push(span);
}

// The parts of a sign that joins the one before it lose their boxes, which would stand between the two.
function joinParts(column, token) {
  let first = token.n;
  while (first > 0 && !column.tokens[first - 1].s) first -= 1;
  if (!joins(column.tokens[first - 1]?.s || "", token.s)) return;
  column.view.text.classList.add("joining");
  for (const span of column.spans.slice(first, token.n)) {
    span.dataset.kind += " joined";
    span.classList.add("joined");
  }
}

// At the end of the text, before the caret; which a translator may have moved or wrapped.
function write({ view: { text, caret } }, node) {
  if (caret.parentNode === text) caret.before(node);
  else text.append(node);
}

// Once per update and column, for reading a height makes the browser lay out everything anew.
const grown = new Set();

export function growColumn(column) {
  if (grown.has(column)) return;
  grown.add(column);
  const box = column.view.text;
  column.view.atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
}

export function settleColumns() {
  for (const column of grown) {
    const { view } = column;
    if (!column.ended) view.speed.textContent = speedText(column);
    if (!column.ended && column.drafted) view.drafts.textContent = draftsText(column);
    if (view.atEnd) view.text.scrollTop = view.text.scrollHeight;
  }
  grown.clear();
}

function makeSpan(column, token, index) {
  const span = el("span"), kind = [];
  span.dataset.i = index;
  span.tabIndex = index === 0 ? 0 : -1;
  if (token.d) {
    column.drafted = true;
    kind.push(token.d[0] === token.i ? "accepted" : "resampled");
    if (!run.drafted) (run.drafted = true), drawLegend();
  }
  if (token.z) kind.push("stop-token");
  else if (!token.s) kind.push("part"); // its character ends with a later token
  else if (!token.s.trim() && token.s.includes("\n")) kind.push("nl");
  span.dataset.kind = kind.join(" ");
  paint(column, token, span);
  for (const { name, value } of turnsAt(column, index, run.factors)) {
    const turn = el("span", "turn"); // drawn by the style sheet, so that the text stays the model's own
    turn.dataset.name = symbolOf(name);
    turn.dataset.value = value.toFixed(2);
    write(column, turn);
  }
  return span;
}

export function endColumn(column, line) {
  const view = column.view;
  if (line.s) write(column, line.s);
  view.caret.remove();
  if (!view.text.hasChildNodes()) {
    view.text.classList.add("empty");
    view.text.dataset.empty = ["cancelled", "cut"].includes(line.why) ? "Stopped before the first token." : "The text is empty.";
  }
  if (line.tps) view.speed.textContent = Math.round(line.tps) + " tok/s · first " + Math.round(line.ttft_ms || 0) + " ms";
  else if (!column.tokens.length) view.speed.textContent = "no tokens";
  view.drafts.textContent = draftsText(column, line.acc, line.speedup);
  const count = column.tokens.length;
  view.ending.textContent = ending(column) + (count ? " · " + count + (count === 1 ? " token" : " tokens") : "");
  if (line.error) {
    view.sentence.textContent = line.error;
    view.sentence.hidden = false;
  }
}

export function select(p, i, focus) {
  const column = run && run.columns[p];
  if (!column || !column.spans[i]) return;
  const old = selected && run.columns[selected.p].spans[selected.i];
  if (old) old.removeAttribute("aria-pressed");
  const entry = column.spans[column.entry ?? 0];
  if (entry) entry.tabIndex = -1;
  pick(p, i);
  column.entry = i;
  const span = column.spans[i];
  span.tabIndex = 0;
  span.setAttribute("role", "button");
  span.setAttribute("aria-pressed", "true");
  span.setAttribute("aria-label", spoken(column, i));
  if (focus) span.focus({ preventScroll: true });
  keepInView(column.view.text, span);
  emit("selected");
}

function keepInView(box, span) {
  const at = span.getBoundingClientRect(), within = box.getBoundingClientRect(), top = at.top - within.top + box.scrollTop;
  if (top < box.scrollTop + 20 || top + at.height > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

function spoken(column, i) {
  const token = shown(column, i), shift = shiftOf(token);
  const facts = ["Token " + (i + 1) + " of " + column.tokens.length, run.labels.get(token.i), percent(token.y[token.y.length - 1])];
  if (column.terms.length) {
    const { name } = pusherOf(column), moved = shift > 0 ? "raised by " : "lowered by ";
    facts.push((isBase(column.roles[0]) ? "base " : roleName(column.roles[0]) + " ") + percent(token.y[0]));
    facts.push((Math.abs(shift) < FAINT_NATS ? "unchanged by " : moved) + name);
  }
  if (token.d) facts.push(token.d[0] === token.i ? "draft accepted" : "draft " + run.labels.get(token.d[0]) + " rejected");
  if (token.would !== undefined && token.would !== token.i) facts.push("would be " + run.labels.get(token.would));
  return facts.join(", ");
}

// After a run, the token worth a first look: where the large base knew what the small tuned model did not; failing
// that, the one that tuning moved most.
export function selectTelling() {
  if (run.attributed === null || ownView) return;
  const { tokens } = run.columns[run.attributed];
  const known = tokens.map(knowledgeOf);
  const moved = tokens.map((token) => Math.abs(shiftOf(token)));
  const telling = Math.max(...known) > STRONG_NATS ? known : moved;
  if (tokens.length) select(run.attributed, telling.indexOf(Math.max(...telling)), false);
}

export function walk(key) {
  if (!run) return false;
  const at = selected || { p: plotted, i: -1 };
  const last = run.columns[at.p].tokens.length - 1;
  if (key === "ArrowRight") select(at.p, Math.min(last, at.i + 1), true);
  else if (key === "ArrowLeft") select(at.p, Math.max(0, at.i - 1), true);
  else if (key === "Home") select(at.p, 0, true);
  else if (key === "End") select(at.p, last, true);
  else if (key === "ArrowUp" || key === "ArrowDown") {
    const p = at.p + (key === "ArrowUp" ? -1 : 1);
    if (run.columns[p]) select(p, Math.min(at.i, run.columns[p].tokens.length - 1), true);
  } else return false;
  return true;
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
  part("columns").querySelectorAll(".pane").forEach((pane, k) => {
    pane.classList.toggle("wide", k === p);
    pane.querySelector(".widen").setAttribute("aria-pressed", String(k === p));
  });
  drawSoon();
}

export function selectSpan(span, focus) {
  select(Number(span.closest(".text").dataset.p), Number(span.dataset.i), focus);
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
