// The controls: prompt, Run, Stop, manner, sampling; keys; errors in the place where they belong.

const TOUCH = matchMedia("(pointer: coarse)");
const NEWS_LATE_MS = 6000; // the server speaks at least once a second
let rowsChip = null;

function startPage(page) {
  config = page;
  const [family, ...others] = page.chips;
  rowsChip = el("span", "chip");
  changedChip = el("span", "chip");
  rowsChip.hidden = true;
  part("chips").replaceChildren(makeFamilyChip(family), ...others.map(makeChip), changedChip, rowsChip);
  part("examples").replaceChildren(...page.examples.map(makeExample));
  part("behaviour").replaceChildren(...page.behaviours.map(makeOption));
  part("fields").replaceChildren(...Object.entries(page.fields).map(([name, field]) => makeField(name, field)));
  makeMethods();
  chooseColumns(page.columns);
  startFamily(page);
  makeGallery(part("gallery"));
  if (page.absent) showAbsent();
  if (!bringBack()) readAddress();
  (window.requestIdleCallback || setTimeout)(loadPlotly);
}

function makeChip(text) { // the fact, with its reason in the tooltip
  const chip = el("span", "chip", NO_HOVER.matches ? text : text.split(", because")[0]);
  chip.title = text;
  return chip;
}

function makeExample(text) {
  const link = verbatim(el("a", "", text));
  link.href = "#";
  link.addEventListener("click", (event) => {
    event.preventDefault();
    part("prompt").value = text;
    fitPrompt();
    startRun();
  });
  return link;
}

function makeOption(behaviour) {
  const option = el("option", "", behaviour.title);
  option.value = behaviour.role;
  option.title = behaviour.about;
  return option;
}

function makeField(name, field) {
  const box = el("div", "field");
  const label = el("label", "", field.name);
  const number = Object.assign(el("input"), { type: "number", inputMode: field.step === 1 ? "numeric" : "decimal", id: "eft-" + name, min: field.low, max: field.high, step: "any", value: field.value });
  number.dataset.field = name;
  label.htmlFor = number.id;
  label.append(number);
  const slider = Object.assign(el("input"), { type: "range", min: field.low, max: field.high, step: field.step, value: field.value });
  slider.setAttribute("aria-label", field.name);
  slider.addEventListener("input", () => { number.value = slider.value; summarise(); hideError(name); });
  number.addEventListener("input", () => { if (number.value !== "") slider.value = number.value; summarise(); hideError(name); });
  const sentence = el("p", "sentence");
  sentence.dataset.error = name;
  sentence.setAttribute("role", "alert");
  sentence.hidden = true;
  box.append(label, el("small", "", field.help), ...(name === "seed" ? [] : [slider]), sentence);
  return box;
}

// What a browser took for no number it does not hand over; an emptied field is something else, and posts null.
const noNumber = (input) => (input.validity.badInput ? "not a number" : undefined);
const fieldInputs = () => [...element.querySelectorAll("[data-field]")];

function summarise() {
  part("columns-summary").textContent = columnsSummary();
  part("method-summary").textContent = methodSummary();
  part("sampling-summary").textContent = fieldInputs().map((input) => config.fields[input.dataset.field].name.toLowerCase() + " " + input.value).join(" · ");
}

function startRun() {
  clearErrors();
  const prompt = part("prompt").value;
  if (prompt.length > config.max_prompt_chars * 50) // too long even to send; the server says the same of shorter ones
    return showError("prompt", "A prompt may have at most " + config.max_prompt_chars.toLocaleString("en") + " characters; this one has " +
      prompt.length.toLocaleString("en") + ". Please shorten it.");
  forgetSamples();
  ask({ ...familyAsked(), ...askedNow() }, null);
}

// What Run asks for; the server checks all of it. `fillIn` is the way back, for what a link or a file holds.
function askedNow() {
  const asked = { prompt: part("prompt").value, behaviour: part("behaviour").value, columns: columnsNow(), controls: controlsNow(), ...methodNow() };
  for (const input of fieldInputs()) asked[input.dataset.field] = noNumber(input) ?? input.valueAsNumber;
  return asked;
}

function fillIn(asked) {
  if (asked.prompt !== undefined) part("prompt").value = asked.prompt;
  if (asked.behaviour) part("behaviour").value = asked.behaviour;
  for (const input of fieldInputs()) if (input.dataset.field in asked) setField(input, asked[input.dataset.field]);
  if (asked.columns) chooseColumns(asked.columns.map(({ name, recipe }) => ({ controls: [], ...presetOf(recipe), name, text: recipe })));
  for (const name of Object.keys(METHODS)) if (asked[name]) setMethod(name, asked[name]);
  setFormats(asked.formats || {});
  setControls(asked.controls || {});
  fitPrompt();
  summarise();
  return checkColumns();
}

