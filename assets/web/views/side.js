// Where the card of a token stands: a panel beside the texts, which can be closed; on a phone a sheet at the bottom, which
// opens when a person picks a token.

import { element, focusInView, isSheet, onKeys, part, setShown } from "../dom.js";
import { on, run, selected } from "../store.js";
import { select } from "./columns.js";
import { drawSoon } from "./plotting.js";

const OPENERS = ".openers button, .compare summary";

// `picked`: by a person, not by the page after a run.
function showSide(picked) {
  const side = part("side");
  if (picked) delete side.dataset.closed;
  if (side.dataset.closed || !side.hidden || (isSheet() && !picked)) return;
  setShown("side", true);
  drawSoon();
}

// Scrolls a token that has the focus, or that the sheet would cover, into view.
function keepAbove(picked) {
  const span = run.columns[selected.p].spans[selected.i];
  if ((picked && isSheet()) || span === document.activeElement) span.scrollIntoView({ block: "nearest" });
}

export function closeSide() { // returns whether it was open
  const side = part("side");
  if (side.hidden) return false;
  const inside = side.contains(document.activeElement);
  setShown("side", false);
  side.dataset.closed = "yes";
  if (inside && selected) focusInView(run.columns[selected.p].spans[selected.i]);
  drawSoon();
  return true;
}

// The sheet would cover a new text, of which no token is selected yet. A branch goes on from the token that the sheet shows.
function makeRoom() {
  const side = part("side");
  if (!run || run.of || !isSheet() || side.contains(document.activeElement)) return;
  lower();
}

function lower() {
  setShown("side", false);
  drawSoon();
}

function step(by) {
  if (selected && run.columns[selected.p].spans[selected.i + by]) select(selected.p, selected.i + by, false, true);
}

export function listen() {
  if (isSheet()) setShown("side", false);
  on("selected", (picked) => (showSide(picked), keepAbove(picked)));
  on("run", makeRoom);
  part("page").addEventListener("click", ({ target }) => isSheet() && target.closest(OPENERS) && lower()); // it would cover what opens
  part("card-close").addEventListener("click", closeSide);
  part("card-before").addEventListener("click", () => step(-1));
  part("card-after").addEventListener("click", () => step(1));
  onKeys(part("side"), (key, event) => key === "Escape" && !event.target.closest("tbody") && closeSide(), () => element.isConnected);
}
