// The tokens that every value of a control would choose, as a plotly figure: one row per value, one column per token of the text. A
// changed token is written into its cell, so that colour does not carry it alone.

/** @import { Choice, Column, Run, Token } from "../types.js" */

import { choiceAt, effectiveAt } from "./counterfactual.js";
import { symbolOf, tickLabel } from "./formats.js";
import { factorAt } from "./schedule.js";

export const STRIP_ROWS = 13; // quarters of alpha from 0 to 3; halves where it may be negative
const MOST_TOKENS = 1024; // with more cells, drawing is slow and nothing can be read
const CELL_CHARS = 5; // fit into a cell; the hover text has the whole token
const GRADES = ["the same token", "probably the same token", "probably another token", "another token"];
const SHADES = ["var(--card)", "var(--line)", "var(--rest)", "var(--tuned)"];

/** @type {(choice: Choice, token: Token) => number} */
const gradeOf = ({ id, sure }, token) => (id === token.i ? (sure ? 0 : 1) : sure ? 3 : 2);

/** @type {(run: Run, column: Column, control: string, range: { low: number, high: number }) => { data: any[], layout: any, note: string }} */
export function stripFigure({ factors, labels, layout }, column, control, { low, high }) {
  const tokens = column.tokens.slice(0, MOST_TOKENS), count = column.tokens.length;
  const values = Array.from({ length: STRIP_ROWS }, (_, k) => Number((low + ((high - low) * k) / (STRIP_ROWS - 1)).toFixed(6)));
  const rows = values.map((value) => tokens.map((token) => choiceAt(column, token, effectiveAt({ [control]: value }, factorAt(factors, token.n)))));
  const grades = rows.map((row) => row.map((choice, i) => gradeOf(choice, tokens[i])));
  const name = symbolOf(control);
  const words = (/** @type {number} */ id, /** @type {number} */ grade) => (grade < 2 ? "same" : "“" + labels.get(id) + "”") + (grade === 1 || grade === 2 ? "?" : "");
  const heat = {
    type: "heatmap", x: tokens.map((_, i) => i), y: values.map(String), z: grades,
    text: rows.map((row, k) => row.map(({ id }, i) => (grades[k][i] < 2 ? "" : tickLabel(labels.get(id), CELL_CHARS) + (grades[k][i] === 2 ? "?" : "")))),
    customdata: rows.map((row, k) => row.map(({ id }, i) => name + " " + values[k] + ": " + tickLabel(labels.get(id), 40) + " (" + GRADES[grades[k][i]] + ")")),
    meta: rows.map((row, k) => row.map(({ id }, i) => words(id, grades[k][i]))), // the plot's table
    texttemplate: "%{text}", textfont: { size: 11 }, hovertemplate: "%{customdata}<extra></extra>",
    zmin: 0, zmax: GRADES.length - 1, showscale: false, xgap: 1, ygap: 1,
    colorscale: SHADES.flatMap((shade, k) => [[k / 4, shade], [(k + 1) / 4, shade]]),
  };
  return {
    data: [heat],
    layout: {
      ...layout, height: 300, margin: { l: 56, r: 8, t: 20, b: 60 }, hovermode: "closest", showlegend: false,
      xaxis: { ...layout.xaxis, tickvals: heat.x, ticktext: tokens.map((token) => tickLabel(labels.get(token.i))) },
      yaxis: { title: { text: name }, type: "category", color: layout.yaxis.color, showgrid: false, fixedrange: true },
    },
    note: notesOf(column, count).join(" "),
  };
}

/** @type {(column: Column, count: number) => string[]} */
function notesOf(column, count) {
  const notes = [];
  if (count > MOST_TOKENS) notes.push("The plot shows the first " + MOST_TOKENS.toLocaleString("en") + " of " + count.toLocaleString("en") + " tokens, the maximum.");
  if (column.unreplayed?.length) notes.push("What would change is unknown: " + column.unreplayed.join(", ") + " needs every token's probability.");
  return notes;
}
