// Duplicated tabs: a copy also gets the stored texts, so it may find a run that continues in the original tab. Tabs of this
// page ask each other who has a run; nothing leaves the browser.

import { element } from "../dom.js";
import { nonce, running } from "../store.js";

const ANSWER_MS = 300; // an open tab answers within a few
let channel = null; // to the other tabs
let waiting = null; // {asked, answer}: the question that no tab has answered yet

// Whether the run of that number continues in another tab: calls `say`, and once more if an answer comes late.
export function askOtherTabs(number, say) {
  if (!channel) return say(false);
  const asked = String(number), late = setTimeout(() => say(false), ANSWER_MS);
  waiting = { asked, answer: () => (clearTimeout(late), say(true)) };
  channel.postMessage({ asks: asked });
}

function onMessage({ data }) {
  if (!element.isConnected) return void channel.close();
  if (data.asks && running && data.asks === String(nonce)) channel.postMessage({ has: data.asks });
  if (waiting && data.has === waiting.asked) waiting.answer(), (waiting = null);
}

export function listen() {
  try {
    channel = new BroadcastChannel("eft");
  } catch {
    return; // an old browser, or a restricted frame
  }
  channel.addEventListener("message", onMessage);
}
