// The server's functions and the connection to it. When the connection is cut during a run, Gradio's client waits for the
// server and then reloads the page, which would lose everything. So a broken stream is passed to it as one that has ended,
// and the page stays. If a later Gradio changes its protocol, it reloads as before, and views/memory.js restores
// everything.

/** @import { Link, Run } from "./types.js" */

import { storedText } from "./lib/stored.js";
import { emit, slidersOf } from "./store.js";

/** @type {{ value: string }} */
export let props = /** @type {any} */ (null); // the component's; `value` is the stream, one growing NDJSON string per run
/** @type {Record<string, (posted: any) => Promise<any>>} */
export let server = /** @type {any} */ (null); // the server's functions, named as in ui/page.py
/** @type {(request: any) => void} */
export let trigger = /** @type {any} */ (null); // requests a run

/** @type {(given: { props: { value: string }, server: Record<string, (posted: any) => Promise<any>>, trigger: (request: any) => void }) => void} */
export function connect(given) {
  ({ props, server, trigger } = given);
}

export const PROBE_MS = 1000; // interval of checks for a lost server
/** @type {Link} */
export let link = /** @type {any} */ (null); // between Gradio's client and the network

// Wraps fetch for the two requests of a run. `lost` is called when the connection is cut.
/** @type {(send: typeof fetch) => Link} */
function makeLink(send) {
  /** @type {Link} */
  const made = { lost: () => {}, base: "", stream: null };
  const events = new Set(); // requested and not yet completed
  let cuts = 0;
  /** @type {(text: string) => Uint8Array} */
  const encode = (text) => new TextEncoder().encode(text);
  // Messages that the server still writes to a dead stream would be lost, so a cut starts a new session.
  /** @type {(session: any) => string} */
  const sessionOf = (session) => (cuts ? session + "-" + cuts : session);

  function cut(since = Date.now()) {
    cuts += 1;
    events.clear();
    setTimeout(() => made.lost(since));
  }

  /** @type {(address: any, init: any) => Promise<Response>} */
  async function join(address, init) {
    if (made.stream && Date.now() - made.stream.news > NEWS_LATE_MS) await made.stream.breakOff();
    try {
      const asked = JSON.parse(init.body);
      const answer = await send(address, { ...init, body: JSON.stringify({ ...asked, session_hash: sessionOf(asked.session_hash) }) });
      const { event_id: event } = await answer.clone().json(); // not JSON: a proxy answered instead of the server
      if (event) events.add(event);
      return answer;
    } catch {
      cut();
      return new Response('{"detail":[]}', { status: 422, headers: { "Content-Type": "application/json" } }); // makes Gradio end it silently
    }
  }

  /** @type {(address: any, init: any) => Promise<Response>} */
  async function open(address, init) {
    const url = new URL(address.url ?? address);
    url.searchParams.set("session_hash", sessionOf(url.searchParams.get("session_hash")));
    const request = new Request(url, new Request(address, init)), { signal } = request;
    const heard = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true })); // Gradio has closed it
    const decoder = new TextDecoder();
    /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
    let reader;
    let rest = "", ended = false;
    const own = made.stream = { news: Date.now(), breakOff: () => (reader?.cancel(), Promise.race([heard, pause(PROBE_MS)])) };
    try {
      const answer = await send(request);
      if (answer.ok) reader = answer.body?.getReader();
    } catch { /* as one that breaks off at once */ }
    /** @type {(text: string, out: ReadableStreamDefaultController) => boolean} */
    const pass = (text, out) => {
      const whole = text.lastIndexOf("\n\n") + 2; // a partial message would be an error
      rest = whole < 2 ? text : text.slice(whole);
      if (whole < 2) return false;
      const messages = text.slice(0, whole);
      if (messages.includes('"close_stream"')) ended = true;
      if (messages.includes('"process_completed"'))
        for (const id of [...events]) if (messages.includes(id)) events.delete(id);
      out.enqueue(encode(messages));
      return true;
    };
    /** @type {(out: ReadableStreamDefaultController) => void} */
    const finish = (out) => {
      if (made.stream === own) made.stream = null;
      const broken = !ended && !signal.aborted;
      if (broken) {
        const output = { data: [{ __type__: "update" }], is_generating: false };
        const words = [...[...events].map((event_id) => ({ msg: "process_completed", event_id, output, success: true })), { msg: "close_stream", event_id: null }];
        out.enqueue(encode(words.map((word) => "data: " + JSON.stringify(word) + "\n\n").join("")));
        cut(own.news); // a stream may have been silent long before it was closed
      }
      out.close();
    };
    const body = new ReadableStream({
      async pull(out) {
        for (;;) {
          let piece = null;
          try {
            piece = await reader?.read();
          } catch { /* it broke off */ }
          if (!piece || piece.done) return finish(out);
          own.news = Date.now();
          if (pass(rest + decoder.decode(piece.value, { stream: true }), out)) return;
        }
      },
      cancel: (why) => reader?.cancel(why),
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  window.fetch = (address, init) => {
    const [, base, kind] = /^(.*\/)queue\/(join|data)(?:\?|$)/.exec(String(/** @type {any} */ (address)?.url ?? address)) || [];
    if (!kind) return send(address, init);
    made.base = base;
    return kind === "join" ? join(address, init) : open(address, init);
  };
  return made;
}

// One link for the whole document: Gradio may mount the component again.
/** @type {(onLost: (since: number) => void) => void} */
export function openLink(onLost) {
  link = /** @type {any} */ (window)[Symbol.for("eft-link")] ||= makeLink(window.fetch.bind(window));
  link.lost = onLost;
}

export const apiBase = () => link.base || new URL("gradio_api/", document.baseURI);
/** @type {(ms: number) => Promise<void>} */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Which start of the server answers, as Gradio names it; "" if none does. `stranger`: something else answers in its
// place, such as the login page of a proxy.
/** @type {() => Promise<{ server: string, stranger: boolean }>} */
export async function serverNow() {
  try {
    const answer = await fetch(new URL("app_id", apiBase()), { cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(5000) });
    const isOurs = answer.ok && /json/.test(answer.headers.get("content-type") || "");
    if (isOurs) return { server: String((await answer.json()).app_id), stranger: false };
    return { server: "", stranger: answer.ok || answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403 };
  } catch {
    return { server: "", stranger: false };
  }
}

const LOST = "The server could not be reached. Please try again.";
const REFUSED = "The server, or a proxy in front of it, refused this request. Most often it is larger than the proxy allows.";
export const NOT_OUR_SERVER = "Something else answers in place of the server, such as a login page. Reload the page to sign in again.";

// What the server answers; where nothing comes, an error that says why. Gradio hides the status of a refusal.
/** @type {(promise: Promise<string>) => Promise<any>} */
export async function answerOf(promise) {
  try {
    return JSON.parse(await promise);
  } catch {
    const now = await serverNow();
    return { error: now.server ? REFUSED : now.stranger ? NOT_OUR_SERVER : LOST };
  }
}

// Posts a run back to a server that no longer has it, after a restart or when it was evicted, before the run is used.
// Returns an error message if that fails. An unreachable server is reported by the caller's own request.
/** @type {(one: Run) => Promise<string>} */
export async function restoreRun(one) {
  const { stored = true } = await answerOf(server.is_stored({ run: one.id }));
  if (stored) return "";
  if (!one.formats) return "The server no longer has this run. Please open its file again.";
  const { prompt, system, turns, sampling, filter, record, formats } = one;
  const columns = one.columns.map((column) => ({ name: column.name, roles: column.roles, terms: column.terms, seed: column.sampling.seed, given: column.given, ...JSON.parse(storedText(one, column)) }));
  const answer = await answerOf(server.restore_run({ prompt, system, turns, sampling, filter, record, formats, columns, controls: slidersOf(one.columns) }));
  if (answer.run) one.id = answer.run, emit("changed");
  return answer.error || "";
}

export const NEWS_LATE_MS = 6000; // the server sends at least one line a second
