// A small card beside the token under the mouse or keyboard focus: its numbers and top candidates. It takes no clicks and
// covers nothing clickable; the large card shows the same token in full.

import { nat } from "../lib/counterfactual.js";
import { decimal, percent, roleName } from "../lib/formats.js";
import { isBase } from "../lib/sentences.js";
import { FAINT_NATS, finalOf, shiftOf } from "../lib/tokens.js";
import { el, part, showPieces, verbatim } from "../dom.js";
import { on, preview, run, selected, setPreview, shown } from "../store.js";
import { drawCard, emptyCard } from "./card.js";
import { colourOf, titleOf } from "./card-table.js";
import { tokenAt } from "./token-span.js";

const PEEK_MS = 90; // a passing mouse shows nothing
const PEEK_ROWS = 4;
let peekTimer = 0;
let mouseAt = ""; // where it was last

function peekSoon(span) {
  clearTimeout(peekTimer);
  peekTimer = setTimeout(() => (span ? peekAt(span) : endPeek()), span ? PEEK_MS : 0);
}

// Whether a person moved the mouse to the token: not if the page moved it under a resting mouse, nor if it was touched.
function wasPointedAt({ pointerType, clientX, clientY }) {
  return pointerType !== "touch" && mouseAt !== clientX + " " + clientY;
}

// While presenting there is no large card, so a selected token is shown here. A selection that no person made closes the tooltip.
function onSelected(picked) {
  if (!picked) peekSoon(null);
  else if (part("page").classList.contains("presenting")) peekSoon(run.columns[selected.p].spans[selected.i]);
}

function peekAt(span) {
  if (!span.isConnected || !run) return;
  const p = Number(span.closest(".text").dataset.p), i = Number(span.dataset.i);
  if (!run.columns[p]?.spans[i]) return;
  setPreview(selected && selected.p === p && selected.i === i ? null : { p, i });
  drawCard();
  drawPeek(run.columns[p], i, span);
}

function endPeek() {
  part("peek").hidden = true;
  if (!preview) return;
  setPreview(null);
  if (selected) drawCard();
  else emptyCard();
}

function drawPeek(column, i, span) {
  const token = shown(column, i), box = part("peek");
  const facts = [percent(finalOf(token), "%"), "rank " + token.r];
  if (column.terms.length) facts.push((isBase(column.roles[0]) ? "base " : roleName(column.roles[0]) + " ") + percent(token.y[0], "%"));
  const shift = shiftOf(token);
  if (column.terms.length && Math.abs(shift) >= FAINT_NATS) facts.push((shift < 0 ? "▼ " : "▲ ") + Math.abs(shift).toFixed(1) + " nats");
  const list = el("div", "peek-rows");
  for (const row of token.c.slice(0, PEEK_ROWS).concat(token.c.slice(PEEK_ROWS).filter(([id]) => id === token.i)))
    list.append(peekRow(column, token, row));
  const lines = [showPieces(el("b"), titleOf(run, column, i)), el("span", "", facts.join(" · ")), list];
  if (token.would !== undefined && token.would !== token.i) lines.push(showPieces(el("span", "peek-would"), ["would become “", run.labels.get(token.would), "”"]));
  box.replaceChildren(...lines);
  box.hidden = false;
  const at = span.getBoundingClientRect(), size = box.getBoundingClientRect();
  const above = at.top > size.height + 12;
  box.style.left = Math.max(8, Math.min(window.innerWidth - size.width - 8, at.left + at.width / 2 - size.width / 2)) + "px";
  box.style.top = (above ? at.top - size.height - 10 : at.bottom + 10) + "px";
}

/** @type {(column: import("../types.js").Column, token: import("../types.js").Token, row: import("../types.js").Row) => HTMLElement} */
function peekRow(column, token, [id, mix, anchor]) { // the bar of the mix above that of the anchor alone
  const row = el("div", id === token.i ? "chosen" : ""), bars = el("span", "pair");
  const values = column.terms.length ? [[mix, "var(--up)"], [anchor, colourOf(column, 0)]] : [[mix, colourOf(column, 0)]];
  for (const [value, colour] of values) {
    const bar = el("i");
    bar.style.width = (100 * Math.exp(nat(value))).toFixed(1) + "%";
    bar.style.setProperty("--c", colour);
    bars.append(bar);
  }
  row.append(verbatim(el("span", "", run.labels.get(id))), bars, el("span", "", decimal(mix)));
  return row;
}

export function listen() {
  part("columns").addEventListener("pointerover", (event) => tokenAt(event) && wasPointedAt(event) && peekSoon(tokenAt(event)));
  part("columns").addEventListener("pointerout", (event) => tokenAt(event) && peekSoon(null));
  part("columns").addEventListener("focusin", (event) => event.target.matches(".t:focus-visible") && peekSoon(event.target));
  part("columns").addEventListener("focusout", (event) => tokenAt(event) && peekSoon(null));
  for (const kind of ["run", "shown"]) on(kind, () => (clearTimeout(peekTimer), endPeek())); // its token is no longer there
  on("selected", onSelected);
  on("presenting", () => peekSoon(null));
  for (const name of ["pointerover", "pointermove"]) window.addEventListener(name, /** @type {(event: any) => void} */ (({ clientX, clientY }) => (mouseAt = clientX + " " + clientY)), { passive: true });
  for (const name of ["scroll", "resize", "pointerdown"]) window.addEventListener(name, () => part("peek")?.hidden === false && peekSoon(null), { capture: true, passive: true });
}
