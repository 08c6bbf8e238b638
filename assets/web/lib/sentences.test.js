// Every kind of sentence is held by tests/ui/test_page_sentences.py, over the wire.
import assert from "node:assert/strict";
import { test } from "node:test";
import { remix } from "./counterfactual.js";
import { explain, explainCut, explainEstimate, knowsEntropy, subjectOf, oddsText, mainRival } from "./sentences.js";

const column = (more = {}) => ({
  roles: ["large_base", "small_tuned", "small_base"], terms: [[1, "alpha", 1, 2]], given: 0, rules: { lowest: 0, highest: 3, support_nats: 30, greedy_below: 1e-4 },
  sampling: { temperature: 0, top_p: 1, top_k: 0, min_p: 0, seed: 1 }, filter: { kind: "off", value: 1 }, ...more,
});
const token = { i: 2, n: 0, s: "x", v: { alpha: 1 }, y: [-2.5, 3, -0.5, -0.1], c: [[2, -0.1, -2.5, -1, -4], [1, -1.1, -0.5, -3, -3]], r: 1, b: 1 };

test("log-odds are written as a ratio", () => {
  assert.equal(oddsText(0), "0.0 nats (1.0×)");
  assert.equal(oddsText(-0.04), "less than 0.1 nats (1.0×)");
  assert.equal(oddsText(-6.2), "6.2 nats (490×)");
  assert.match(oddsText(20), /over 1,000,000×/);
});

test("token texts stand apart from ours and are never parsed", () => {
  const labels = new Map([[1, "{c} <b>"], [2, "{r}"]]);
  const pieces = explain(column(), token, labels);
  assert.ok(pieces.filter((_, i) => i % 2).includes("{c} <b>"));
  assert.ok(pieces.filter((_, i) => i % 2 === 0).every((piece) => !piece.includes("<b>") && !piece.includes("{")));
  assert.match(pieces.join(""), /^Tuning decides here/);
});

test("a token seen at values it was not written with is not laid to chance", () => {
  const seen = remix(column(), { ...token, q: [2, 1, 2], ms: 0 }, { alpha: 0.5 }, [1]);
  const said = explain(column(), seen, new Map([[1, "Peru"], [2, "Chad"]])).join("");
  assert.match(said, /^With the sliders as they are now, the mix prefers Peru to Chad by 0\.5 nats \(1\.6×\); Chad was written with other values\. At these slider values the same noise chooses Peru\.$/);
});

test("a tie next to the slider's end is not below it", () => {
  const tied = { ...token, c: [[2, -0.1, -2.5, -1, -4], [1, -3.1, -2.49, -3, -3]] }, labels = new Map([[1, "Let"], [2, "Good"]]);
  assert.match(explain(column(), tied, labels).join(""), / would prefer Let to Good at α\u00a0=\u00a00\.00\.$/);
  const rules = { ...column().rules, lowest: -1 };
  assert.match(explain(column({ rules }), tied, labels).join(""), / would prefer Let to Good below α\u00a0=\u00a00\.00\.$/);
});

test("the rival is the base's first choice", () => {
  assert.equal(mainRival(column(), token)[0], 1);
  assert.equal(mainRival(column(), { ...token, c: [token.c[0]] }), null);
});

// The base likes 2 best, the mix likes 1 best, the tuned model likes 3 best.
const passedOver = { ...token, b: 2, c: [[1, -0.5, -2.5, -1, -3], [2, -1.9, -1.9, -1.5, -1.5], [3, -4, -5, -0.5, -1.5]] };

test("the base's own first choice is laid to chance where the mix prefers another token", () => {
  const said = explain(column({ sampling: { temperature: 1, top_p: 1, top_k: 0, min_p: 0, seed: 1 } }), passedOver, new Map([[1, "one"], [2, "two"], [3, "three"]])).join("");
  assert.match(said, /^Chance decided here: the mix prefers one to two by 1\.4 nats .*, but the shared noise chose two\./);
});

test("a sentence about what the mix prefers names the likeliest token of the mix", () => {
  const labels = new Map([[1, "one"], [2, "two"], [3, "three"]]);
  // The base likes 3 best, the mix 1, and chance passed over both: 2 was written.
  const both = { ...token, b: 3, c: [[1, -0.2, -2.5, -1, -3], [3, -2.1, -1, -4, -2.5], [2, -3.5, -3, -1.5, -1]] };
  assert.equal(mainRival(column(), both)[0], 1);
  assert.match(explain(column(), both, labels).join(""), /^Chance decided here: the mix prefers one to two/);
  // At these sliders the mix has left 2 for 1, though 2 still leads over the base's first choice.
  const left = { ...both, c: [both.c[0], [2, -1.5, -3, -1, -1.5], both.c[1]] };
  assert.equal(mainRival(column(), left)[0], 3);
  assert.match(explain(column(), { ...left, would: 1, sure: true }, labels).join(""), /^With the sliders as they are now, the mix prefers one to two/);
});

