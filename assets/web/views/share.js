// Share: a link to the settings, and the run as a file. The server makes both from checked data; only the browser keeps the
// file.

import { withView } from "../lib/address.js";
import { movedWhileWritten } from "../lib/linked.js";
import { lessonHash } from "../lib/lesson.js";
import { answerOf, restoreRun, server } from "../api.js";
import { copyText, el, element, part } from "../dom.js";
import { config, lesson, on, run, running, want } from "../store.js";
import { addressSoon, branchesShown, linkedSettings, linkedView, settleAddress } from "./address.js";
import { lookAway } from "./branching.js";
import { makeOffer, openDialog } from "./dialogs.js";
import { settingsBack } from "./memory.js";
import { hideError, notice, showError, showMessage } from "./messages.js";
import { chooseColour } from "./painting.js";
import { allSettings, fillIn } from "./settings.js";
import { allow } from "./teach.js";

const SAVED_AS = {
  html: ["Web page (HTML)", "keeps colours and cards, opens in any browser without this app"],
  json: ["Trace (JSON)", "everything that was recorded; Open shows it again"],
  csv: ["Table (CSV)", "one row per token, for spreadsheets"],
  md: ["Text (Markdown)", "prompt, settings, texts, and the tokens that moved most"],
};
const LINK_NOTE = "Opening it fills in these settings. Nothing runs until someone presses Run.";
const MOVED_NOTE = "A slider was moved while these texts were written, and the link has only its last value: it gives other texts. Save the trace to keep these.";

// What becomes of the branch that is shown.
function linkNote() {
  const { branches, lost } = branchesShown();
  if (lost) return LINK_NOTE + " It leads to the run, without the branch that is shown, because " + lost + "; save the trace to keep that.";
  if (!branches.length && run && movedWhileWritten(run)) return LINK_NOTE + " " + MOVED_NOTE;
  return branches.length ? LINK_NOTE + " The branch that is shown is then written after the run." : LINK_NOTE;
}

const pageAddress = () => config.address || location.origin + location.pathname;
const makeLink = async () => answerOf(server.make_link(linkedSettings()));

async function openShare() {
  const savable = Boolean(run && run.id);
  for (const button of part("formats").children) button.disabled = !savable;
  part("no-run").hidden = savable;
  part("share-error").hidden = true;
  part("link").value = "";
  part("link-note").textContent = linkNote();
  part("copy").disabled = true;
  openDialog("share");
  const answer = await makeLink();
  part("copy").disabled = Boolean(answer.error);
  if (answer.error) part("link-note").textContent = "These settings cannot be put into a link. " + answer.error;
  else part("link").value = pageAddress() + "#" + withView(answer.query, linkedView());
  if (answer.note) part("link-note").textContent = answer.note;
}

// The address of this page as it is: of the lesson's step, or with the settings; the bare one where they do not fit.
export async function addressNow() {
  const page = pageAddress();
  if (lesson) return page + lessonHash(lesson.name, lesson.at);
  const answer = config.absent ? {} : await makeLink();
  return answer.query ? page + "#" + withView(answer.query, { branches: branchesShown().branches }) : page;
}

async function copyLink() {
  await copyText(part("link").value, part("link"));
  part("link").select();
  part("link-note").textContent = "Copied. " + linkNote();
}

async function saveRun(format) {
  part("share-error").hidden = true;
  await restoreRun(run);
  const answer = await answerOf(server.save({ run: run.id, format }));
  if (answer.error) return openShare(), showMessage("share-error", answer.error);
  const link = el("a");
  link.href = URL.createObjectURL(new Blob([answer.text], { type: answer.type }));
  link.download = answer.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The page's address may contain settings, after # or, in older links, after ?. They are filled in; nothing runs.
const LINKED = /[?#&;](v|prompt)(=|%3d)/i;

export async function readAddress() {
  const query = location.search + location.hash.replace(/([#&])key=[^&]*/g, "$1"); // the terminal's key is not part of a link
  if (!LINKED.test(query)) return;
  const answer = await answerOf(server.read_link({ query }));
  hideError("link");
  if (answer.settings) {
    if (answer.settings.turns && run) lookAway(); // the columns show the turns instead
    await fillIn(answer.settings);
    showLinked(answer.view);
    settleAddress();
  }
  if (answer.note || answer.error) showError("link", answer.note || answer.error);
}

// The colours apply at once, the rest once these settings have been run.
function showLinked({ colour, ...rest }) {
  if ([...part("colour").options].some(({ value }) => value === colour)) part("colour").value = colour, chooseColour(colour);
  want({ ...rest, settings: allSettings() });
  if (!config.absent) notice("These settings come from a link. Press Run to see the texts that they give" + (rest.branches ? ", and then the branch that the link leads to." : "."));
}

function onAddress() {
  if (!element.isConnected) return window.removeEventListener("hashchange", onAddress);
  settleAddress();
  if (settingsBack()) notice(""), addressSoon(); // they are no longer those of a link
  else readAddress();
}

export function listen() {
  window.addEventListener("hashchange", onAddress); // a link pasted into the address bar does not reload the page
  part("formats").append(...Object.entries(SAVED_AS).map(([format, [title, about]]) => {
    const button = makeOffer(title, about);
    button.addEventListener("click", () => saveRun(format));
    return button;
  }));
  part("share").addEventListener("click", openShare);
  on("teach", () => allow(part("worksheet-save"), running ? "The run is not over yet" : run?.id ? "" : "There is no run to make it from yet"));
  part("worksheet-save").addEventListener("click", () => saveRun("worksheet"));
  part("copy").addEventListener("click", copyLink);
  part("link").addEventListener("focus", () => part("link").select());
}
