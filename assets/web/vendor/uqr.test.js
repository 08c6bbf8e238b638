import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "./uqr.js";

// Reads the modules of a code of version 1 with mask 0 back, in the order in which they are written, as ISO/IEC 18004 has it.
test("the encoder writes the text that it was given", () => {
  const { data, size } = encode("http://a.b/", { ecc: "M", border: 0, maskPattern: 0, minVersion: 1, maxVersion: 1 });
  assert.equal(size, 21);
  const inFinder = (x, y) => (x < 9 && y < 9) || (x > 12 && y < 9) || (x < 9 && y > 12) || x === 6 || y === 6;
  const bits = [];
  for (let right = 20, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let step = 0; step < 21; step += 1)
      for (const x of [right, right - 1]) {
        const y = up ? 20 - step : step;
        if (!inFinder(x, y)) bits.push(Number(data[y][x]) ^ Number((x + y) % 2 === 0));
      }
  }
  const read = (from, count) => parseInt(bits.slice(from, from + count).join(""), 2);
  assert.deepEqual([read(0, 4), read(4, 8)], [4, 11]); // bytes, and how many
  assert.equal(String.fromCharCode(...Array.from({ length: 11 }, (_, n) => read(12 + 8 * n, 8))), "http://a.b/");
});
