import assert from "node:assert/strict";
import { test } from "node:test";

import { makeLink } from "./link.js";

const BASE = "http://server/gradio_api/";

// A server whose answers a test gives in the order it likes, and Gradio's client in front of it: the client opens a stream
// only when a post has been answered and it holds none.
function scene() {
  const requests = [], heard = [], lost = [];
  const link = makeLink((address, init) => new Promise((resolve, reject) => {
    const url = new URL(address.url ?? address), kind = url.pathname.split("/").at(-1);
    init?.signal?.addEventListener("abort", () => reject(new Error("aborted")));
    const one = { kind, session: kind === "join" ? JSON.parse(init.body).session_hash : url.searchParams.get("session_hash"), aborted: () => init.signal.aborted };
    one.answer = (body, status = 200) => (resolve(new Response(JSON.stringify(body), { status })), settle());
    one.fail = () => (reject(new TypeError("network")), settle());
    one.open = () => {
      resolve(new Response(new ReadableStream({ start: (out) => void (one.out = out) })));
      return settle();
    };
    one.say = (...messages) => (one.out.enqueue(new TextEncoder().encode(messages.map((m) => "data: " + JSON.stringify(m) + "\n\n").join(""))), settle());
    one.end = () => (one.out.close(), settle());
    one.breakOff = () => (one.out.error(new TypeError("network")), settle());
    requests.push(one);
  }));
  link.lost = (since) => lost.push(since);
  const client = { isOpen: false, control: new AbortController() };
  async function run(n) {
    link.newest = () => n;
    const answer = await link.fetch(BASE + "queue/join?", { method: "POST", body: JSON.stringify({ session_hash: "s", event_data: { n } }) });
    const { event_id: event } = await answer.json();
    if (answer.status !== 200) return heard.push(answer.status);
    if (client.isOpen) return;
    client.isOpen = true;
    const stream = await link.fetch(new Request(BASE + "queue/data?session_hash=s", { signal: client.control.signal }));
    const decoder = new TextDecoder();
    for await (const piece of stream.body)
      for (const text of decoder.decode(piece).split("\n\n").filter(Boolean)) {
        const message = JSON.parse(text.slice(6));
        if (message.msg === "close_stream") client.isOpen = false;
        heard.push(message.msg + " " + message.event_id);
      }
    return event;
  }
  const of = (kind) => requests.filter((one) => one.kind === kind);
  return { link, heard, lost, client, run, of };
}

async function settle() { // timers of one length end in the order of their start
  for (let n = 0; n < 5; n += 1) await new Promise((resolve) => setTimeout(resolve));
}
const news = (event_id) => ({ msg: "process_generating", event_id });
const done = (event_id) => ({ msg: "process_completed", event_id });
const close = { msg: "close_stream", event_id: null };

async function streaming() { // run "a" is pending and its stream is open
  const all = scene();
  all.run(1);
  await all.of("join")[0].answer({ event_id: "a" });
  await all.of("data")[0].open();
  return all;
}

test("a run answered before the old stream closes gets a stream of its own", async () => {
  const { of, run, heard, lost } = await streaming();
  run(2);
  await of("join")[1].answer({ event_id: "b" });
  await of("data")[0].say(news("a"), done("a"), close);
  await of("data")[0].end();
  assert.equal(of("data").length, 2);
  assert.equal(of("data")[1].session, "s"); // where the server has kept its messages
  await of("data")[1].open();
  await of("data")[1].say(news("b"), done("b"), close);
  await of("data")[1].end();
  assert.deepEqual(heard, ["process_generating a", "process_completed a", "process_generating b", "process_completed b"]);
  assert.deepEqual([of("data").length, lost.length], [2, 0]);
});

test("a run answered after the old stream closed gets one, too, and an idle page holds none", async () => {
  const { of, run, heard, lost, link } = await streaming();
  run(2);
  await of("data")[0].say(done("a"), close);
  await of("data")[0].end();
  assert.equal(of("data").length, 1);
  await of("join")[1].answer({ event_id: "b" });
  await of("data")[1].open();
  await of("data")[1].say(done("b"), close);
  await of("data")[1].end();
  assert.deepEqual(heard, ["process_completed a", "process_completed b"]);
  assert.deepEqual([of("data").length, lost.length, link.oldest()], [2, 0, null]);
});

