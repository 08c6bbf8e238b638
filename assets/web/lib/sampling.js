// One draw from mixed log-probs: temperature, top-k, top-p and min-p in the engine's order, then the noise.

export function drawFrom({ temperature, top_k, top_p, min_p }, mixed, dice) {
  const ranked = [...mixed.keys()].sort((a, b) => (mixed.get(b) > mixed.get(a)) - (mixed.get(b) < mixed.get(a)) || a - b);
  if (temperature < 1e-4) return ranked[0];
  const top = mixed.get(ranked[0]);
  const listed = (top_k ? ranked.slice(0, top_k) : ranked).map((id) => [id, Math.exp((mixed.get(id) - top) / temperature)]);
  const limit = top_p * listed.reduce((sum, [, weight]) => sum + weight, 0);
  let ahead = 0, best = null;
  for (const [id, weight] of listed) {
    if (best && (ahead >= limit || weight < (min_p || 0))) break;
    ahead += weight;
    const score = mixed.get(id) / temperature + dice.get(id);
    if (!best || score > best.score) best = { id, score };
  }
  return best.id;
}
