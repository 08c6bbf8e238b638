// What another alpha would have chosen, told from the recorded candidates: the page's copy of eft_demo/whatif.py, where
// the reasons are. Pure functions, no drawing; a test holds the two against each other.
//
//   panel  {terms: [[scale, control or null, plus, minus]...], sampling: {temperature, top_p, top_k, min_p, seed},
//           filter: {kind: "off" | "top_p" | "mask", value}}      plus and minus are places in `roles`, the anchor is 0
//   token  {i: id, n: position, v: {control: effective value}, y: [anchor, bars..., normaliser, log p],
//           c: [[id, mix, one per role...]...]}                   nats; null is minus infinity

const SUPPORT_NATS = 30;
const ROUNDING = 1e-6;
const MASK_64 = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

const nat = (value) => (value === null || value === undefined ? -Infinity : value);
const anchorOf = (row) => nat(row[2]);
const coefficientsAt = (panel, controls) => panel.terms.map(([scale, control]) => scale * (control === null ? 1 : controls[control]));

function deltasOf(panel, row) { // one per term, finite
  if (anchorOf(row) === -Infinity) return panel.terms.map(() => 0);
  return panel.terms.map(([, , plus, minus]) => {
    const up = nat(row[2 + plus]), down = nat(row[2 + minus]);
    if (up === -Infinity || down === -Infinity) return up === down ? 0 : up === -Infinity ? -SUPPORT_NATS : SUPPORT_NATS;
    return up - down;
  });
}

const pushOf = (coefficients, deltas) => coefficients.reduce((sum, weight, k) => sum + weight * deltas[k], 0);

// Map of id -> anchor + terms at these effective values, not normalised. Controls left out stay as they were.
function mixedAt(panel, token, controls) {
  const coefficients = coefficientsAt(panel, { ...token.v, ...controls });
  const inside = coefficients.some(Boolean) ? insideOf(panel, token) : null;
  return new Map(token.c.map((row) => {
    if (inside === null || inside.has(row[0])) return [row[0], anchorOf(row) + pushOf(coefficients, deltasOf(panel, row))];
    return [row[0], panel.filter.kind === "mask" ? -Infinity : anchorOf(row)];
  }));
}

function insideOf(panel, token) { // the tokens on which the terms act; null where all are
  const { kind, value } = panel.filter;
  if (kind === "off") return null;
  const ranked = [...token.c].sort((a, b) => anchorOf(b) - anchorOf(a) || a[0] - b[0]);
  if (kind === "mask") return new Set(ranked.filter((row) => anchorOf(row) >= anchorOf(ranked[0]) + Math.log(value)).map((row) => row[0]));
  const inside = new Set();
  let ahead = 0;
  for (const row of ranked) {
    if (ahead > value) break;
    if (wasActedOn(panel, token, row)) inside.add(row[0]);
    ahead += Math.exp(anchorOf(row));
  }
  return inside;
}

function wasActedOn(panel, token, row) { // it shows in the log-prob
  const pushed = pushOf(coefficientsAt(panel, token.v), deltasOf(panel, row));
  const off = nat(row[1]) - anchorOf(row) - normaliserOf(token);
  return Math.abs(off - pushed) <= Math.abs(off) + ROUNDING;
}

const normaliserOf = (token) => nat(token.y[token.y.length - 2]);

function wayOf(panel, token, controls) { // 1: as recorded; 0: no terms; null: beside the way between the two
  const then = coefficientsAt(panel, token.v), now = coefficientsAt(panel, { ...token.v, ...controls });
  const near = (share) => then.every((weight, k) => Math.abs(share * weight - now[k]) <= 1e-9);
  if (near(1)) return 1;
  const k = then.findIndex(Boolean);
  const share = k < 0 ? -1 : now[k] / then[k];
  return share >= 0 && share <= 1 && near(share) ? share : null;
}

const logRest = (logprobs) => Math.log(Math.max(1 - logprobs.reduce((sum, value) => sum + Math.exp(value), 0), ROUNDING / 10));

function shareOf(logMass, values) {
  const top = Math.max(logMass, ...values), mass = Math.exp(logMass - top);
  return mass / (mass + values.reduce((sum, value) => sum + Math.exp(value - top), 0));
}

// {id, changed, unrecorded}: what the same dice take among the recorded tokens; at most so much probability lies on
// others, null where that cannot be known.
function choiceAt(panel, token, controls) {
  const way = wayOf(panel, token, controls);
  if (way === 1) return { id: token.i, changed: false, unrecorded: 0 };
  const mixed = mixedAt(panel, token, controls);
  const id = drawFrom(panel.sampling, mixed, diceOf(panel, token));
  let unrecorded = null;
  const { temperature } = panel.sampling;
  if (way !== null && temperature <= 1) {
    const atRecord = logRest(token.c.map((row) => nat(row[1]))) - normaliserOf(token);
    const logMass = (1 - way) * logRest(token.c.map(anchorOf)) + way * atRecord;
    const values = [...mixed.values()];
    if (temperature >= 1e-4) unrecorded = shareOf(logMass / temperature, values.map((value) => value / temperature));
    else unrecorded = logMass < Math.max(...values) ? 0 : shareOf(logMass, values);
  }
  return { id, changed: id !== token.i, unrecorded };
}

function drawFrom({ temperature, top_k, top_p, min_p }, mixed, dice) {
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

// The dice of eft_demo/sampling.py: a hash of seed, position and token id, read as Gumbel noise. Kept with the token.
function diceOf(panel, token) {
  token.dice ??= new Map(token.c.map(([id]) => [id, gumbelOf(panel.sampling.seed, token.n, id)]));
  return token.dice;
}

function gumbelOf(seed, position, id) {
  const key = splitmix((splitmix(BigInt(seed)) + BigInt(position) * GOLDEN) & MASK_64);
  const bits = finalise((key + (BigInt(id) + 1n) * GOLDEN) & MASK_64);
  const u = Math.min(1 - 2 ** -24, Math.max(2 ** -64, Number(bits) * 2 ** -64));
  return -Math.log(-Math.log1p(-u));
}

const splitmix = (x) => finalise((x + GOLDEN) & MASK_64);
function finalise(x) {
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK_64;
  return x ^ (x >> 31n);
}

// [[rival, value of the control at which it draws level]...], the nearest first.
function flipsOf(panel, token, control) {
  if (token.v[control] === undefined || !panel.terms.some((term) => term[1] === control)) return [];
  const level = mixedAt(panel, token, { [control]: 0 }), higher = mixedAt(panel, token, { [control]: 1 });
  const flips = [];
  for (const rival of level.keys()) {
    const lead = level.get(token.i) - level.get(rival);
    const slope = higher.get(rival) - level.get(rival) - (higher.get(token.i) - level.get(token.i));
    if (rival !== token.i && Number.isFinite(lead) && Number.isFinite(slope) && Number.isFinite(lead / slope)) flips.push([rival, lead / slope]);
  }
  return flips.sort((a, b) => Math.abs(a[1] - token.v[control]) - Math.abs(b[1] - token.v[control]));
}

// The values that act on a token when the sliders stand at `controls`; `factor` is the schedule's, beta has none.
const effectiveAt = (controls, factor) => Object.fromEntries(Object.entries(controls).map(([name, value]) => [name, name === "beta" ? value : value * factor]));
