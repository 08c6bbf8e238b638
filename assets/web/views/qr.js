// QR codes, drawn in the page, so that an address goes nowhere else. The encoder is loaded when the first one is drawn.

import { el } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";
const QUIET = 4; // modules of white around it, without which cameras do not find it
const MOST_CHARS = 1200; // with more, the modules are too small to be read across a room

// Draws the code of `text` into `box`, black on white in every theme, named `name` for screen readers. Returns whether there
// was room for the text.
/** @type {(box: HTMLElement, text: string, name: string) => Promise<boolean>} */
export async function drawQr(box, text, name) {
  box.replaceChildren();
  if (text.length > MOST_CHARS) return false;
  const { encode } = await import("../vendor/uqr.js");
  const { data, size } = encode(text, { ecc: "M", border: QUIET });
  const picture = document.createElementNS(SVG, "svg"), paper = document.createElementNS(SVG, "rect"), ink = document.createElementNS(SVG, "path");
  picture.setAttribute("viewBox", "0 0 " + size + " " + size);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", name);
  picture.setAttribute("shape-rendering", "crispEdges");
  for (const [key, value] of Object.entries({ width: size, height: size, fill: "#fff" })) paper.setAttribute(key, String(value));
  ink.setAttribute("d", data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? ["M" + x + " " + y + "h1v1h-1z"] : []))).join(""));
  picture.append(paper, ink);
  box.replaceChildren(el("div", "qr"));
  box.firstElementChild.append(picture);
  return true;
}
