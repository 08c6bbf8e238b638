// A class room as its presenter sees it: what phones may show of a question, the link to the room, and its state in words.

/** @import { ClassRoom, Poll, RoomNow } from "../types.js" */

import { withoutAnswer } from "./poll.js";
import { codeLabel, HIDDEN } from "./signs.js";

const MOST_CHARS = { id: 64, title: 400, label: 200, prompt: 200, before: 400 }; // as in eft_demo/classroom/poll.py
const LINK_CHARS = 16_000;

// A text as a phone shows it: invisible characters by their code points, and not longer than the server takes.
/** @type {(text: string, most: number) => string} */
function plain(text, most) {
  const characters = [...text.replace(HIDDEN, codeLabel)];
  return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : characters.join("");
}

// The end of a longer text.
/** @type {(text: string, most: number) => string} */
function tail(text, most) {
  const characters = [...plain(text, Infinity)];
  return characters.length > most ? "…" + characters.slice(1 - most).join("") : characters.join("");
}

// What phones are to show: the question, with its answer and facts once it is revealed, and a link to the run.
/** @type {(poll: Poll | null, factsOf: (id: string) => string, link: string) => { poll: object | null, link: string }} */
export function shownOf(poll, factsOf, link) {
  return { poll: poll && phonePoll(poll, factsOf), link: link.length > LINK_CHARS ? "" : link };
}

/** @type {(poll: Poll, factsOf: (id: string) => string) => object} */
function phonePoll(poll, factsOf) {
  const { id, kind, title, prompt, before, options, answer, revealed } = withoutAnswer(poll);
  const asked = { id, kind, title: plain(title, MOST_CHARS.title), prompt: plain(prompt, MOST_CHARS.prompt), before: tail(before, MOST_CHARS.before), options: options.map((one) => ({ id: one.id, label: plain(one.label, MOST_CHARS.label) })), revealed };
  if (!revealed) return asked;
  return { ...asked, answer, notes: Object.fromEntries(options.map((one) => [one.id, plain(factsOf(one.id), MOST_CHARS.label)])) };
}

// The address that the QR code holds; what is after the # reaches no proxy's log.
/** @type {(page: string, room: ClassRoom) => string} */
export const roomLink = (page, { code, invite }) => page + "#" + code + "." + invite;

// The address as a person types it.
/** @type {(link: string) => string} */
export const typedAddress = (link) => link.replace(/^https?:\/\//, "").replace(/#.*$/, "");

// Whether only this machine can open the address.
/** @type {(hostname: string) => boolean} */
export const isOnlyHere = (hostname) => /^(localhost|.*\.localhost|127\..*|\[::1\])$/.test(hostname);

/** @type {(count: number) => string} */
const phones = (count) => (count === 1 ? "1 phone" : count + " phones");

// Beside the Teach menu: short, and in full for screen readers.
/** @type {(code: string, now: RoomNow, asking: boolean) => { short: string, full: string }} */
export function chipOf(code, now, asking) {
  if (now.lost) return { short: code + " · no connection", full: "Class room " + code + ": the server does not answer" };
  const votes = now.voted + " of " + now.joined;
  return asking
    ? { short: code + " · " + votes + " voted", full: "Class room " + code + ": " + votes + " phones voted" }
    : { short: code + " · " + phones(now.joined), full: "Class room " + code + ": " + phones(now.joined) + " joined" };
}

// Why the room is gone, as far as this page can know. `asking`: while a question was open.
/** @type {(asking: boolean) => string} */
export const endedWords = (asking) => "The class room has ended: it was ended elsewhere, its presenter was away for long, or the server was restarted. " +
  (asking ? "The question stays open here, with the votes so far. " : "") + "To go on with phones, open a new room in the Teach menu.";

/** @type {(now: RoomNow) => string} */
export function countOf({ joined, here, lost }) {
  if (lost) return "The server does not answer. This page keeps trying; the phones keep their votes.";
  if (!joined) return "Nobody has joined yet.";
  return phones(joined) + " joined" + (here < joined ? ", " + here + " of them here now" : "");
}
