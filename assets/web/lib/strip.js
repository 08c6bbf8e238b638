// The tokens that every value of a control would choose, as a plotly figure: one row per value, one column per token of the text. A
// changed token is written into its cell, so that colour does not carry it alone.

/** @import { Choice, Column, Run, Scored, Token } from "../types.js" */

import { choiceOf, controlsOf, keyOfValue } from "./counterfactual.js";
import { shareText, symbolOf, tickLabel } from "./formats.js";
import { liveOf } from "./schedule.js";

export const STRIP_ROWS = 13; // quarters of alpha from 0 to 3; halves where it may be negative
const MOST_TOKENS = 1024; // with more cells, drawing is slow and nothing can be read
const CELL_CHARS = 5; // fit into a cell; the hover text has the whole token
const GRADES = ["the same token", "probably the same token", "probably another token", "another token"];
const SHADES = ["var(--card)", "var(--line)", "var(--rest)", "var(--tuned)"];

/** @type {(choice: Choice, token: Token) => number} */
const gradeOf = ({ id, sure }, token) => (id === token.i ? (sure ? 0 : 1) : sure ? 3 : 2);

/** @type {(range: { low: number, high: number }) => number[]} */
export const stripValues = ({ low, high }) => Array.from({ length: STRIP_ROWS }, (_, k) => Number((low + ((high - low) * k) / (STRIP_ROWS - 1)).toFixed(6)));

// The values that the server is asked to score, the most wanted first: the ends that a person compares with, the rows of the
// strip, and then every step of the slider.
/** @type {(range: { low: number, high: number, step: number }) => number[]} */
export function valuesToScore({ low, high, step }) {
  const steps = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, k) => Number((low + k * step).toFixed(6)));
  return [...new Set([0, 1, ...stripValues({ low, high }), ...steps])].filter((value) => value >= low && value <= high);
}

/** @type {(answer: { control: string, values: number[], changed: [number, number][][] }) => Scored} the server's answer */
export const readScored = ({ control, values, changed }) => ({ control, changes: new Map(values.map((value, k) => [keyOfValue(value), new Map(changed[k])])) });

/** @type {(run: Run, column: Column, control: string, range: { low: number, high: number }) => { data: any[], layout: any, cells: string[][], note: string }} */
export function stripFigure({ factors, labels, layout }, column, control, range) {
  const tokens = column.tokens.slice(0, MOST_TOKENS), count = column.tokens.length;
  const values = stripValues(range);
  const rows = values.map((value) => tokens.map((token) => choiceOf(column, token, { [control]: value }, factors)));
  const grades = rows.map((row) => row.map((choice, i) => gradeOf(choice, tokens[i])));
  const name = symbolOf(control);
  const words = (/** @type {number} */ id, /** @type {number} */ grade) => (grade < 2 ? "same" : "“" + labels.get(id) + "”") + (grade === 1 || grade === 2 ? "?" : "");
  const heat = {
    type: "heatmap", x: tokens.map((_, i) => i), y: values.map(String), z: grades,
    text: rows.map((row, k) => row.map(({ id }, i) => (grades[k][i] < 2 ? "" : tickLabel(labels.get(id), CELL_CHARS) + (grades[k][i] === 2 ? "?" : "")))),
    customdata: rows.map((row, k) => row.map((_, i) => name + " " + values[k] + ": " + tickLabel(labels.get(rows[k][i].id), 40) + " (" + GRADES[grades[k][i]] + restText(rows[k][i]) + ")")),
    texttemplate: "%{text}", textfont: { size: 11 }, hovertemplate: "%{customdata}<extra></extra>",
    zmin: 0, zmax: GRADES.length - 1, showscale: false, xgap: 1, ygap: 1,
    colorscale: SHADES.flatMap((shade, k) => [[k / 4, shade], [(k + 1) / 4, shade]]),
  };
  return {
    data: [heat],
    cells: rows.map((row, k) => row.map(({ id }, i) => words(id, grades[k][i]))), // of the plot's table, which plotly never sees
    layout: {
      ...layout, height: 300, margin: { l: 56, r: 8, t: 20, b: 60 }, hovermode: "closest", showlegend: false,
      xaxis: { ...layout.xaxis, tickvals: heat.x, ticktext: tokens.map((token) => tickLabel(labels.get(token.i))) },
      yaxis: { title: { text: name }, type: "category", color: layout.yaxis.color, showgrid: false, fixedrange: true },
    },
    note: [...lengthNote(count), ...othersNote(column, control, factors), ...certaintyNotes(column, name, values, rows)].join(" "),
  };
}

/** @type {(choice: Choice) => string} */
function restText({ exact, sure, unrecorded }) { // why an estimate may be wrong
  if (exact || sure) return "";
  return unrecorded === null ? "; how much probability is unrecorded is unknown" : "; up to " + shareText(unrecorded) + " of the probability is unrecorded";
}

/** @type {(count: number) => string[]} */
const lengthNote = (count) => (count > MOST_TOKENS ? ["The plot shows the first " + MOST_TOKENS.toLocaleString("en") + " of " + count.toLocaleString("en") + " tokens, the maximum."] : []);

// Where the other sliders are in every row: as they were when the text was written, not where a person has moved them.
/** @type {(column: Column, control: string, factors: number[]) => string[]} */
function othersNote(column, control, factors) {
  const live = column.tokens.map((token) => liveOf(token, factors));
  const places = controlsOf(column).filter((name) => name !== control).map((name) => {
    const [value, ...more] = new Set(live.map((values) => values[name]).filter(Number.isFinite).map((at) => at.toFixed(2)));
    return symbolOf(name) + (value && !more.length ? " at " + value : " as it was");
  });
  return places.length ? ["All rows are for " + places.join(", ").replace(/, (?=[^,]*$)/, " and ") + ", as in this run; they do not follow " + (places.length > 1 ? "those sliders." : "that slider.")] : [];
}

// Which rows the server scored, and how far the estimate of the others may be off.
/** @type {(column: Column, name: string, values: number[], rows: Choice[][]) => string[]} */
function certaintyNotes(column, name, values, rows) {
  const exact = values.filter((_, k) => rows[k].every((choice) => choice.exact));
  if (exact.length === values.length) return ["Every row is exact: the models scored this text at these values."];
  const known = exact.length ? ["The models scored this text at " + name + " " + exact.join(", ") + ": these rows are exact."] : [];
  const others = exact.length ? "The other rows" : "The rows";
  if (column.unreplayed?.length) return [...known, others + " are unknown: " + column.unreplayed.join(", ") + " needs every token's probability."];
  const guesses = rows.flat().filter((choice) => !choice.exact), worst = guesses.reduce((most, { unrecorded }) => Math.max(most, unrecorded ?? 0), 0);
  const bounds = worst > 0 ? ["up to " + shareText(worst) + " of a token's probability was not recorded"] : [];
  if (guesses.some(({ unrecorded }) => unrecorded === null)) bounds.push("in some cells it is unknown how much was not recorded");
  return [...known, others + " are estimated from the recorded candidates" + (bounds.length ? ": " + bounds.join("; ") : "") + "."];
}
