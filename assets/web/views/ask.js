// The prompt, Run and Stop.

import { element, isTouch, onKeys, part, pressOnce } from "../dom.js";
import { config, forgetSamples, nonce, noteAsked, on, run, running, wantStop } from "../store.js";
import { familySettings } from "./formats.js";
import { clearErrors, say, showError } from "./messages.js";
import { whenChecked } from "./recipes.js";
import { endTape } from "./replay.js";
import { ask, requestStop } from "./running.js";
import { allSettings, runSettings, fitPrompt } from "./settings.js";

export function startRun() {
  const check = whenChecked(); // a recipe that was typed just now may have sliders that are not there yet
  if (check) return void check.then(startRun);
  clearErrors();
  const prompt = part("prompt").value;
  if (!prompt.trim()) return showError("prompt", "The prompt is empty. Please enter a question or choose an example."), say("The run did not start.");
  if (prompt.length > config.max_prompt_chars * 50) // too long even to send; the server checks shorter ones
    return showError("prompt", "A prompt may have at most " + config.max_prompt_chars.toLocaleString("en") + " characters; this one has " +
      prompt.length.toLocaleString("en") + ". Please shorten it.");
  forgetSamples();
  endTape(); // an opened run stays in the list whole
  noteAsked(allSettings());
  ask({ ...familySettings(), ...runSettings() }, null);
}

export function stopRun() {
  forgetSamples();
  if (!running) return;
  wantStop(true);
  if (run && run.n === nonce) requestStop(run.id);
}

export function listen() {
  part("form").addEventListener("submit", (event) => (event.preventDefault(), startRun()));
  part("stop").addEventListener("click", stopRun);
  on("ask", startRun);
  part("prompt").addEventListener("input", fitPrompt);
  onKeys(part("prompt"), (key) => {
    if (key !== "Enter" || isTouch()) return false; // on touch keyboards Enter must make a new line, and Run is visible
    startRun();
    return true;
  });
  pressOnce(element);
}
