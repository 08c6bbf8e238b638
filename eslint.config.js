// What eslint holds the page's modules to. The order of the modules and their circles are held by tests/ui/test_web_modules.py.
import js from "@eslint/js";

const BROWSER = `AbortSignal Blob BroadcastChannel Event MutationObserver Plotly Request ResizeObserver Response ReadableStream TextDecoder TextEncoder URL
  URLSearchParams CSS cancelAnimationFrame clearInterval clearTimeout document fetch getComputedStyle localStorage location
  matchMedia navigator performance requestAnimationFrame sessionStorage setInterval setTimeout structuredClone window`.split(/\s+/);
const globals = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

export default [
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  {
    files: ["assets/web/**/*.js", "assets/export/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals(BROWSER) },
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-implicit-coercion": "off",
      "no-control-regex": "off",
      "no-shadow": ["error", { builtinGlobals: false, allow: ["name", "text"] }],
      "no-unused-vars": ["error", { args: "after-used", ignoreRestSiblings: true, argsIgnorePattern: "^_", caughtErrors: "none" }],
    },
  },
  {
    // Pure modules: neither the page nor the clock nor chance may get in.
    files: ["assets/web/lib/**/*.js"],
    ignores: ["**/*.test.js"],
    languageOptions: { globals: Object.fromEntries(BROWSER.map((name) => [name, "off"])) },
    rules: { "no-restricted-imports": ["error", { patterns: ["../*"] }], "no-restricted-properties": ["error", { object: "Math", property: "random" }] },
  },
  {
    files: ["assets/ui/*.js"], // plain scripts: early.js in the head, load.js as the body of a function
    languageOptions: { ecmaVersion: 2024, sourceType: "script", globals: globals([...BROWSER, "element", "props", "server", "trigger", "watch", "Headers", "NAMES"]) },
  },
];
