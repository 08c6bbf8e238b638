// One draw from mixed log-probs: temperature, top-k, top-p and min-p in the engine's order, then the noise.

/** @import { Known, Sampling } from "../types.js" */

/** @type {(sampling: Sampling, mixed: Known<number>, noise: Known<number>) => number} */
export function drawFrom({ temperature, top_k, top_p, min_p }, mixed, noise) {
  const ranked = [...mixed.keys()].sort((a, b) => Number(mixed.get(b) > mixed.get(a)) - Number(mixed.get(b) < mixed.get(a)) || a - b);
  if (temperature < 1e-4) return ranked[0];
  const top = mixed.get(ranked[0]);
  const listed = (top_k ? ranked.slice(0, top_k) : ranked).map((id) => [id, Math.exp((mixed.get(id) - top) / temperature)]);
  const limit = top_p * listed.reduce((sum, [, weight]) => sum + weight, 0);
  /** @type {{ id: number, score: number } | null} */
  let best = null;
  let ahead = 0;
  for (const [id, weight] of listed) {
    if (best && (ahead >= limit || weight < (min_p || 0))) break;
    ahead += weight;
    const score = mixed.get(id) / temperature + noise.get(id);
    if (!best || score > best.score) best = { id, score };
  }
  return /** @type {{ id: number, score: number }} */ (/** @type {unknown} */ (best)).id;
}
