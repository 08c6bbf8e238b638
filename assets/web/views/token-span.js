// A token as a span that can be focused: its kind, its colour, what a screen reader says of it. Shared
// with saved pages, so it imports only dom.js and lib/.

import { COLOURS, strengthOf } from "../lib/colours.js";
import { percent, roleName } from "../lib/formats.js";
import { isBase, subjectOf } from "../lib/sentences.js";
import { FAINT_NATS, shiftOf } from "../lib/tokens.js";
import { el, menuOption } from "../dom.js";

export const tokenAt = (event) => event.target.closest(".t"); // a translator or an extension may have put elements inside

export function makeSpan(token) {
  const span = el("span"), kind = [];
  span.dataset.i = token.n;
  span.tabIndex = token.n === 0 ? 0 : -1;
  if (token.d) kind.push(token.d[0] === token.i ? "accepted" : "resampled");
  if (token.u && !token.u[0]) kind.push("uncertain");
  if (token.z) kind.push("stop-token");
  else if (!token.s) kind.push("part"); // its character ends with a later token
  else if (!token.s.trim() && token.s.includes("\n")) kind.push("nl");
  span.dataset.kind = kind.join(" ");
  return span;
}

export function paintSpan(span, colourBy, labels, column, token) {
  const mode = COLOURS[colourBy];
  span.className = ["t", ...span.dataset.kind.split(" "), ...mode.classes(column, token)].join(" ").trim();
  span.style.setProperty("--k", strengthOf(token) + "%");
  span.dataset.number = mode.number(column, token, labels);
}

// A token becomes a button when it is first pressed, or when a screen reader is to find it as one.
export function makeButton(span, label, pressed) {
  span.setAttribute("role", "button");
  span.setAttribute("aria-pressed", String(pressed));
  span.setAttribute("aria-label", label);
}

// Tab reaches one token of a column: the one that was looked at last.
export function enterAt(column, i) {
  const before = column.spans[column.entry ?? 0];
  if (before) before.tabIndex = -1;
  column.entry = i;
  column.spans[i].tabIndex = 0;
}

export function spokenLabel(labels, column, token) {
  const shift = shiftOf(token);
  const facts = ["Token " + (token.n + 1) + " of " + column.tokens.length, labels.get(token.i), percent(token.y[token.y.length - 1])];
  if (column.terms.length) {
    const { name } = subjectOf(column), moved = shift > 0 ? "raised by " : "lowered by ";
    facts.push((isBase(column.roles[0]) ? "base " : roleName(column.roles[0]) + " ") + percent(token.y[0]));
    facts.push((Math.abs(shift) < FAINT_NATS ? "unchanged by " : moved) + name);
  }
  if (token.d) facts.push(token.d[0] === token.i ? "draft accepted" : "draft " + labels.get(token.d[0]) + " rejected");
  if (token.u && !token.u[0]) facts.push("not certain");
  if (token.would !== undefined && token.would !== token.i) facts.push("would be " + labels.get(token.would));
  return facts.join(", ");
}

/** @type {(className: string, text: string, mark?: string) => HTMLElement} */
function sample(className, text, mark) {
  const entry = el("span");
  entry.append(el("i", "swatch " + className, mark), document.createTextNode(text));
  return entry;
}

export function legendEntries(colourBy, drafted) {
  const drafts = drafted ? [sample("accepted", "draft accepted", "abc"), sample("resampled", "draft rejected, resampled", "abc")] : [];
  return [...COLOURS[colourBy].legend.map((entry) => sample(...entry)), ...drafts];
}

export const colourOptions = () => Object.entries(COLOURS).map(([name, { title }]) => menuOption(name, title));
