// The open plot as a table, for people who cannot see the plot and for those who want its numbers.

import { tableOf } from "../lib/plot-table.js";
import { el, part, showText, verbatim } from "../dom.js";
import { on, run, running } from "../store.js";

let drawn = null; // {figure, tokens}: what the open tab shows
let made = {}; // the figure and the number of tokens of the table: a figure that grows stays the same object

// `tokens` are those of the column whose text the figure shows; null: there is no figure.
export function offerTable(figure, tokens = []) {
  drawn = figure && { figure, tokens };
  part("plot-table").hidden = !drawn || running; // a table that grows could not be read
  fill();
}

function fill() {
  const box = part("plot-table");
  if (box.hidden || !box.open) return;
  const { figure, tokens } = drawn, count = figure.layout.xaxis.tickvals.length;
  if (made.figure === figure && made.count === count) return;
  made = { figure, count };
  const title = part("attribution-title").textContent, { head, rows } = tableOf(figure), table = el("table"), body = el("tbody");
  const names = el("tr");
  names.append(...["", "token", ...head].map((name, k) => (k === 0 ? el("td") : Object.assign(verbatim(el("th", "", name)), { scope: "col" }))));
  body.append(...rows.map((cells, i) => {
    const row = el("tr"), name = Object.assign(verbatim(el("th")), { scope: "row" });
    showText(name, run.labels.get(tokens[i]?.i));
    row.append(el("td", "", i + 1), name, ...cells.map((cell) => verbatim(showText(el("td"), cell))));
    return row;
  }));
  const top = el("thead");
  top.append(names);
  table.append(el("caption", "unseen", title), top, body);
  part("plot-rows").replaceChildren(table);
  part("plot-rows").setAttribute("aria-label", title);
}

export function listen() {
  part("plot-table").addEventListener("toggle", fill);
  on("running", () => offerTable(drawn?.figure, drawn?.tokens));
}
