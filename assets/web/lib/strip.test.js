// That it says what the choices say is held by tests/ui/test_counterfactual.py, with plotly.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readScored, STRIP_ROWS, stripFigure, valuesToScore } from "./strip.js";

const layout = { height: 350, font: { size: 14 }, xaxis: { tickangle: -40 }, yaxis: { color: "var(--soft)" } };
const token = { i: 2, n: 0, v: { alpha: 1 }, y: [-2.5, 3, -0.5, -0.1], c: [[2, -0.1, -2.5, -1, -4], [1, -1.1, -0.5, -3, -3]] };
const column = {
  roles: ["large_base", "small_tuned", "small_base"], terms: [[1, "alpha", 1, 2]], given: 0, tokens: [token],
  sampling: { temperature: 0, top_p: 1, top_k: 0, min_p: 0, seed: 1 }, filter: { kind: "off", value: 1 },
  rules: { support_nats: 30, greedy_below: 1e-4, lowest: 0, highest: 3 },
};
const run = { factors: [1], layout, labels: new Map([[1, " <b>"], [2, "Lima"]]) };

test("a row per value, a cell per token; a change is written into its cell as text", () => {
  const { data: [heat], layout: made, note } = stripFigure(run, column, "alpha", { low: 0, high: 3 });
  assert.equal(heat.y.length, STRIP_ROWS);
  assert.deepEqual([heat.y[1], heat.y[12]], ["0.25", "3"]);
  assert.deepEqual(heat.text.slice(0, 4).map(([text]) => text.replace("?", "")), ["&lt;b&gt;", "&lt;b&gt;", "&lt;b&gt;", ""]); // they draw level at 2/3
  assert.deepEqual([made.xaxis.ticktext, made.xaxis.tickangle, made.yaxis.title.text, note], [["Lima"], -40, "α", "The rows are estimated from the recorded candidates: in some cells it is unknown how much was not recorded."]);
  assert.match(heat.customdata[0][0], /^α 0: &lt;b&gt; \(another/);
});

test("the layout of the run is left as it is", () => {
  stripFigure(run, column, "alpha", { low: -3, high: 3 });
  assert.deepEqual(layout, { height: 350, font: { size: 14 }, xaxis: { tickangle: -40 }, yaxis: { color: "var(--soft)" } });
});

test("a warper that only Python knows is named", () => {
  assert.match(stripFigure(run, { ...column, unreplayed: ["Epsilon"] }, "alpha", { low: 0, high: 3 }).note, /Epsilon/);
});

test("a row that the models have scored is exact, and shows a token that was not recorded", () => {
  const range = { low: 0, high: 3, step: 0.05 }, values = valuesToScore(range);
  const labels = new Map([...run.labels, [7, "Cusco"]]);
  const scored = (asked) => ({ ...column, scored: readScored({ control: "alpha", values: asked, changed: asked.map((value) => (value === 0 ? [[0, 7]] : [])) }) });
  const { data: [whole], note } = stripFigure({ ...run, labels }, scored(values), "alpha", range);
  assert.deepEqual(whole.text.flat(), ["Cusco", ...Array(STRIP_ROWS - 1).fill("")]);
  assert.equal(whole.z.flat().filter((grade) => grade === 1 || grade === 2).length, 0);
  assert.match(note, /^Every row is exact/);
  const { data: [some], note: mixed } = stripFigure({ ...run, labels }, scored([0, 1]), "alpha", range);
  assert.equal(some.text[0][0], "Cusco");
  assert.match(some.text[1][0], /^&lt;b&gt;/); // estimated, as before
  assert.match(mixed, /at α 0, 1: these rows are exact\. The other rows are estimated/);
});

test("the server is asked for 0 and 1, the strip's rows, then every step of the slider, each once", () => {
  const values = valuesToScore({ low: -3, high: 3, step: 0.05 });
  assert.deepEqual(values.slice(0, 4), [0, 1, -3, -2.5]);
  assert.equal(values.length, 121);
  assert.equal(new Set(values).size, 121);
});

test("with several sliders, the note says where the others are", () => {
  const two = { ...column, terms: [[1, "alpha", 1, 2], [1, "beta", 1, 2]], tokens: [{ ...token, v: { alpha: 1, beta: 0.6 } }] };
  const noteOf = (of) => stripFigure(run, of, "alpha", { low: 0, high: 3 }).note;
  assert.match(noteOf(two), /^All rows are for β at 0\.60, as in this run; they do not follow that slider\. /);
  assert.match(noteOf({ ...two, tokens: [...two.tokens, { ...token, v: { alpha: 1, beta: 1 } }] }), /^All rows are for β as it was, as in this run/);
  const blend = { ...two, terms: ["alpha", "beta", "alpha_brief", "alpha_pirate"].map((name) => [1, name, 1, 2]), tokens: [{ ...token, v: { alpha: 1, beta: 0.6, alpha_brief: 0.2, alpha_pirate: 0.4 } }] };
  assert.match(noteOf(blend), /^All rows are for β at 0\.60, α brief at 0\.20 and α pirate at 0\.40, as in this run; they do not follow those sliders\. /);
  assert.doesNotMatch(noteOf(column), /All rows/);
});
