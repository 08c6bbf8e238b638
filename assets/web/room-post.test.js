import assert from "node:assert/strict";
import { test } from "node:test";

import { isFromServer } from "./room-post.js";

test("an answer of the server is known by what it has", () => {
  for (const act of ["join", "hear", "vote"]) assert.ok(isFromServer(act, 200, { news: 0 }));
  for (const act of ["show", "tally"]) assert.ok(isFromServer(act, 200, { counted: 0 }));
  assert.ok(isFromServer("open", 200, { code: "BCDFGH", secret: "x" }));
  assert.ok(isFromServer("end", 200, {}));
  assert.ok(isFromServer("vote", 409, { error: "poll_closed", detail: "This question is closed." }));
  assert.ok(isFromServer("join", 403, { detail: "This app does not accept the host name." }));
});

test("what something in between answers is none", () => {
  for (const act of ["open", "show", "tally", "end", "join", "hear", "vote"]) {
    for (const answer of [null, [], "ok", 1]) assert.ok(!isFromServer(act, 200, answer));
    for (const status of [401, 403, 429]) assert.ok(!isFromServer(act, status, { message: "Please log in." }));
  }
  for (const act of ["open", "show", "tally", "join", "hear", "vote"]) assert.ok(!isFromServer(act, 200, { status: "login" }));
});
