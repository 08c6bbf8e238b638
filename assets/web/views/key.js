// The key: the right to load models for all visitors. The terminal prints it in a link, after the #, which no server sees.
// It is removed from the address bar immediately, before anybody copies the address; only this tab keeps it, and no link,
// file or log ever contains it.

import { keepKey, keyInPage } from "../store.js";

const KEY_KEPT = "eft-key";

function takeKey() {
  const fragment = new URLSearchParams(location.hash.slice(1)), key = fragment.get("key");
  if (key === null) return;
  fragment.delete("key");
  const rest = String(fragment);
  window.history.replaceState(window.history.state, "", location.pathname + location.search + (rest && "#" + rest));
  try {
    sessionStorage.setItem(KEY_KEPT, key);
  } catch {
    keepKey(key);
  }
}

export function keyHeld() {
  try {
    return sessionStorage.getItem(KEY_KEPT) ?? keyInPage;
  } catch {
    return keyInPage;
  }
}

export function listen() {
  takeKey();
  window.addEventListener("hashchange", takeKey); // the link was entered in the address bar of an open page
}
