// A run as the page holds it, grown line by line from what the server sends.

/** @import { Panel, Run, RunLine, Token } from "../types.js" */

/** @type {(line: RunLine, slider: { low: number, high: number }, parent?: Run | null) => Run} */
export function makeRun(line, slider, parent = null) {
  const panels = line.panels.map((panel) => ({ ...panel, sampling: line.sampling, filter: line.filter, lowest: slider.low, highest: slider.high, given: line.given || 0, v: {}, tokens: [], spans: [], ended: null }));
  for (const p of line.copied || []) Object.assign(panels[p], parent?.panels[p]); // their tokens are not sent again
  return { ...line, labels: /** @type {any} */ (new Map(parent ? parent.labels : [])), bytes: new Map(parent ? parent.bytes : []), panels };
}

/** @type {(to: Run, labels: Record<string, string | string[]> | undefined) => void} */
export function addLabels(to, labels) {
  for (const [id, told] of Object.entries(labels || {})) {
    const [label, bytes] = Array.isArray(told) ? told : [told];
    to.labels.set(Number(id), label);
    if (bytes !== undefined) to.bytes.set(Number(id), bytes);
  }
}

/** @type {(panel: Panel, token: Token) => void} */
export function record(panel, token) { // with what goes without saying on the wire
  panel.v = token.v ??= panel.v;
  token.r ??= 1;
  token.b ??= token.i;
  token.n = panel.tokens.length;
  panel.tokens.push(token);
}
