// The body of the function that Gradio runs when the component is mounted. Everything else is in modules, under a path with
// a hash of their contents, so that a page never mixes two versions. If Gradio mounts the component again, the modules load
// again under a new path.

const times = (window[Symbol.for("eft-mounts")] = (window[Symbol.for("eft-mounts")] || 0) + 1);
const addressOf = (name) => new URL("eft/web/VERSION/" + times + "/" + name, document.baseURI).href;
window.dispatchEvent(new Event("eft-there")); // early.js waits for it
// Preload all at once; otherwise each would be requested only after the one that imports it.
document.head.append(...NAMES.map((name) => Object.assign(document.createElement("link"), { rel: "modulepreload", href: addressOf(name) })));
// Until the modules listen, a press would have no effect, and a typed text would be replaced.
element.inert = true;
// Enter must never submit the form.
element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
import(addressOf("main.js"))
  .then((page) => page.start({ element, props, server, watch, trigger: (request) => trigger("eft_run", request) }))
  .catch((error) => {
    const place = element.querySelector('[data-error="prompt"]');
    place.textContent = "Part of this page could not be loaded. Please reload it.";
    place.hidden = false;
    throw error;
  })
  .finally(() => (element.inert = false));
