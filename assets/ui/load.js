// What Gradio runs when the component is there, as the body of a plain function. All else is in modules, under a path that
// names their contents, so that a page never runs modules of two versions. Gradio may put the component into the document
// anew: then the modules begin anew too, under one path more.

const times = (window[Symbol.for("eft-mounts")] = (window[Symbol.for("eft-mounts")] || 0) + 1);
const form = element.querySelector("form");
const notYet = (event) => event.preventDefault();
form.addEventListener("submit", notYet);
import(new URL("eft/web/VERSION/" + times + "/main.js", document.baseURI).href)
  .then((page) => page.start({ element, props, server, watch, trigger: (request) => trigger("eft_run", request) }))
  .catch((error) => {
    const place = element.querySelector('[data-error="prompt"]');
    place.textContent = "A part of this page could not be loaded. Please reload it.";
    place.hidden = false;
    throw error;
  });