test("answers in another order than their posts all get their messages", async () => {
  const { of, run, heard, lost } = await streaming();
  for (const n of [2, 3, 4]) run(n);
  for (const place of [3, 1, 2]) await of("join")[place].answer({ event_id: "e" + place });
  await of("data")[0].say(done("a"), done("e1"), done("e2"), close);
  await of("data")[0].end();
  await of("data")[1].open();
  await of("data")[1].say(done("e3"), close);
  await of("data")[1].end();
  assert.deepEqual(heard, ["a", "e1", "e2", "e3"].map((id) => "process_completed " + id));
  assert.deepEqual([of("data").length, lost.length], [2, 0]);
});

test("a run that ends before its post is answered is not waited for", async () => {
  const { of, run, lost, link } = await streaming();
  run(2);
  await of("data")[0].say(done("a"), done("b"), close);
  await of("data")[0].end();
  await of("join")[1].answer({ event_id: "b" });
  assert.deepEqual([of("data").length, lost.length, link.oldest()], [1, 0, null]);
});

test("a stream that breaks off ends its runs as lost, and the next run has another session", async () => {
  const { of, run, heard, lost } = await streaming();
  await of("data")[0].breakOff();
  assert.deepEqual(heard, ["process_completed a"]);
  assert.equal(lost.length, 1);
  run(2);
  await of("join")[1].answer({ event_id: "b" });
  assert.deepEqual([of("join")[1].session, of("data")[1].session], ["s-1", "s-1"]);
});

test("a stream that cannot be opened again ends the run as lost", async () => {
  for (const end of ["fail", "answer"]) {
    const { of, run, lost, heard } = await streaming();
    run(2);
    await of("join")[1].answer({ event_id: "b" });
    await of("data")[0].say(done("a"), close);
    await of("data")[0].end();
    await of("data")[1][end]({ detail: "no such session" }, 404);
    await settle();
    assert.deepEqual([lost.length, heard.at(-1)], [1, "process_completed b"]);
  }
});

test("a refused run is reported as lost, unless another has taken its place", async () => {
  const { of, run, lost, heard } = await streaming();
  run(2), run(3);
  await of("join")[1].fail();
  assert.deepEqual([lost.length, heard], [0, [422]]);
  await of("join")[2].answer({ detail: "full" }, 503);
  await settle();
  assert.equal(lost.length, 1);
});

test("a post without an answer can be given up, and a late answer changes nothing", async () => {
  const { of, run, lost, heard, link } = await streaming();
  run(2);
  await of("data")[0].say(done("a"), close);
  await of("data")[0].end();
  const since = link.oldest().news;
  link.giveUp(since);
  await settle();
  assert.ok(of("join")[1].aborted());
  assert.deepEqual([lost, heard, link.oldest()], [[since], ["process_completed a", 422], null]);
});

test("a run is posted in a new session, and goes on, when the old stream is silent", async (context) => {
  const { of, run, lost } = await streaming();
  const late = Date.now() + 7000;
  context.mock.method(Date, "now", () => late);
  run(2);
  assert.ok(of("data")[0].aborted());
  await of("join")[1].answer({ event_id: "b" });
  assert.deepEqual([of("join")[1].session, of("data")[1].session, lost.length], ["s-1", "s-1", 0]);
});

test("when the client leaves its stream, pending runs are reported as lost", async () => {
  const { of, lost, client } = await streaming();
  client.control.abort();
  await settle();
  assert.deepEqual([lost.length, of("data")[0].aborted()], [1, true]);
});

test("other requests pass unchanged", async () => {
  const { link, of } = scene();
  const answer = link.fetch(BASE + "app_id");
  await of("app_id")[0].answer({ app_id: 1 });
  assert.deepEqual(await (await answer).json(), { app_id: 1 });
});
