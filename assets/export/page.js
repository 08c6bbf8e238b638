// A saved run, drawn without any network: joined with its imports into the one script of the saved page. The page's own modules
// draw it from the lines that the server would send; this module adds only selecting and colouring. A browser may have saved the
// page as it was drawn, so that each place is emptied before it is filled.

import { el, mount, onKeys, part, showPieces, showText, verbatim } from "../web/dom.js";
import { placeAfter } from "../web/lib/keys.js";
import { grow, makeRun } from "../web/lib/runs.js";
import { notablePlace } from "../web/lib/tokens.js";
import { besidesOf, noteOf, printOf, tableOf, titleOf, verdictOf, writeVerdict } from "../web/views/card-table.js";
import { beginText, endText, makePane, reveal, showPanes, writeToken } from "../web/views/column-pane.js";
import { colourOptions, enterAt, legendEntries, makeButton, makeSpan, paintSpan, spokenLabel, tokenAt } from "../web/views/token-span.js";
import { waterfallsOf } from "../web/views/waterfall.js";

const { rules, details, lines: [first, ...lines] } = JSON.parse(document.getElementById("run").textContent);
const run = makeRun(first, rules);
let at = null; // {p, i}: the token whose card is shown

function drawColumn(column, p) {
  const pane = makePane(column, p);
  column.view = beginText(pane);
  for (const token of column.tokens) {
    const span = makeSpan(token);
    makeButton(span, spokenLabel(run.labels, column, token), false);
    writeToken(column, token, span, run.factors);
  }
  endText(column, column.ended);
  return pane;
}

function paintAll() {
  const colourBy = part("colour").value;
  for (const column of run.columns) column.tokens.forEach((token, i) => paintSpan(column.spans[i], colourBy, run.labels, column, token));
  part("legend").replaceChildren(...legendEntries(colourBy, run.columns.some(({ tokens }) => tokens.some((token) => token.d))));
}

function select(p, i, focus) {
  const column = run.columns[p], span = column?.spans[i];
  if (!span) return;
  if (at) run.columns[at.p].spans[at.i].setAttribute("aria-pressed", "false");
  at = { p, i };
  enterAt(column, i);
  span.setAttribute("aria-pressed", "true");
  if (focus) reveal(span), span.focus();
  const token = column.tokens[i];
  showPieces(part("card-title"), titleOf(run, column, i));
  showPieces(part("card-note"), noteOf(run, column, token));
  part("card-table").replaceChildren(tableOf(run, column, token, (id, label) => verbatim(el("span", "", label))));
  writeVerdict(part("card-verdict"), [verdictOf(run, column, token)]);
  part("card-print").textContent = printOf(run, column, token);
  writeVerdict(part("card-more"), besidesOf(run, column, token));
  part("falls").replaceChildren(...waterfallsOf(run, column, token, null));
}

function selectSpan(span, focus) {
  select(Number(span.closest(".text").dataset.p), Number(span.dataset.i), focus);
}

function walk(key) {
  const to = at && placeAfter(key, at, run.columns.map(({ tokens }) => tokens.length));
  if (to) select(to.p, to.i, true);
  return Boolean(to);
}

function followTheme({ matches }) {
  document.body.classList.toggle("dark", matches);
}

for (const line of lines) grow(run, line);
mount(document.body);
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", followTheme);
followTheme(dark);
document.title = run.prompt.slice(0, 60) + " · EFT Demo";
verbatim(showText(part("prompt"), run.prompt));
part("details").textContent = details;
showPanes(part("columns"), run.columns.map(drawColumn));
part("columns").classList.remove("numbers");
part("colour").replaceChildren(...colourOptions());
part("colour").addEventListener("change", paintAll);
part("numbers").addEventListener("change", () => part("columns").classList.toggle("numbers", part("numbers").checked));
part("columns").addEventListener("click", (event) => tokenAt(event) && selectSpan(tokenAt(event), true));
part("columns").addEventListener("focusin", (event) => tokenAt(event)?.getAttribute("aria-pressed") === "false" && selectSpan(tokenAt(event), false));
onKeys(part("columns"), walk);
paintAll();
const shownFirst = run.attributed ?? run.columns.findLastIndex(({ tokens }) => tokens.length);
if (shownFirst >= 0) select(shownFirst, notablePlace(run.columns[shownFirst].tokens), false);
part("undrawn").hidden = true;
