// The what-if tab: what every value of a slider would choose, worked out here from what the run records.

import { controlsOf } from "../lib/counterfactual.js";
import { stripFigure } from "../lib/strip.js";
import { run } from "../store.js";
import { rangeOf, setControls } from "./sliders.js";

const controlOf = (column) => controlsOf(column)[0];

// Why there is no figure of the column; "" if there is one.
export const refusalOf = (column) => (controlOf(column) ? "" : "No slider affects " + column.name + ". Choose another column.");

export const figureOf = (column) => stripFigure(run, column, controlOf(column), rangeOf(controlOf(column)));

export function onCell(column, value) { // the cell's row
  if (Number.isFinite(Number(value))) setControls({ [controlOf(column)]: Number(value) });
}
