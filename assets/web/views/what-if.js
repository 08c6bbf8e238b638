// The what-if tab: what every value of a slider would choose, as the server scored it, or else estimated here from what the run
// records.

import { controlsOf } from "../lib/counterfactual.js";
import { stripFigure } from "../lib/strip.js";
import { run } from "../store.js";
import { scoreColumn } from "./scoring.js";
import { rangeOf, setControls } from "./sliders.js";

const controlOf = (column) => controlsOf(column)[0];

// Why there is no figure of the column; "" if there is one.
export const refusalOf = (column) => (controlOf(column) ? "" : "No slider affects " + column.name + ". Choose another column.");

// The figure changes when the server has scored the column.
export const stateOf = (column) => (column.scored ? "scored" : "estimated");

export function figureOf(column) {
  scoreColumn(run.columns.indexOf(column));
  return stripFigure(run, column, controlOf(column), rangeOf(controlOf(column)));
}

export function onCell(column, value) { // the cell's row
  if (Number.isFinite(Number(value))) setControls({ [controlOf(column)]: Number(value) });
}
