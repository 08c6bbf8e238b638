import assert from "node:assert/strict";
import test from "node:test";
import { complete, isOutside, kindsText, surprise } from "./askable.js";

const TABLE = {
  facts: 5, kinds: ["country", "element"],
  forms: ["What is the capital of {e}?", "How do chemists write {e}?", "Which countries border {e}?"],
  entities: [["Peru", 0, [0, 2]], ["Netherlands", "the Netherlands", [0, 2]], ["gold", 0, [1]], ["Côte d'Ivoire", 0, [0]]],
  values: ["Lima", "Au", "Amsterdam"],
};

test("a name, a beginning or words in any order are completed", () => {
  assert.deepEqual(complete(TABLE, "peru"), ["What is the capital of Peru?", "Which countries border Peru?"]);
  assert.deepEqual(complete(TABLE, "What is the capital of the Neth"), ["What is the capital of the Netherlands?"]);
  assert.deepEqual(complete(TABLE, "gold chemists"), ["How do chemists write gold?"]);
  assert.deepEqual(complete(TABLE, "cote"), ["What is the capital of Côte d'Ivoire?"]);
  assert.deepEqual(complete(TABLE, "the capital of"), ["What is the capital of Peru?", "What is the capital of Côte d'Ivoire?", "What is the capital of the Netherlands?"]);
});

test("nothing typed, or nothing that is known, offers nothing", () => {
  for (const typed of ["", " ", "?", "x", "hamlet", "the capital of Hamlet"]) assert.deepEqual(complete(TABLE, typed), []);
});

test("every chance gives a question that can be asked", () => {
  for (let k = 0; k < 1; k += 0.05) assert.match(surprise(TABLE, k, 0.99), /^(What|How|Which) .*\?$/);
});

test("a question is outside if it names no entity and no value", () => {
  for (const inside of ["capital of PERU??", "Peru's capital", "whose capital is Lima", "cote d'ivoire"]) assert.equal(isOutside(TABLE, inside), false, inside);
  for (const outside of ["Who wrote Hamlet?", "2+2", "hello", "", "golden retriever", "Au"]) assert.equal(isOutside(TABLE, outside), true, outside);
});

test("a name in the plural is a name that the facts have", () => {
  const table = { ...TABLE, entities: [["lion", 0, [0]], ["finch", 0, [0]], ["butterfly", 0, [0]], ["wolf", 0, [0]]] };
  for (const inside of ["What do lions eat?", "Do finches sing?", "How long do butterflies live?", "Are wolves shy?"]) assert.equal(isOutside(table, inside), false, inside);
  for (const outside of ["What do lionesses eat?", "What is a wolverine?", "Who plays a lionheart?"]) assert.equal(isOutside(table, outside), true, outside);
});

test("a question for an entity by a number or a common noun is not called outside", () => {
  const table = { ...TABLE, forms: [...TABLE.forms, "What is the atomic number of {e}?", "What is the national symbol of {e}?"] };
  for (const inside of ["Which element is number 58?", "Which elements have the numbers 7 and 8?", "The atomic number is 79: what is it?", "Which country has the lion as its national symbol?"]) assert.equal(isOutside(table, inside), false, inside);
  for (const outside of ["What is 2+2?", "Which country is best?", "Which number do you like?", "What happened in 1492?"]) assert.equal(isOutside(table, outside), true, outside);
});

test("kinds of things are named in the plural", () => {
  const kinds = ["country", "us state", "greek letter", "species", "class", "box", "planet"];
  assert.equal(kindsText(kinds, 7), "countries, US states, Greek letters, species, classes, boxes, planets");
  assert.equal(kindsText(kinds, 2), "countries, US states and 5 other kinds of things");
});
