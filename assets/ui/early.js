// Runs in the head, before anything of Gradio's. It knows the one thing that the server cannot: the page's own address.

(() => {
  // Such a frame may load none of the page's own scripts, so nothing else can say why it stays empty.
  if (window.origin === "null") {
    return document.addEventListener("DOMContentLoaded", () => {
      const words = Object.assign(document.createElement("p"), { style: "margin: 2em; font: 18px/1.5 sans-serif; color: CanvasText", role: "alert" });
      words.textContent = "EFT Demo cannot run in this frame: it is sandboxed without allow-same-origin, so it may not load scripts. Please open the page in its own tab: ";
      words.append(Object.assign(document.createElement("a"), { href: location.href, target: "_blank", rel: "noopener", textContent: location.origin + location.pathname }));
      document.body.replaceChildren(words);
    });
  }
  // Without its last slash a sub-path would lose its last part: everything here is relative to the page. Once only: a
  // proxy may insist on leaving the slash out.
  const came = performance.getEntriesByType("navigation")[0];
  if (!location.pathname.endsWith("/") && !came?.redirectCount) location.replace(location.pathname + "/" + location.search + location.hash);
  // Another site's page cannot send this header without asking first, which the server never allows. So it shows that a
  // post is our own, also behind a proxy that hides the public address from the server.
  const send = window.fetch;
  window.fetch = (target, options = {}) => {
    if (options.method !== "POST" || new URL(target.url || target, document.baseURI).origin !== location.origin) return send(target, options);
    const headers = new Headers(options.headers);
    headers.set("X-EFT-Page", "1");
    return send(target, { ...options, headers });
  };
})();
