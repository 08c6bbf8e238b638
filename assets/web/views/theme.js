// Dark or light theme: the system's until a person chooses, then the choice, as long as this browser remembers it.
// ?__theme= in the address overrides it for that page.

import { part } from "../dom.js";

const THEME_KEY = "eft-theme";
const prefersDark = () => matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (prefersDark().matches ? "dark" : "light");

// Without storage (in a frame, with cookies refused) browsers raise an error even on reading.
function keepTheme(theme) {
  try {
    if (theme === systemTheme()) localStorage.removeItem(THEME_KEY); // follow the system again
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

function showKeptTheme() { // Gradio has already applied the system's theme
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
