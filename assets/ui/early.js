// Runs in the head, before Gradio's scripts. It knows what the server cannot know: the page's own address.

(() => {
  // Such a frame cannot load the page's scripts, so only this one can explain why it stays empty.
  if (window.origin === "null") {
    return document.addEventListener("DOMContentLoaded", () => {
      const words = Object.assign(document.createElement("p"), { style: "margin: 2em; font: 18px/1.5 sans-serif; color: CanvasText", role: "alert" });
      words.textContent = "EFT Demo cannot run in this frame: it is sandboxed without allow-same-origin, so it may not load scripts. Please open the page in its own tab: ";
      words.append(Object.assign(document.createElement("a"), { href: location.href, target: "_blank", rel: "noopener", textContent: location.origin + location.pathname }));
      document.body.replaceChildren(words);
    });
  }
  // Without its trailing slash, a sub-path would lose its last part, because all requests are relative to the page. Only
  // once: a proxy may insist on removing the slash.
  const came = performance.getEntriesByType("navigation")[0];
  if (!location.pathname.endsWith("/") && !came?.redirectCount) location.replace(location.pathname + "/" + location.search + location.hash);
  // Gradio's loading indicator counts its seconds in every frame, and goes on when it has gone, for as long as the page is
  // open. It keeps the function that it finds here; everyone else gets the browser's own once the page is there.
  const frame = window.requestAnimationFrame;
  let isThere = false;
  window.requestAnimationFrame = (draw) => (isThere ? setTimeout(frame, 1000, draw) : frame(draw));
  window.addEventListener("eft-there", () => {
    isThere = true;
    window.requestAnimationFrame = frame;
  });
  // Another site's page cannot send this header without a preflight request, which the server never allows. So it proves
  // that a post is our own, even behind a proxy that hides the public address from the server.
  const send = window.fetch;
  window.fetch = (target, options = {}) => {
    if (options.method !== "POST" || new URL(target.url || target, document.baseURI).origin !== location.origin) return send(target, options);
    const headers = new Headers(options.headers);
    headers.set("X-EFT-Page", "1");
    return send(target, { ...options, headers });
  };
})();
