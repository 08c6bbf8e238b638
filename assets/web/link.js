// The link between Gradio's client and the server. For all runs of a page, the client opens one stream when a run has been
// posted and none is open; the server ends it when it knows of no run. A run posted at that moment was lost: its answer
// arrived while the client still held the old stream open, so the client opened no other. And when the connection is cut,
// the client waits for the server and then reloads the page, which would lose everything. So the client gets one stream
// that never ends, and this module reads the server's: it opens one whenever a run is pending and none is open, and when one
// breaks off, it ends the runs for the client and reports them as lost. If a later Gradio changes its protocol, the client
// reloads as before, and views/memory.js restores everything. Knows requests and their order; knows nothing of the page.

/** @import { Link, Wait } from "./types.js" */

export const NEWS_LATE_MS = 6000; // the server sends at least one line a second

/** @type {(text: string) => Uint8Array} */
const encode = (text) => new TextEncoder().encode(text);
/** @type {(message: any) => string} */
const frame = (message) => "data: " + JSON.stringify(message) + "\n\n";
// An answer to a post that makes the client end the run without a message.
const silentRefusal = () => new Response('{"detail":[]}', { status: 422, headers: { "Content-Type": "application/json" } });

// Wraps `send`, a fetch. `fetch` of the result takes its place.
/** @type {(send: typeof fetch) => Link} */
export function makeLink(send) {
  /** @type {Set<string>} */
  const events = new Set(); // posted and answered, not yet completed
  /** @type {Set<string>} */
  const early = new Set(); // completed before the answer to their post has arrived
  /** @type {Set<Wait>} */
  const posts = new Set(); // not yet answered
  /** @type {Wait | null} */
  let stream = null; // the server's, while one is open
  /** @type {{ request: Request, out: ReadableStreamDefaultController } | null} */
  let client = null; // Gradio's end
  let cuts = 0;

  /** @type {Link} */
  const link = {
    lost: () => {},
    newest: () => 0,
    base: "",
    oldest: () => [...posts, ...(stream ? [stream] : [])].reduce((/** @type {Wait | null} */ old, wait) => (old && old.news <= wait.news ? old : wait), null),
    giveUp: cut,
    fetch: (address, init) => {
      const [, base, kind] = /^(.*\/)queue\/(join|data)(?:\?|$)/.exec(String(/** @type {any} */ (address)?.url ?? address)) || [];
      if (!kind) return send(address, init);
      link.base = base;
      return kind === "join" ? post(address, init) : open(address, init);
    },
  };
  return link;

  // Messages that the server still writes to a dead stream would be lost, so another session takes its place.
  /** @type {(session: any) => string} */
  function sessionOf(session) {
    return cuts ? session + "-" + cuts : session;
  }

  function startAnew() {
    const dead = [...posts, ...(stream ? [stream] : [])];
    cuts += 1;
    for (const event_id of events)
      client?.out.enqueue(encode(frame({ msg: "process_completed", event_id, output: { data: [{ __type__: "update" }], is_generating: false }, success: true })));
    events.clear();
    early.clear();
    posts.clear();
    stream = null;
    for (const { request } of dead) request.abort();
  }

  function cut(since = Date.now()) {
    startAnew();
    setTimeout(() => link.lost(since));
  }

  // Posts a run. One that is refused ends with the notice, unless another has taken its place.
  /** @type {(address: any, init: any) => Promise<Response>} */
  async function post(address, init) {
    if (stream && Date.now() - stream.news > NEWS_LATE_MS) startAnew(); // the new run must not wait on a dead stream
    const asked = JSON.parse(init.body), body = JSON.stringify({ ...asked, session_hash: sessionOf(asked.session_hash) });
    /** @type {Wait} */
    const own = { news: Date.now(), request: new AbortController() };
    posts.add(own);
    let answer = silentRefusal(), event = "";
    try {
      const answered = await send(address, { ...init, body, signal: own.request.signal });
      event = (await answered.clone().json()).event_id; // not JSON: a proxy answered instead of the server
      answer = answered;
    } catch { /* as one that is refused */ }
    if (!posts.delete(own)) return silentRefusal(); // cut meanwhile, and reported
    if (event && !early.delete(event)) events.add(event);
    if (!posts.size) early.clear();
    if (!event && asked.event_data?.n === link.newest()) cut();
    read();
    return answer;
  }

  // Gradio's stream.
  /** @type {(address: any, init: any) => Promise<Response>} */
  async function open(address, init) {
    const request = new Request(address, init);
    /** @type {typeof client} */
    let own = null;
    function leave() {
      if (client !== own) return false;
      client = null;
      if (events.size) cut(); // nobody reads them
      return true;
    }
    const body = new ReadableStream({ start: (out) => void (own = client = { request, out }), cancel: () => void leave() });
    request.signal.addEventListener("abort", () => leave() && own?.out.close(), { once: true });
    read();
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  // Reads a stream of the server if a run is pending and none is open.
  async function read() {
    if (stream || !client || !events.size) return;
    const url = new URL(client.request.url), own = stream = { news: Date.now(), request: new AbortController() };
    url.searchParams.set("session_hash", sessionOf(url.searchParams.get("session_hash")));
    let ended = false;
    try {
      const answer = await send(new Request(url, client.request), { signal: own.request.signal });
      const reader = answer.ok ? answer.body?.getReader() : null;
      const decoder = new TextDecoder();
      for (let rest = "", piece; (piece = await reader?.read()) && !piece.done; ) {
        if (stream !== own) return;
        own.news = Date.now();
        const text = rest + decoder.decode(piece.value, { stream: true }), whole = text.lastIndexOf("\n\n") + 2;
        rest = whole < 2 ? text : text.slice(whole); // a partial message would be an error
        if (whole >= 2 && pass(text.slice(0, whole))) ended = true;
      }
    } catch { /* it broke off */ }
    if (stream !== own) return; // cut, and reported
    stream = null;
    if (ended) read();
    else cut(own.news); // it may have been silent long before it was closed
  }

  // Passes whole messages to the client, except the one that the stream ends: whether that one came.
  /** @type {(messages: string) => boolean} */
  function pass(messages) {
    const ending = messages.includes('"close_stream"');
    if (ending || messages.includes('"process_completed"'))
      for (const message of messages.split("\n\n").filter((one) => one.includes('"process_completed"') || one.includes('"close_stream"'))) {
        const { msg, event_id } = JSON.parse(message.slice(message.indexOf("{")));
        if (msg === "process_completed" && !events.delete(event_id) && posts.size) early.add(event_id);
      }
    const kept = ending ? messages.split("\n\n").filter((one) => one && !one.includes('"close_stream"')).map((one) => one + "\n\n").join("") : messages;
    if (kept) client?.out.enqueue(encode(kept));
    return ending;
  }
}
