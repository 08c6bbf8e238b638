import assert from "node:assert/strict";
import { test } from "node:test";
import { isReplaceable, withoutSettings, withTexts, withView } from "./address.js";

const QUERY = "v=1&prompt=-&family=atlas&column=Base%3Alarge_base&alpha=1&seed=0";

test("the texts come in place of the server's prompt, and turns raise the version", () => {
  assert.equal(withTexts(QUERY, { prompt: "Who & what? 🙂 a+b" }), QUERY.replace("=-", "=Who+%26+what%3F+%F0%9F%99%82+a%2Bb"));
  const turns = [{ question: "Hi", answers: ["a", "b"] }];
  assert.equal(withTexts(QUERY, { prompt: "", system: "Be brief.", turns }),
    QUERY.replace("v=1&prompt=-", "v=3&prompt=&system=Be+brief.&turn=%5B%22Hi%22%2C%22a%22%2C%22b%22%5D"));
  assert.ok(withTexts(QUERY, { prompt: "a\ud800b" }).includes("prompt=a%ED%A0%80b"), "half a character");
});

test("texts that no link can hold make none", () => {
  assert.ok(withTexts(QUERY, { prompt: "🙂".repeat(4000) }));
  assert.equal(withTexts(QUERY, { prompt: "x".repeat(4001) }), null);
  assert.equal(withTexts(QUERY, { prompt: "", system: "é".repeat(20_000) }), null);
});

test("what is shown stands before the columns and the numbers", () => {
  assert.equal(withView(QUERY, { colour: "", shared: 0, selected: null }), QUERY);
  assert.equal(withView(QUERY, { colour: "rank", shared: 3, selected: [2, 14] }), QUERY.replace("&column", "&colour=rank&same=3&selected=2.14&column"));
  const branches = [{ column: 3, place: 5, token: null, seed: 7, all: true, controls: { alpha: 1.5 } }];
  assert.equal(withView(QUERY, { branches }), QUERY.replace("&column", "&branch=%5B3%2C5%2Cnull%2C7%2C1%2C%7B%22alpha%22%3A1.5%7D%5D&column"));
});

test("a link replaces nothing or another link, not a lesson, a room or a key", () => {
  for (const hash of ["", "#", "#v=1&prompt=Hi", "#prompt=x&v=3"]) assert.ok(isReplaceable(hash), hash);
  for (const hash of ["#lesson=ten-steps&step=2", "#room=ABCD", "#key=secret"]) assert.ok(!isReplaceable(hash), hash);
});

test("old links lose their settings before the #, and others keep what they have", () => {
  assert.equal(withoutSettings("?__theme=dark&x=1"), "?__theme=dark&x=1");
  assert.equal(withoutSettings("?v=1&prompt=Hi&__theme=dark"), "?__theme=dark");
  assert.equal(withoutSettings("?v=1&prompt=Hi"), "");
});
