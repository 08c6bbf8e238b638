// What a phone shows, worked out from what the server sent. Pure: it knows neither the document nor the network.

export const NO_ROOM = "This room has ended: the lesson is over, this phone was away for long, or the server was restarted. If the screen shows a new code, enter it here.";

// The code and the invitation in an address such as …/room#BCDFGH.x7Qk2p9A; empty where there are none.
export function readAddress(hash) {
  const [, code = "", invite = ""] = /^#([A-Za-z]{6})(?:\.([\w-]{1,40}))?$/.exec(hash) || [];
  return { code: code.toUpperCase(), invite };
}

// The same for what a person enters: a code, perhaps with spaces or dashes in it, or the whole address.
export function readTyped(text) {
  const link = /#\S+/.exec(text);
  return link ? readAddress(link[0]) : { code: text.replace(/[\s-]/g, "").toUpperCase(), invite: "" };
}

// One line per option: what is on its button, and how the button looks.
export function optionLines({ poll, mine }) {
  const all = poll.revealed ? Object.values(poll.counts).reduce((sum, count) => sum + count, 0) : 0;
  return poll.options.map(({ id, label }) => ({
    id,
    label,
    mine: id === mine,
    right: poll.revealed && id === poll.answer,
    mark: markOf(poll, id, mine),
    share: all ? poll.counts[id] / all : 0,
    note: poll.revealed ? noteOf(poll, id) : "",
  }));
}

function markOf(poll, id, mine) {
  const marks = [id === mine ? "your vote" : "", poll.revealed && id === poll.answer ? "✓ the answer" : ""];
  return marks.filter(Boolean).join(", ");
}

const noteOf = ({ counts, notes }, id) => [counts[id] === 1 ? "1 vote" : counts[id] + " votes", notes[id]].filter(Boolean).join(" · ");

// `withdrawn`: the last question went without its answer, as when the presenter's page was reloaded. `sending`: the vote has
// not arrived yet.
export function statusOf({ poll, mine }, { withdrawn = false, sending = false } = {}) {
  if (!poll) return (withdrawn ? "The question was closed without an answer." : "You are in.") + " The next question appears here.";
  if (poll.revealed) return mine === null ? "The question is closed." : mine === poll.answer ? "You were right." : poll.answer === null ? "The question is closed." : "The answer is marked.";
  if (mine === null) return "Choose one.";
  return (sending ? "Your vote is on its way." : "Your vote counts.") + " You can change it until the answer is shown.";
}

// What became of a vote for the question of this number that came when it was closed already.
export function lateWords({ poll, mine }, number) {
  if (poll?.number !== number) return "The last question was closed before your latest vote arrived, so that one did not count.";
  return "The question was closed before your vote arrived" + (mine === null ? ", so it did not count." : ": the one before it counts.");
}

// What the link to the full page says: it opens a step of a lesson, or the settings of a run.
export const linkWords = (link) => (/^lesson=/.test(link)
  ? { label: "Open this step of the lesson", note: "shows its run on the full page, with every token" }
  : { label: "Inspect the tokens of this run", note: "opens its settings on the full page; Run there writes it again" });

// How long to wait before asking again: after a failure longer each time, and different on each phone (`chance` in 0 to 1),
// so that a class does not return all at once; after an answer without news that came too early, as from a busy server.
export function pauseMs({ failures, changed, tookMs, chance }) {
  if (failures) return Math.min(10_000, 500 * 2 ** Math.min(failures - 1, 5)) * (0.5 + chance);
  return changed || tookMs > 2000 ? 0 : 2000 + 2000 * chance;
}

// What a phone keeps: the room that it was in last, and its token in each of the last few. Whatever was stored is checked.
const MOST_KEPT = 8;

export function readKept(stored) {
  const { last, tokens } = JSON.parse(stored || "{}") || {};
  const pairs = Object.entries(Object(tokens)).filter(([code, token]) => /^[A-Z]{6}$/.test(code) && typeof token === "string");
  return { last: pairs.some(([code]) => code === last) ? last : "", tokens: Object.fromEntries(pairs) };
}

export function withRoom({ tokens }, { code, token }) {
  const others = Object.entries(tokens).filter(([other]) => other !== code);
  return { last: code, tokens: Object.fromEntries([...others, [code, token]].slice(-MOST_KEPT)) };
}

export function withoutRoom({ last, tokens }, code) {
  return { last: last === code ? "" : last, tokens: Object.fromEntries(Object.entries(tokens).filter(([other]) => other !== code)) };
}
