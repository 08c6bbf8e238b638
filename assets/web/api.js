// The server's functions, and what the page asks of the server besides runs, which go through link.js.

/** @import { Link, Run } from "./types.js" */

import { storedText } from "./lib/stored.js";
import { makeLink } from "./link.js";
import { emit, nonce, slidersOf } from "./store.js";

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
export let link = /** @type {any} */ (null);

// One link for the whole document: Gradio may mount the component again.
/** @type {(onLost: (since: number) => void) => void} */
export function openLink(onLost) {
  const made = Symbol.for("eft-link"), page = /** @type {any} */ (window);
  if (!page[made]) window.fetch = (page[made] = makeLink(window.fetch.bind(window))).fetch;
  link = page[made];
  link.lost = onLost;
  link.newest = () => nonce;
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

// The lines of a recorded run or an opened file, as the stream of a live run has them.
/** @type {(answer: { lines: string }) => [any, ...any[]]} */
export const linesOf = ({ lines }) => /** @type {any} */ (lines.split("\n").filter(Boolean).map((line) => JSON.parse(line)));

// The server's answer; without one, an error with the reason. Gradio hides the status of a refused request.
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
