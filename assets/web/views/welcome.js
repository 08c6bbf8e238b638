// A new page shows a finished, recorded run, so that it is never empty. It costs no model, and nothing of it is stored.

import { answerOf, linesOf, server } from "../api.js";
import { part } from "../dom.js";
import { config, conversation, nonce, run } from "../store.js";
import { setSliders } from "./as-if.js";
import { settle } from "./memory.js";
import { allSettings, fitPrompt } from "./settings.js";
import { take } from "./stream.js";

// Nobody has asked for anything yet.
const isUntouched = () => !run && ["", config.welcome.prompt].includes(part("prompt").value);

export async function welcome() {
  if (!config.welcome || !isUntouched() || conversation.turns.length) return;
  const asked = nonce, answer = await answerOf(server.open_recorded({ name: config.welcome.name }));
  if (answer.error || asked !== nonce || !isUntouched()) return; // something else came first
  const [first, ...lines] = linesOf(answer);
  part("prompt").value = first.prompt;
  fitPrompt();
  take([{ ...first, n: nonce, recorded: true, welcome: true, asked: allSettings() }]);
  take(lines);
  setSliders();
  settle();
}

// Typing replaces the question that the page began with.
export function listen() {
  part("prompt").addEventListener("focus", () => run?.welcome && part("prompt").value === run.prompt && part("prompt").select());
}
