// Help: what this is, what one sees, and the keys. The sizes of the models and what they have read come from the server.

import { kindsText } from "../lib/askable.js";
import { millions, roleName } from "../lib/formats.js";
import { el, onKeys, part } from "../dom.js";
import { on } from "../store.js";
import { openDialog } from "./dialogs.js";

const KINDS_SHOWN = 6;
const colourOf = (role) => (role === "small_base" ? "var(--small)" : role.endsWith("_base") ? "var(--base)" : "var(--tuned)");
const tabs = () => [...part("help-tabs").children];

function openTab(name) {
  for (const tab of tabs()) {
    const open = tab.id === "eft-help-" + name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !open;
  }
}

export function openHelp(name = "what") {
  openTab(name);
  openDialog("help");
}

function drawSizes({ sizes }) {
  const largest = Math.max(...sizes.map(({ parameters }) => parameters));
  part("sizes-title").hidden = !sizes.length;
  part("sizes").replaceChildren(...sizes.map(({ role, parameters }) => {
    const row = el("li"), bar = el("i");
    bar.style.width = (100 * parameters) / largest + "%";
    bar.style.setProperty("--c", colourOf(role));
    const track = el("span");
    track.append(bar);
    row.append(el("span", "", roleName(role)), track, el("span", "", millions(parameters)));
    return row;
  }));
}

function drawWorld({ world, chips }) {
  const place = part("world");
  place.hidden = !world;
  if (!world) return;
  place.replaceChildren(
    el("p", "", "They know what they were trained on: " + world.facts.toLocaleString("en") + " facts about " + kindsText(world.kinds, KINDS_SHOWN) + ". The small ones remember fewer of them than the large ones. They know nothing else: "
      + chips[0] + " cannot write essays or code, and it may state something wrong in the same even voice."),
    el("p", "", "The tuned models saw questions about half of these things only. On the other half, whatever the up-scaled column gets right, it has from the large base."));
}

export function listen() {
  on("page", (page) => (drawSizes(page), drawWorld(page)));
  for (const tab of tabs()) tab.addEventListener("click", () => openTab(tab.id.replace("eft-help-", "")));
  onKeys(part("help-tabs"), (key) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key], all = tabs(), at = all.findIndex((tab) => tab.tabIndex === 0);
    if (!step) return false;
    const next = all[(at + step + all.length) % all.length];
    openTab(next.id.replace("eft-help-", ""));
    next.focus();
    return true;
  });
  part("help").addEventListener("click", () => openHelp());
  part("about").addEventListener("click", () => openHelp());
}
