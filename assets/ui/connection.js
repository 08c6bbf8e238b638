// The connection: when it is cut in mid-run, Gradio's client waits for the server and then loads the page again, with
// everything in it gone. So a stream that breaks off is handed to it as one that has ended; this page stays, marks what
// was cut, says so, and waits until the server answers again. Should Gradio speak to its server in other words one day,
// it reloads as it used to, and memory.js brings all back.

const PROBE_MS = 1000; // how often a lost server is looked for
const DEAD_MS = 20_000; // a stream silent for so long, while the server answers others, is dead
const link = (window[Symbol.for("eft-link")] ||= makeLink(window.fetch.bind(window)));
let lostAt = 0; // since when the server has been looked for; 0: it is there
let cutRun = ""; // what the cut did: "streaming" or "asked", or nothing
let leaving = false; // the page is being closed, which cuts streams too

// Stands between Gradio's client and the network for the two requests that a run is made of. `lost` is called at a cut.
function makeLink(send) {
  const made = { lost: () => {}, base: "", stream: null };
  const events = new Set(); // asked for and not yet completed
  let cuts = 0;
  const encode = (text) => new TextEncoder().encode(text);
  // What the server still writes into a dead stream must be missed by nobody, so after a cut the session is another.
  const sessionOf = (session) => (cuts ? session + "-" + cuts : session);

  function cut() {
    cuts += 1;
    events.clear();
    setTimeout(() => made.lost());
  }

  async function join(address, init) {
    if (made.stream && Date.now() - made.stream.news > NEWS_LATE_MS) await made.stream.breakOff();
    try {
      const asked = JSON.parse(init.body);
      const answer = await send(address, { ...init, body: JSON.stringify({ ...asked, session_hash: sessionOf(asked.session_hash) }) });
      const { event_id: event } = await answer.clone().json(); // no JSON: a proxy answers in place of the server
      if (event) events.add(event);
      return answer;
    } catch {
      cut();
      return new Response('{"detail":[]}', { status: 422, headers: { "Content-Type": "application/json" } }); // Gradio: an end without a word
    }
  }

  async function open(address, init) {
    const url = new URL(address.url ?? address);
    url.searchParams.set("session_hash", sessionOf(url.searchParams.get("session_hash")));
    const request = new Request(url, new Request(address, init)), { signal } = request;
    const heard = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true })); // Gradio has let go of it
    const decoder = new TextDecoder();
    let reader = null, rest = "", ended = false;
    const own = made.stream = { news: Date.now(), breakOff: () => (reader?.cancel(), Promise.race([heard, pause(PROBE_MS)])) };
    try {
      const answer = await send(request);
      if (answer.ok) reader = answer.body.getReader();
    } catch { /* as one that breaks off at once */ }
    const pass = (text, out) => {
      const whole = text.lastIndexOf("\n\n") + 2; // half a message would be an error
      rest = whole < 2 ? text : text.slice(whole);
      if (whole < 2) return false;
      const messages = text.slice(0, whole);
      if (messages.includes('"close_stream"')) ended = true;
      if (messages.includes('"process_completed"'))
        for (const id of [...events]) if (messages.includes(id)) events.delete(id);
      out.enqueue(encode(messages));
      return true;
    };
    const finish = (out) => {
      if (made.stream === own) made.stream = null;
      const broken = !ended && !signal.aborted;
      if (broken) {
        const output = { data: [{ __type__: "update" }], is_generating: false };
        const words = [...[...events].map((event_id) => ({ msg: "process_completed", event_id, output, success: true })), { msg: "close_stream", event_id: null }];
        out.enqueue(encode(words.map((word) => "data: " + JSON.stringify(word) + "\n\n").join("")));
        cut();
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
    const [, base, kind] = /^(.*\/)queue\/(join|data)(?:\?|$)/.exec(String(address?.url ?? address)) || [];
    if (!kind) return send(address, init);
    made.base = base;
    return kind === "join" ? join(address, init) : open(address, init);
  };
  return made;
}

const apiBase = () => link.base || new URL("gradio_api/", document.baseURI);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Which start of the server answers, as Gradio names it; "" if none does.
async function serverNow() {
  try {
    const answer = await fetch(new URL("app_id", apiBase()), { cache: "no-store", signal: AbortSignal.timeout(5000) });
    return answer.ok ? String((await answer.json()).app_id) : "";
  } catch {
    return "";
  }
}

let serverThen = String(window.gradio_config?.app_id);

async function onLost() {
  if (!element.isConnected || leaving) return;
  const cutNow = cutOff();
  cutRun ||= cutNow;
  if (lostAt) return;
  lostAt = Date.now();
  notice("The connection to the server is lost. " + CUT_WORDS[cutRun] + " This page is waiting for the server.");
  let server = "";
  while (!(server = await serverNow())) {
    await pause(PROBE_MS);
    if (!element.isConnected) return;
  }
  const seconds = Math.max(1, Math.round((Date.now() - lostAt) / 1000)), restarted = server !== serverThen;
  const sentence = "The connection to the server was lost for " + seconds + " s" + (restarted ? ", and the server was restarted" : "") + ". " + CUT_WORDS[cutRun] +
    (cutRun ? " " + PRESS_RUN : "");
  lostAt = 0;
  cutRun = "";
  serverThen = server;
  if (restarted && !(await samePage())) return beginAnew(sentence);
  notice(sentence);
}

const PRESS_RUN = "Press Run to start it again.";
const CUT_WORDS = { "": "Your texts are still here.", streaming: "Your texts are still here, but the run stopped there.", asked: "Your texts are still here, but the new run did not start." };

// What still streams keeps its text as far as it came.
function cutOff() {
  if (!running) return "";
  const streaming = run !== null && run.n === nonce;
  forgetSamples();
  nonce += 1;
  seen = 0;
  setRunning(false);
  hideError("server");
  if (streaming) endHere(run);
  return streaming ? "streaming" : "asked";
}

function endHere(cut) {
  for (const panel of cut.panels.filter(({ ended }) => !ended)) endColumn(panel, (panel.ended = { why: "cut", error: null }));
  drawNow();
  compareSoon();
  selected ? drawCard() : selectTelling();
  drawTree();
  drawModes();
  saveSoon();
}

// Whether the server serves the very page that this is: then it can go on as it is.
async function samePage() {
  const mine = ({ components }) => components.find(({ props }) => props.elem_id === "eft");
  const places = (page) => JSON.stringify([mine(page).id, page.dependencies.map(({ id, targets }) => [id, targets])]);
  try {
    const now = await (await fetch(new URL("../config", apiBase()), { cache: "no-store" })).json();
    return places(now) === places(window.gradio_config) && JSON.stringify(JSON.parse(mine(now).props.value)) === JSON.stringify(config);
  } catch {
    return false;
  }
}

function notice(text) {
  part("notice-text").textContent = text;
  part("notice").hidden = !text;
  if (text) say(text);
}

link.lost = onLost;
part("notice-close").addEventListener("click", () => notice(""));
window.addEventListener("beforeunload", () => {
  leaving = true;
  setTimeout(() => (leaving = false), 3000); // it stayed after all
});
setInterval(async () => { // dead without a word, such as behind a router that forgot it
  const { stream } = link;
  if (element.isConnected && stream && Date.now() - stream.news > DEAD_MS && (await serverNow()) && stream === link.stream) stream.breakOff();
}, 5000);
