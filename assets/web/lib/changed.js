// What differs between two settings of a run: those that the shown run was asked for with, and those of the next one.

/** @import { Conversation, Run } from "../types.js" */

import { symbolOf } from "./formats.js";

// The prompt shows itself, and sliders act on the shown texts; the rest concerns the next run only.
const SEEN = new Set(["prompt", "controls", "turns", "conversation", "serial", "pace"]);
/** @type {Record<string, string>} */
const NAMES = {
  top_p: "top-p", top_k: "top-k", min_p: "min-p", schedule: "α over time", filter: "weight filter", speculation: "speculative decoding", formats: "prompt formats", system: "system prompt", from: "continue from",
};
/** @type {(key: string) => string} */
export const settingName = (key) => NAMES[key] ?? key;

/** @type {(value: any) => string} */
const plain = (value) => JSON.stringify(value && typeof value === "object" && !Object.keys(value).length ? "" : value ?? "");

// The names of the settings that differ.
/** @type {(asked: Record<string, any> | undefined, now: Record<string, any>) => string[]} */
export function changesFrom(asked, now) {
  if (!asked) return []; // unknown, as for a run from a file
  const names = Object.keys({ ...asked, ...now }).filter((key) => !SEEN.has(key) && plain(asked[key]) !== plain(now[key]));
  return goesOnFromOthers(asked.conversation, now.conversation) ? [...names, "from"] : names;
}

// Whether the same turns are to be followed, but with the answers of other columns.
/** @type {(then: Conversation | undefined, now: Conversation | undefined) => boolean} */
const goesOnFromOthers = (then, now) => then && now ? then.turns.length > 0 && plain(then.turns) === plain(now.turns) && then.from !== now.from : false;

// Before the first turn nothing else of a conversation counts: its names and choice may be those of one that was left.
/** @type {(conversation: Conversation | undefined) => string} */
const turnsText = (conversation) => (conversation?.turns.length ? plain(conversation) : "");

// Whether both ask the same question, sliders aside, so that a person has typed and chosen nothing in between.
/** @type {(asked: Record<string, any> | undefined, now: Record<string, any>) => boolean} */
export function isSameQuestion(asked, now) {
  return asked !== undefined && asked.prompt === now.prompt && !changesFrom(asked, now).length && turnsText(asked.conversation) === turnsText(now.conversation);
}

// The sliders at the end of a run, as far as its tokens record them.
/** @type {(run: Run) => Record<string, number>} */
export const slidersAt = (run) => Object.assign({}, ...run.columns.map(({ tokens }) => tokens.at(-1)?.v || {}));

// Short facts by which a person distinguishes a run from the one before it.
/** @type {(before: Run | undefined, run: Run) => string[]} */
export function runDifferences(before, run) {
  if (!before) return [];
  const facts = (run.asked ? changesFrom(before.asked, run.asked) : []).map((key) => {
    const value = run.asked[key];
    if (key === "from") return "other earlier answers";
    if (key === "columns") return value.map((/** @type {{ name: string }} */ { name }) => name).join(", ");
    return typeof value === "object" || key === "system" ? "other " + settingName(key) : settingName(key) + " " + value;
  });
  const then = slidersAt(before), now = slidersAt(run);
  const moved = Object.keys(now).filter((name) => Math.abs(now[name] - (then[name] ?? NaN)) > 1e-6);
  return [...facts, ...moved.map((name) => symbolOf(name) + " " + now[name].toFixed(2))];
}
