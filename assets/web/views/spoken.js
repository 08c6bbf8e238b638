// Announcements of a run for screen readers: each column's text when it ends, and the tokens of single steps.

import { endedText, steppedText } from "../lib/spoken.js";
import { paused, running } from "../store.js";
import { say } from "./messages.js";

const SOON_MS = 150; // columns that end together are announced together, as are the tokens of one step
let spokenTimer = 0, ended = [], stepped = new Map();

function speak() {
  clearTimeout(spokenTimer);
  const words = [steppedText(stepped), ...ended.map(endedText)].filter(Boolean).join(" ");
  ended = [], stepped = new Map();
  if (words) say(words);
}

function speakSoon() {
  clearTimeout(spokenTimer);
  spokenTimer = setTimeout(speak, SOON_MS);
}

export function forgetSpoken() {
  clearTimeout(spokenTimer);
  ended = [], stepped = new Map();
}

export function speakOfToken(column, token) {
  if (!running || !paused) return;
  stepped.set(column.name, (stepped.get(column.name) || "") + token.s);
  speakSoon();
}

export function speakOfEnd(column) {
  ended.push(column);
  speakSoon();
}

// The run is over: what has not been announced yet. The page's first run was asked for by nobody, so its texts are not read out.
export function speakOfDone(run) {
  if (run.welcome) return forgetSpoken(), say("A recorded example: " + run.prompt);
  say("The run has ended, after " + run.columns.reduce((sum, { tokens }) => sum + tokens.length, 0) + " tokens.");
  speak();
}
