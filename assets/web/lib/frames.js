// Frames of a recorded run in replay order, and the duration of each.

/** @import { Frame, Line } from "../types.js" */

/** @type {Record<string, (frame: Frame, before: number) => number>} */
export const PACES = { // ms per token
  "0.5×": () => 200, "1×": () => 100, "2×": () => 50, "4×": () => 25, "8×": () => 12.5,
  "original speed": (frame, before) => Math.max(0, frame.ms - before), "instant": () => 0,
};

// One frame per position: the tokens of all columns there. The end of a column comes with its last token.
/** @type {(lines: Line[]) => { frames: Frame[], end: Line }} */
export function framesOf(lines) {
  /** @type {Frame[]} */
  const frames = [];
  /** @type {Record<number, number>} */
  const counts = {};
  for (const line of lines.slice(1, -1)) {
    const count = counts[line.p] || 0, at = line.k === "t" ? count : Math.max(0, count - 1);
    const frame = (frames[at] ??= { lines: [], ms: 0 });
    frame.lines.push(line);
    if (line.k !== "t") continue;
    counts[line.p] = count + 1;
    frame.ms = Math.max(frame.ms, line.ms);
  }
  return { frames, end: lines[lines.length - 1] };
}
