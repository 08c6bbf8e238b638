// A finished text as other sliders would have it: the numbers of every token at the new values, and which tokens the
// same dice would draw otherwise. Worked out in the page from what was recorded; no model is asked.

const MAX_UNSURE = 0.05; // more probability than this on tokens not recorded, and a choice is only likely
const AS_WRITTEN = part("as-if-text").textContent;
let asIf = null; // { values: {control: value}, first: {panel: first token that would change}, counts }, or null
let asIfTimer = 0;

const controlsOf = (panel) => [...new Set(panel.terms.map((term) => term[1]).filter((name) => name !== null))];
const shown = (panel, i) => (asIf && panel.remixed?.[i]) || panel.tokens[i]; // a token as the page shows it

// Where the sliders stand that these panels listen to.
function slidersOf(panels) {
  const names = [...new Set(panels.flatMap(controlsOf))];
  return Object.fromEntries(names.map((name) => [name, controls[name]]).filter(([, value]) => Number.isFinite(value)));
}

// The token as it would be told at these values: the same fields, so that whatever draws a token draws this too.
// `would` is what the dice would draw, `sure` whether no token outside the record may come between.
function remix(panel, token, sliders) {
  const factor = run.factors[Math.min(token.n, run.factors.length - 1)];
  const mine = Object.fromEntries(Object.entries(sliders).filter(([name]) => name in token.v));
  const v = { ...token.v, ...effectiveAt(mine, factor) };
  if (wayOf(panel, token, v) === 1) return token;
  const { id, unrecorded } = choiceAt(panel, token, v);
  const mixed = mixedAt(panel, token, v);
  const rest = restAt(panel, token, v);
  const top = Math.max(...mixed.values(), rest);
  const logZ = top + Math.log([...mixed.values(), rest].reduce((sum, value) => sum + Math.exp(value - top), 0));
  const c = token.c.map(([other, , ...roles]) => [other, mixed.get(other) - logZ, ...roles]).sort((a, b) => b[1] - a[1]);
  const row = token.c.find(([other]) => other === token.i);
  const inside = insideOf(panel, token);
  const acts = !inside || inside.has(token.i);
  const bars = coefficientsAt(panel, v).map((weight, k) => (acts ? weight * deltasOf(panel, row)[k] : 0));
  const final = mixed.get(token.i) - logZ;
  const finite = (value) => (Number.isFinite(value) ? value : null);
  return {
    ...token, v, c,
    y: [token.y[0], ...bars, -logZ, finite(final)],
    e: -[...mixed.values(), rest].reduce((sum, value) => sum + (value === -Infinity ? 0 : Math.exp(value - logZ) * (value - logZ)), 0),
    r: 1 + c.filter((other) => other[1] > final).length,
    would: token.n < panel.given && drawnAsWritten(panel, token) === id ? token.i : id, // a given token was not drawn
    sure: unrecorded !== null && unrecorded <= MAX_UNSURE,
  };
}

const drawnAsWritten = (panel, token) => drawFrom(panel.sampling, mixedAt(panel, token, {}), diceOf(panel, token));

// The log of what lies on tokens not recorded, as a straight line through what it is with no terms and as recorded:
// exact at both, too high between them, too low beyond.
function restAt(panel, token, v) {
  const then = coefficientsAt(panel, token.v), now = coefficientsAt(panel, v);
  const k = then.findIndex(Boolean), share = k < 0 ? 0 : now[k] / then[k];
  const none = logRest(token.c.map(anchorOf)), recorded = logRest(token.c.map((row) => nat(row[1]))) - normaliserOf(token);
  return (1 - share) * none + share * recorded;
}

// Show the text at these sliders; null: as it was written.
function setAsIf(sliders) {
  const before = asIf;
  asIf = null;
  if (run && sliders) {
    const first = {}, counts = {};
    run.panels.forEach((panel, p) => {
      panel.remixed = controlsOf(panel).length ? panel.tokens.map((token) => remix(panel, token, sliders)) : null;
      const changed = (panel.remixed || []).flatMap((token, i) => (token.would !== undefined && token.would !== token.i ? [i] : []));
      if (changed.length) first[p] = changed[0];
      counts[p] = changed.length;
    });
    const moved = run.panels.some((panel) => panel.remixed && panel.remixed.some((token, i) => token !== panel.tokens[i]));
    if (moved) asIf = { sliders, first, counts };
  }
  if (!asIf && !before) return;
  if (run) repaint();
  tellAsIf();
}

function repaintTokens() {
  run.panels.forEach((panel, p) => {
    const first = asIf ? asIf.first[p] ?? Infinity : Infinity;
    panel.spans.forEach((span, i) => {
      paint(panel, shown(panel, i), span);
      if (i > first) span.classList.add("beyond");
      if (i !== first) return;
      span.classList.add("parts");
      span.dataset.would = run.labels.get(panel.remixed[i].would) + (panel.remixed[i].sure ? "" : "?");
    });
  });
}

function repaint() {
  repaintTokens();
  replot();
  if (selected) drawCard();
}

// The panel that is spoken of: the plotted one if a slider steers it, else the one whose account comes first.
function steeredPanel() {
  if (selected && run.panels[selected.p].remixed) return selected.p;
  return run.panels[plotted]?.remixed ? plotted : run.account;
}

function tellAsIf() {
  part("as-if").classList.toggle("moved", asIf !== null);
  part("as-written").hidden = part("write-on").hidden = !asIf;
  if (!asIf) return void (part("as-if-text").textContent = AS_WRITTEN);
  const p = steeredPanel(), panel = run.panels[p], first = asIf.first[p], n = panel.tokens.length;
  const values = Object.entries(asIf.sliders).map(([name, value]) => symbolOf(name) + " " + value.toFixed(2)).join(", ");
  const texts = ["Shown at " + values + ", no model asked. "];
  if (first === undefined) texts.push("No token of " + panel.name + " would change.");
  else texts.push(asIf.counts[p] + " of " + n + " tokens of " + panel.name + " would change, first token " + (first + 1) + ": ",
    run.labels.get(panel.tokens[first].i), panel.remixed[first].sure ? " becomes " : " perhaps becomes ", run.labels.get(panel.remixed[first].would), ".");
  part("as-if-text").replaceChildren(...texts.map((text, i) => (i === 2 || i === 4 ? verbatim(el("b", "", text)) : text)));
  part("write-on").hidden = first === undefined;
}

function asIfSoon() { // the sliders stand elsewhere now
  if (running || !run) return;
  asIfTimer ||= requestAnimationFrame(() => {
    asIfTimer = 0;
    if (!running) setAsIf(slidersOf(run.panels));
  });
}

part("as-written").addEventListener("click", () => setSliders());
