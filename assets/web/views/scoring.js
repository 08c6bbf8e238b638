// Asks the server which tokens other slider values would have drawn, once per run and column. Until it answers, and where it
// refuses, the page shows its own estimate.

import { answerOf, restoreRun, server } from "../api.js";
import { controlsOf } from "../lib/counterfactual.js";
import { addLabels } from "../lib/runs.js";
import { readScored, valuesToScore } from "../lib/strip.js";
import { config, cover, emit, noteScored, run, running } from "../store.js";
import { rangeOf } from "./sliders.js";

/** @type {(p: number) => Promise<void>} */
export async function scoreColumn(p) {
  const one = run, column = one.columns[p], [control] = controlsOf(column);
  if (column.scored !== undefined || running || cover || config.absent || !column.ended || !control || !one.id) return;
  noteScored(column, null);
  if (await restoreRun(one)) return;
  const answer = await answerOf(server.what_if({ run: one.id, column: p, control, values: valuesToScore(rangeOf(control)) }));
  if (!answer.changed) return;
  addLabels(one, answer.labels);
  noteScored(column, readScored(answer));
  if (run === one) emit("scored");
}
