// The earlier turns of a conversation. All columns are asked the same questions; a turn has one answer for all columns, or
// one for each.

/** @import { Column, Conversation, Run, Seen, Turn } from "../types.js" */

import { textOf } from "./tokens.js";

/** @type {Conversation} */
export const NO_CONVERSATION = { turns: [], names: [], from: null };

/** @type {(turn: Turn, p: number) => Seen} */
export const asSeen = ({ question, answers }, p) => ({ question, answer: answers[answers.length > 1 ? p : 0] });

// What column `p` is shown of a run: its earlier questions and answers, then the question that it answers now. Nothing for
// a run of one turn.
/** @type {(turns: Turn[] | undefined, prompt: string, p: number) => Seen[]} */
export function seenBy(turns, prompt, p) {
  if (!turns?.length) return [];
  return [...turns.map((turn) => asSeen(turn, p)), { question: prompt, answer: null }];
}

/** @type {(column: Column) => string} */
export const writtenText = (column) => textOf(column) + (column.ended?.s || "");

// The conversation in which the next question follows that run. `before` is the present one: its choice of a column stays.
/** @type {(run: Run, before: Conversation) => Conversation} */
export function followUp(run, before) {
  const names = run.columns.map(({ name }) => name);
  const from = before.from === null ? -1 : names.indexOf(before.names[before.from]);
  return { turns: [...(run.turns || []), { question: run.prompt, answers: run.columns.map(writtenText) }], names, from: from < 0 ? null : from };
}

// Whether the columns' answers differ in number, so that one of them can be chosen.
/** @type {(conversation: Conversation) => boolean} */
export const hasChoice = ({ turns }) => turns.some(({ answers }) => answers.length > 1);

// The turns before turn `k`, so that its question can be asked again.
/** @type {(conversation: Conversation, k: number) => Conversation} */
export const before = (conversation, k) => ({ ...conversation, turns: conversation.turns.slice(0, k) });

// The turns of the next run with these columns: all go on from the chosen column, or each from its own answers. A column
// that was not there goes on from the last one.
/** @type {(conversation: Conversation, columns: string[]) => Turn[]} */
export function turnsFor({ turns, names, from }, columns) {
  const places = columns.map((name, p) => (names[p] === name ? p : names.indexOf(name)));
  const own = places.map((p) => (p < 0 ? names.length - 1 : p));
  return turns.map(({ question, answers }) => {
    if (answers.length === 1) return { question, answers };
    if (from !== null) return { question, answers: [answers[from]] };
    const mine = own.map((p) => answers[p]);
    return { question, answers: new Set(mine).size === 1 ? mine.slice(0, 1) : mine };
  });
}