test("a value of alpha, or its absence, is stated of two tokens: a third may come first", () => {
  const labels = new Map([[1, "one"], [2, "two"]]);
  assert.match(explain(column(), token, labels).join(""), / The column would prefer one to two below α\u00a0=\u00a00\.\d\d\.$/);
  const agree = { ...token, b: 2, c: [[2, -0.1, -0.5, -1, -4], [1, -3, -2.5, -3, -3]] };
  assert.match(explain(column(), agree, labels).join(""), / No α would put one ahead of two\.$/);
  const blend = column({ roles: ["large_base", "small_tuned", "small_base", "small_tuned"], terms: [[1, "alpha", 1, 2], [1, "beta", 3, 2]] });
  const twice = { ...agree, v: { alpha: 1, beta: 1 }, c: agree.c.map((row) => [...row, row[3]]) };
  assert.match(explain(blend, twice, labels).join(""), / No single slider would put one ahead of two\.$/);
});

test("with several sliders the card also names a third token that would take the lead, and from which value", () => {
  const blend = column({ roles: ["large_base", "small_tuned", "small_base", "other_tuned"], terms: [[1, "alpha", 1, 2], [1, "beta", 3, 2]] });
  const labels = new Map([[1, "one"], [2, "two"], [3, "three"], [4, "four"]]);
  const rows = { two: [2, -0.01, -0.5, -1, -4, -1], one: [1, -8, -2.5, -3, -3, -3], three: [3, -4.5, -6, -5, -6, 0], four: [4, -4.5, -6, 0, -6, -5] };
  const said = (...names) => explain(blend, { ...token, b: 2, v: { alpha: 1, beta: 1 }, c: names.map((name) => rows[name]) }, labels, 1).join("").replaceAll("\u00a0", " ");
  assert.match(said("two", "one"), / No single slider would put one ahead of two\.$/);
  assert.match(said("two", "three", "one"), / No single slider would put one ahead of two, but the column would prefer three from β = 2\.50\.$/);
  assert.match(said("two", "three", "four", "one"), / but the column would prefer four from α = 2\.50, or three from β = 2\.50\.$/);
  rows.one = [1, -1.3, -2.5, 0, -3, 0.75]; // the rival itself is ahead from a β beyond the one of `three`
  assert.match(said("two", "three", "one"), / The column would prefer one to two only from β = 2\.67, but three already from β = 2\.50\.$/);
});

test("under a schedule, alpha is stated as the slider's position", () => {
  const labels = new Map([[1, "one"], [2, "two"]]), said = (factors) => explain(column(), { ...token, n: 1 }, labels, null, factors).join("");
  assert.match(said([1]), /below α\u00a0=\u00a00\.67\.$/);
  assert.match(said([0.25, 0.5]), /below α\u00a0=\u00a01\.33\.$/);
  assert.match(said([1, 0]), / No α would put one ahead of two\.$/);
});

test("a token that a person gave is laid to no model where the mix prefers another one", () => {
  const labels = new Map([[1, "one"], [2, "two"], [3, "three"]]);
  for (const b of [2, 3]) assert.match(explain(column({ given: 1 }), { ...passedOver, b }, labels).join(""), /^This token was given, not sampled: the mix prefers one to it by/);
});

test("the subject of a sentence names tuning, size or both", () => {
  assert.equal(subjectOf(column()).name, "tuning");
  assert.equal(subjectOf(column({ roles: ["small_tuned", "large_base", "small_base"] })).name, "size");
});
test("at other slider values it says what the same noise chooses, not that it chose the written token", () => {
  const labels = new Map([[1, "one"], [2, "two"], [9, "nine"]]);
  const moved = { ...token, v: { alpha: 0 }, would: 9, sure: true };
  const said = explain(column(), moved, labels).join("");
  assert.match(said, /^With the sliders as they are now, the mix prefers one to two by .*; two was written with other values\. At these slider values the same noise chooses nine\.$/);
  assert.match(explain(column(), { ...moved, sure: false }, labels).join(""), /probably chooses nine/);
  assert.match(explain(column(), { ...moved, would: 2 }, labels).join(""), /^Chance decided here/);
});

