// Dark or light: as the system has it until a person chooses, and then as chosen, for as long as this browser remembers.
// An address with ?__theme= decides for its own page.

import { part } from "../dom.js";

const THEME_KEY = "eft-theme";
const prefersDark = () => matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (prefersDark().matches ? "dark" : "light");

// A browser that keeps nothing for us (in a frame, with cookies refused) raises an error even when asked what it has.
function keepTheme(theme) {
  try {
    if (theme === systemTheme()) localStorage.removeItem(THEME_KEY); // that is no choice: follow the system again
    else localStorage.setItem(THEME_KEY, theme);
  } catch { /* then it is chosen for this page only */ }
}

function keptTheme() {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null;
  }
}

function showTheme(theme) {
  document.body.classList.toggle("dark", theme === "dark");
}

function showKeptTheme() { // Gradio has shown the system's before
  const theme = keptTheme();
  if (["dark", "light"].includes(theme) && !new URLSearchParams(location.search).has("__theme")) showTheme(theme);
}

export function listen() {
  part("theme").addEventListener("click", () => {
    const theme = document.body.classList.contains("dark") ? "light" : "dark";
    showTheme(theme);
    keepTheme(theme);
  });
  prefersDark().addEventListener("change", showKeptTheme);
  showKeptTheme();
}
