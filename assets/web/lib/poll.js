// A question to the class: what may be sent to a class room, its votes, and the order of its options.

/** @import { Poll, Votes } from "../types.js" */

import { splitmix } from "./noise.js";

// What others may see before the answer is revealed.
/** @type {(poll: Poll) => Poll} */
export const withoutAnswer = (poll) => (poll.revealed ? poll : { ...poll, answer: null });

// The votes of each option: those that a class room has counted, and the guesses made on this page.
/** @type {(poll: Poll, tally: Votes, guesses: string[]) => { id: string, label: string, votes: number, share: number }[]} */
export function votesOf({ options }, tally, guesses) {
  /** @type {(id: string) => number} */
  const sum = (id) => countIn(tally, id) + guesses.filter((guess) => guess === id).length;
  const all = options.reduce((total, { id }) => total + sum(id), 0);
  return options.map(({ id, label }) => ({ id, label, votes: sum(id), share: all ? sum(id) / all : 0 }));
}

/** @type {(votes: Votes, id: string) => number} */
const countIn = (votes, id) => (Object.hasOwn(votes, id) && Number.isInteger(votes[id]) && votes[id] > 0 ? votes[id] : 0);

// The option that a key names: "1" is the first.
/** @type {(poll: Poll, key: string) => string | null} */
export const optionOf = ({ options }, key) => (/^[1-9]$/.test(key) && options[Number(key) - 1]?.id) || null;

// The same order for the same text, on every page.
/** @type {<T>(list: T[], text: string) => T[]} */
export function shuffled(list, text) {
  const left = [...list];
  let state = [...text].reduce((sum, character) => splitmix(sum ^ BigInt(/** @type {number} */ (character.codePointAt(0)))), 0n);
  return list.map(() => {
    state = splitmix(state);
    return left.splice(Number(state % BigInt(left.length)), 1)[0];
  });
}