test("the card explains what a server did not send, and whether the token is certain", () => {
  const said = (...u) => explainCut({ ...token, u }).join("");
  assert.deepEqual(explainCut(token), []);
  assert.equal(said(1, 20, 3, 0.012, 0.0213), "The server of the large model sent the 20 likeliest tokens and 3 that it was asked for; the others have 1 % of its probability. "
    + "This token is certain: none of the others can take its place. Log-probs of the mix may be off by up to 0.021 nats; rank and entropy are estimates.");
  assert.match(said(0, 1, 0, 0.6, null), /sent the likeliest token; .* 60 %.* This token is not certain: .* off by an unknown amount;/);
  assert.match(said(1, 5000, 0, 0, 1e-5), /the 5,000 likeliest tokens; .* off by less than 0.001 nats/);
});

test("the token that takes the lead first is named, where the rival would only take it later", () => {
  const labels = new Map([[1, "one"], [2, "two"], [3, "three"]]);
  // At alpha 0, 2 leads with 1 by 2 and with 3 by 4 nats; each alpha gives 1 one half and 3 two nats more than 2.
  const led = { ...token, b: 2, c: [[2, -0.2, -0.5, -3, -3], [1, -1.7, -2.5, -2.5, -3], [3, -2.2, -4.5, -1, -3]] };
  const said = (/** @type {any} */ seen, /** @type {number} */ rival) => explain(column(), seen, labels, rival).join("").replace(/\u00a0/g, " ");
  assert.match(said(led, 1), /The column would prefer one to two only from α = 4\.00, beyond the slider's range, but three already from α = 2\.00\.$/);
  assert.match(said(led, 3), /The column would prefer three to two only from α = 2\.00\.$/); // one comes later
  const never = { ...led, c: [led.c[0], [1, -2.2, -2.5, -3, -3], led.c[2]] };
  assert.match(said(never, 1), /No α would put one ahead of two, but the column would prefer three from α = 2\.00\.$/);
  const passed = { ...led, c: [led.c[0], led.c[1], [3, -0.1, -4.5, -1, -3]] }; // the mix already likes 3 better
  assert.match(said(passed, 1), /The column would prefer one to two only from α = 4\.00, beyond the slider's range\.$/);
});

test("the card says that the mix is estimated at other slider values, and how far it may be off", () => {
  const at = (/** @type {any} */ hidden) => ({ ...token, hidden }), said = (/** @type {any} */ hidden) => explainEstimate(at(hidden)).join("");
  assert.equal(said(undefined), "");
  assert.equal(said({ share: 0.69, how: "bound" }), "The mix is estimated at these slider values: the run recorded only the likeliest tokens, and the others have up to 69 %. "
    + "A token may be up to 3.2 times as likely as shown; the leads are exact.");
  assert.match(said({ share: 0.02, how: "bound" }), / up to 2 %\. A token may be up to 1\.02 times as likely/);
  assert.match(said({ share: 0.001, how: "unknown" }), /and what the others have here is unknown\. The leads are exact\.$/);
  for (const hidden of [{ share: 0.004, how: "bound" }, { share: 0.7, how: "exact" }]) assert.equal(said(hidden), ""); // it does not show, or is known
  assert.ok(knowsEntropy(/** @type {any} */ (token)) && knowsEntropy(/** @type {any} */ (at({ share: 0.004, how: "bound" }))));
  for (const hidden of [{ share: 0.7, how: "exact" }, { share: 0.1, how: "bound" }, { share: 0, how: "unknown" }]) assert.ok(!knowsEntropy(/** @type {any} */ (at(hidden))));
});

test("where tuning decides against the base's choice but the noise passed over a likelier token, the card names it", () => {
  const labels = new Map([[1, "one"], [2, "two"], [3, "three"]]);
  // The base likes 1 best, the mix 3; 2 was written, which tuning put ahead of 1.
  const drawn = { ...token, c: [[3, -0.9, -2, -1, -3], [2, -1.4, -2.5, -1, -3], [1, -2.4, -0.5, -3, -3]] };
  const said = (/** @type {any} */ seen, given = 0) => explain(column({ given }), seen, labels).join("");
  assert.match(said(drawn), /^Tuning decides here: .* to the lead of two\. Chance chose it over three, which the mix prefers by 0\.5 nats \(1\.6×\)\. The column would/);
  assert.doesNotMatch(said(token), /Chance/); // the likeliest
  assert.doesNotMatch(said(drawn, 1), /Chance/); // a person gave it
  assert.doesNotMatch(said({ ...drawn, would: 3, sure: true }), /Chance/); // seen at other values
});
