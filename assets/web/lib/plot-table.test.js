import assert from "node:assert/strict";
import { test } from "node:test";
import { tableOf } from "./plot-table.js";

const layout = { xaxis: { tickvals: [0, 1, 2] }, yaxis: { title: { text: "nats" } } };

test("a row per token, a column per trace, in numbers as people read them", () => {
  const bars = { type: "bar", name: "large base", x: [0, 1, 2], y: [-1.234, 0.001, null] };
  const line = { type: "scatter", name: "a &lt;b&gt; &amp;amp; c", x: [0, 2], y: [2, -0.004] };
  assert.deepEqual(tableOf({ data: [bars, line], layout }), {
    head: ["large base", "a <b> &amp; c"],
    rows: [["−1.23", "2.00"], ["0.00", ""], ["infinite", "0.00"]],
  });
});

test("a trace without a name has that of its axis", () => {
  assert.deepEqual(tableOf({ data: [{ type: "bar", x: [0, 1, 2], y: [1, 2, 3] }], layout }).head, ["nats"]);
});

test("of a heat map, a column per row of cells, with the words of its cells", () => {
  const heat = { type: "heatmap", x: [0, 1], y: ["0", "3"], z: [[0, 3], [1, 0]] }, cells = [["same", "“Lima”"], ["same?", "same"]];
  const made = { ...layout, yaxis: { title: { text: "α" } } };
  assert.deepEqual(tableOf({ data: [heat], layout: made, cells }), { head: ["α 0", "α 3"], rows: [["same", "same?"], ["“Lima”", "same"]] });
  assert.deepEqual(tableOf({ data: [heat], layout: made }).rows[1], ["3", "0"]);
});