function setField(input, value) {
  input.value = value;
  input.dispatchEvent(new Event("input"));
}

function stopRun() {
  forgetSamples();
  if (!running) return;
  stopWanted = true;
  if (run && run.n === nonce) tellStop(run.id);
}

function setRunning(now) {
  running = now;
  lastNews = Date.now();
  part("stop").disabled = !now;
  part("run").classList.toggle("busy", now);
  element.querySelector(".eft").classList.toggle("is-running", now);
  if (now) told = { ...controls };
  if (now) say("Running");
}

function errorPlace(where) {
  return element.querySelector('[data-error="' + (where === "server" ? "prompt" : CSS.escape(where)) + '"]') || element.querySelector('[data-error="prompt"]');
}

function showError(where, text) {
  const place = errorPlace(where);
  place.replaceChildren(...sentenceParts(text));
  place.dataset.from = where;
  place.hidden = false;
  const drawer = place.closest(".drawer");
  if (drawer) openDrawer(drawer.id);
}

function hideError(where) {
  const place = errorPlace(where);
  if (place.dataset.from === where) place.hidden = true;
}

function clearErrors() {
  for (const place of element.querySelectorAll("[data-error]")) place.hidden = true;
}

const openers = () => part("more").querySelectorAll(".openers button");

// One drawer at a time; its own button closes it again.
function openDrawer(id) {
  for (const button of openers()) {
    const open = button.getAttribute("aria-controls") === id;
    button.setAttribute("aria-expanded", open);
    element.querySelector("#" + button.getAttribute("aria-controls")).hidden = !open;
  }
}

const say = (text) => { part("status").textContent = text; };

function fitPrompt() {
  const prompt = part("prompt");
  prompt.style.height = "auto";
  prompt.style.height = Math.min(prompt.scrollHeight + 3, window.innerHeight * 0.4) + "px";
}

function onKey(key, { target }) {
  if (!isOurs(target) || dialogIsOpen()) return false; // a dialog has the keys to itself
  if ((key === "?" || key === "؟") && !isTyping(target)) return openDialog("help"), true;
  if (key === "Ctrl+Enter") return startRun(), true;
  if (key === "Escape") return stopOrStepBack();
  const span = target.closest(".t");
  if (span && (key === "Enter" || key === " ")) {
    selectSpan(span, true);
    if (key === "Enter") focusCandidates();
    return true;
  }
  return Boolean(target.closest(".plot, .text")) && walk(key);
}

function stopOrStepBack() { // whether there was anything to stop, to pause or to step back from
  const wasWide = wide !== null;
  if (running) stopRun();
  else if (!pauseReplay()) return widen(null), wasWide;
  return true;
}

function selectSpan(span, focus) {
  select(Number(span.closest(".text").dataset.p), Number(span.dataset.i), focus);
}

part("form").addEventListener("submit", (event) => (event.preventDefault(), startRun()));
part("stop").addEventListener("click", stopRun);
part("prompt").addEventListener("input", fitPrompt);
onKeys(part("prompt"), (key) => {
  if (key !== "Enter" || TOUCH.matches) return false; // a touch keyboard has no other key for a second line, and Run is in sight
  startRun();
  return true;
});
pressOnce(element);
part("behaviour").addEventListener("change", checkColumns);
for (const button of openers())
  button.addEventListener("click", () => openDrawer(button.getAttribute("aria-expanded") === "true" ? "" : button.getAttribute("aria-controls")));
part("columns").addEventListener("click", (event) => {
  const span = tokenAt(event);
  if (span) selectSpan(span, true);
});
part("columns").addEventListener("focusin", (event) => {
  const span = tokenAt(event);
  if (span && !span.hasAttribute("aria-pressed") && span.matches(":focus-visible")) selectSpan(span, false);
});
part("plot").addEventListener("click", onPlotClick);
part("colour").addEventListener("change", () => chooseColour(part("colour").value));
part("numbers").addEventListener("change", () => part("columns").classList.toggle("numbers", part("numbers").checked));
part("plotted").addEventListener("change", () => choosePlot(Number(part("plotted").value)));

onKeys(document, onKey, () => element.isConnected);
new MutationObserver(drawSoonest).observe(document.body, { attributes: true, attributeFilter: ["class"] });
onNewWidth(part("plot"), drawSoon);
setInterval(() => {
  if (running && Date.now() - lastNews > NEWS_LATE_MS)
    showError("server", "The server has been silent for " + Math.round((Date.now() - lastNews) / 1000) +
      " s. It may be very busy or stopped; press Run to try again, or reload the page.");
}, 1000);

watch("value", onValue);
onValue();
