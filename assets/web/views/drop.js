// Opens a run whose file is dropped anywhere on the page. The browser never navigates to a dropped item.

import { element, isTyping, part } from "../dom.js";
import { openDialog } from "./dialogs.js";
import { showMessage } from "./messages.js";
import { openFile } from "./replay.js";

const DROP_LATE_MS = 400; // an ongoing drag sends an event at least every 350 ms; one that has left may send none
const ONE_FILE = "Please drop the JSON file of one run.";
let dropTimer = 0;

const typesOf = (event) => [...(event.dataTransfer?.types || [])];
const hasFiles = (event) => typesOf(event).includes("Files");
// The browser would follow a link dropped outside a field.
const isTaken = (event) => hasFiles(event) || (typesOf(event).includes("text/uri-list") && !isTyping(event.target));

function showDrop(now) {
  clearTimeout(dropTimer);
  part("page").classList.toggle("dropping", now);
  if (now) dropTimer = setTimeout(() => showDrop(false), DROP_LATE_MS);
}

function onDrag(event) {
  if (!element.isConnected || !isTaken(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = hasFiles(event) ? "copy" : "none";
  if (hasFiles(event)) showDrop(true);
}

function onDrop(event) {
  if (!element.isConnected || !isTaken(event)) return;
  event.preventDefault();
  showDrop(false);
  if (hasFiles(event)) openDropped(event.dataTransfer);
}

async function openDropped({ files, items }) {
  const [file] = files, isFolder = [...items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
  for (const dialog of element.querySelectorAll("dialog[open]")) dialog.close(); // so that the result is visible
  if (files.length === 1 && !isFolder) return openFile(file);
  openDialog("open");
  if (!file) showMessage("open-error", "That was not a file. " + ONE_FILE);
  else showMessage("open-error", (files.length > 1 ? files.length + " files were dropped. " : file.name + " is a folder. ") + ONE_FILE);
}

export function listen() {
  for (const type of ["dragenter", "dragover"]) document.addEventListener(type, onDrag);
  document.addEventListener("drop", onDrop);
}
