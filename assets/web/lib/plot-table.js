// A plot of tokens as the rows of a table: one row per token, one column per trace of the figure; of a heat map, one per row of cells.

/** @import { Nats } from "../types.js" */

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };

// Names that were escaped for plotly, which reads them as markup.
/** @type {(text: string) => string} */
const plain = (text) => text.replace(/&(?:lt|gt|amp);/g, (entity) => ENTITIES[/** @type {keyof typeof ENTITIES} */ (entity)]);

/** @type {(value: Nats | undefined) => string} */
const cellOf = (value) => (value === undefined ? "" : value === null ? "infinite" : (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−"));

/** @type {(trace: any, x: number) => any} */
const valueAt = (trace, x) => trace.y[trace.x.indexOf(x)];

/** @type {(figure: { data: any[], layout: any, cells?: any[][] }) => { head: string[], rows: string[][] }} */
export function tableOf({ data, layout, cells: given }) {
  const title = layout.yaxis?.title?.text || "value", [heat] = data;
  if (heat.type === "heatmap") {
    const cells = given || heat.text || heat.z; // by row, then by token
    return {
      head: heat.y.map((/** @type {string} */ value) => title + " " + value),
      rows: heat.x.map((/** @type {number} */ _, /** @type {number} */ i) => cells.map((/** @type {any[]} */ row) => String(row[i]))),
    };
  }
  return {
    head: data.map((trace) => (trace.name ? plain(trace.name) : title)),
    rows: layout.xaxis.tickvals.map((/** @type {number} */ x) => data.map((trace) => cellOf(valueAt(trace, x)))),
  };
}
