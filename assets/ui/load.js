// What Gradio runs when the component is there, as the body of a plain function. All else is in modules, under a path that
// names their contents, so that a page never runs modules of two versions. Gradio may put the component into the document
// anew: then the modules begin anew too, under one path more.

const times = (window[Symbol.for("eft-mounts")] = (window[Symbol.for("eft-mounts")] || 0) + 1);
const addressOf = (name) => new URL("eft/web/VERSION/" + times + "/" + name, document.baseURI).href;
// All at once, or each would be asked for only when the one that needs it is there.
document.head.append(...NAMES.map((name) => Object.assign(document.createElement("link"), { rel: "modulepreload", href: addressOf(name) })));
// Until the page is there, Enter in the form must not send it anywhere.
element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
import(addressOf("main.js"))
  .then((page) => page.start({ element, props, server, watch, trigger: (request) => trigger("eft_run", request) }))
  .catch((error) => {
    const place = element.querySelector('[data-error="prompt"]');
    place.textContent = "Part of this page could not be loaded. Please reload it.";
    place.hidden = false;
    throw error;
  });
