// The key: the right to load models for everybody. The terminal prints it in a link, behind the #, which no server sees.
// It is taken out of the address bar at once, before anybody copies the address; this tab keeps it and no link, file or
// log ever has it.

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
    heldWithoutStorage = key;
  }
}

let heldWithoutStorage; // a browser that forbids storage keeps it as long as this page stands

export function keyHeld() {
  try {
    return sessionStorage.getItem(KEY_KEPT) ?? heldWithoutStorage;
  } catch {
    return heldWithoutStorage;
  }
}

export function listen() {
  takeKey();
  window.addEventListener("hashchange", takeKey); // the link was put into the address bar of a page that is open
}
