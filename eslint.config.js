// What eslint holds the page's modules to. The order of the modules and their circles are held by tests/ui/test_web_modules.py.
import js from "@eslint/js";

const BROWSER = `AbortController AbortSignal Blob BroadcastChannel Event MutationObserver Request ResizeObserver Response ReadableStream TextDecoder TextEncoder URL
  URLSearchParams CSS cancelAnimationFrame clearInterval clearTimeout document fetch getComputedStyle localStorage location
  matchMedia navigator performance requestAnimationFrame sessionStorage setInterval setTimeout structuredClone window`.split(/\s+/);
const globals = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

// The state of the page is in store.js. At the top of a view may stand what nobody else needs to know and what a new page
// can do without: its timers, and these.
const PRIVATE = [
  "channel", "claims", // to other tabs, and what they may know that this one has
  "formatFields", "howTo", "primer", "asWritten", // elements, and texts that the skeleton came with
  "written", "made", "wholes", "drawn", "figure", "plotlyReady", "opened", // what was stored, drawn or loaded last, so that it is not done twice
  "sending", "watching", "waiting", "checks", "turn", // whether, or which, request is under way
  "ended", "stepped", // what is still to be announced
  "grown", "openedAt", "mouseAt", "lastMs", // the columns of one update; the click that opened a dialog; where the mouse was; how long a plot took
];
const named = `[id.name=/^(\\w+Timer|${PRIVATE.join("|")})$/]`;
const ATOP = ":matches(Program, Program > ExportNamedDeclaration) > VariableDeclaration";
const KEEP_IN_STORE = "State of the page belongs into store.js; the exceptions are listed in eslint.config.js.";
// Collections and records of the store, which a view could change without an action.
const STORED = "/^(asIf|chosen|config|controls|familyMenu|nodes|ownFormats|ownViews|samples|selected|sent|settingsAt|stopped|tape)$/";
const CHANGES = "/^(add|clear|delete|pop|push|reverse|set|shift|sort|splice|unshift)$/";
const USE_AN_ACTION = "Change what is in the store through one of its actions.";

export default [
  { ignores: ["assets/web/vendor/**"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  {
    files: ["assets/web/**/*.js", "assets/export/*.js", "assets/room/*.js"],
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
    files: ["assets/web/lib/**/*.js", "assets/room/state.js"],
    ignores: ["**/*.test.js"],
    languageOptions: { globals: Object.fromEntries(BROWSER.map((name) => [name, "off"])) },
    rules: { "no-restricted-imports": ["error", { patterns: ["../*"] }], "no-restricted-properties": ["error", { object: "Math", property: "random" }] },
  },
  {
    files: ["assets/web/views/*.js"],
    rules: {
      "no-restricted-syntax": ["error",
        { selector: `${ATOP}[kind='let'] > VariableDeclarator:not(${named})`, message: KEEP_IN_STORE },
        { selector: `${ATOP} > VariableDeclarator[init.type='NewExpression'][init.callee.name=/^(Weak)?(Map|Set)$/]:not(${named})`, message: KEEP_IN_STORE },
        { selector: `${ATOP} > VariableDeclarator[init.elements.length=0]:not(${named})`, message: KEEP_IN_STORE },
        { selector: `${ATOP} > VariableDeclarator[init.properties.length=0]:not(${named})`, message: KEEP_IN_STORE },
        { selector: `AssignmentExpression > MemberExpression.left[object.name=${STORED}]`, message: USE_AN_ACTION },
        { selector: `CallExpression[callee.object.name=${STORED}][callee.property.name=${CHANGES}]`, message: USE_AN_ACTION },
      ],
    },
  },
  {
    files: ["assets/ui/*.js"], // plain scripts: early.js in the head, load.js as the body of a function
    languageOptions: { ecmaVersion: 2024, sourceType: "script", globals: globals([...BROWSER, "element", "props", "server", "trigger", "watch", "Headers", "NAMES"]) },
  },
];
