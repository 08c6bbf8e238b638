// One draw from mixed log-probs, as eft_demo/method/sampling.py draws: temperature, top-k, top-p and min-p in this order, then
// the noise. Ties with the last kept token are kept.

/** @import { Known, Rules, Sampling } from "../types.js" */

// Whether a column always takes the likeliest token, so that another seed gives the same text.
/** @type {(column: { sampling: Pick<Sampling, "temperature">, rules: Pick<Rules, "greedy_below"> }) => boolean} */
export const isGreedy = ({ sampling, rules }) => sampling.temperature < rules.greedy_below;

/** @type {(column: { sampling: Sampling, rules: Rules }, mixed: Known<number>, noise: Known<number>) => number} */
export function drawFrom({ sampling, rules }, mixed, noise) {
  const { temperature } = sampling;
  const ranked = [...mixed.keys()].sort((a, b) => Number(mixed.get(b) > mixed.get(a)) - Number(mixed.get(b) < mixed.get(a)) || a - b);
  if (isGreedy({ sampling, rules })) return ranked[0];
  const top = mixed.get(ranked[0]);
  const weights = ranked.map((id) => Math.exp((mixed.get(id) - top) / temperature));
  const scores = ranked.slice(0, keptOf(weights, sampling)).map((id) => mixed.get(id) / temperature + noise.get(id));
  return ranked[scores.indexOf(Math.max(...scores))];
}

/** @type {(weights: number[], sampling: Sampling) => number} */
function keptOf(weights, { top_k, top_p, min_p }) { // how many of these, which fall from 1
  let lowest = top_k ? weights[Math.min(top_k, weights.length) - 1] : 0;
  if (top_p < 1) {
    const limit = top_p * weights.reduce((sum, weight) => (weight < lowest ? sum : sum + weight), 0);
    let ahead = 0;
    lowest = Math.max(lowest, weights.find((weight) => (ahead += weight) >= limit) ?? 0);
  }
  return weights.filter((weight) => weight >= Math.max(lowest, min_p)).length || 1;
}
