"""The page's modules: import order, no side effects on load, and the route that serves them."""

import json
import posixpath
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from eft_demo.settings import ASSETS
from eft_demo.ui.bundle import BundleError, bundle, modules_of
from eft_demo.ui.page import loader
from eft_demo.ui.server import PLOTLY_JS
from eft_demo.ui.web_modules import WEB, Modules, module_route, page_modules, read_modules
from tests.javascript import find_node

SERVED = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*.js") if ".test." not in path.name)
VENDORED = [name for name in SERVED if name.startswith("vendor/")]  # other people's, unchanged
MODULES = [name for name in SERVED if name not in VENDORED]
SAVED = [ASSETS / "export" / "page.js", ASSETS / "export" / "worksheet.js"]
PHONE = ASSETS / "room" / "phone.js"
SCRIPTS = [*(WEB / name for name in MODULES), *SAVED, PHONE]
IMPORT = re.compile(r'^import\s+(?:\{[^}]*\}|\* as \w+)\s+from "(\.[^"]+)";$', re.MULTILINE)
# addEventListener("keydown", ...), a list of types that contains one, onkeydown = ...
LISTENING = re.compile(r"""["'`]key(?:down|up|press)["'`]|\bonkey(?:down|up|press)\b""")
# Every line starts with a comment, an import, a declaration, or the end of one.
DECLARING = re.compile(r"(?:export )?(?:async )?(?:function|const|let) |import |//|/\*\*| \*|[\]})]|$|\s")
# Ways to create markup. The page uses none: texts go through textContent.
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(")


def imports_of(name: str) -> set[str]:
    text = (WEB / name).read_text(encoding="utf-8")
    return {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) for path in IMPORT.findall(text)
    }


GRAPH = {name: imports_of(name) for name in MODULES}


def floor(name: str) -> int:
    """The order: lib, then store, dom and api, then the views, then main."""
    return {"lib": 0, "views": 2}.get(name.partition("/")[0], 3 if name == "main.js" else 1)


def test_every_import_leads_to_a_module_and_every_module_is_used() -> None:
    assert set().union(*GRAPH.values()) == set(MODULES) - {"main.js"}
    for name in MODULES:
        text = (WEB / name).read_text(encoding="utf-8")
        assert len(re.findall(r"^import\b", text, re.MULTILINE)) == len(IMPORT.findall(text)), name


def test_imports_run_one_way() -> None:
    up = [(name, other) for name, others in GRAPH.items() for other in others if floor(other) > floor(name)]
    assert up == []


def test_imports_have_no_cycles() -> None:
    left = {name: set(others) for name, others in GRAPH.items()}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    assert left == {}, "these modules form circles"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("lib/")])
def test_lib_modules_use_no_document_and_no_state(name: str) -> None:
    text = re.sub(r"//.*", "", (WEB / name).read_text(encoding="utf-8"))
    found = re.findall(r"\b(?:document|window|element|localStorage|sessionStorage|fetch)\b\s*[.(]", text)
    assert found == [] and not re.search(r"^(?:export )?let ", text, re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_only_declarations_at_top_level(name: str) -> None:
    lines = (WEB / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not DECLARING.match(line)] == []


@pytest.mark.skipif(find_node() is None, reason="this test needs Node.js")
def test_every_module_can_be_loaded_without_a_document() -> None:
    """A module that uses the document when it is loaded fails here, because there is none."""
    paths = json.dumps([(WEB / name).as_uri() for name in MODULES])
    script = f"for (const path of {paths}) await import(path);"
    subprocess.run([str(find_node()), "--input-type=module", "-e", script], check=True, timeout=120)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_dom_js_listens_to_keys_and_nothing_builds_markup(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert bool(LISTENING.findall(text)) is (script.name == "dom.js"), "use onKeys of dom.js"
    assert "event.key" not in text or script.relative_to(ASSETS).as_posix() in (
        "web/dom.js",
        "web/lib/keys.js",
    )
    assert not MARKUP.search(text)


def test_the_loader_names_the_version_and_the_event() -> None:
    assert f'eft/web/{page_modules().version}/"' in loader()
    assert '"eft_run"' in loader() and "VERSION" not in loader() and "await" not in loader()
    assert all(json.dumps(name) in loader() for name in MODULES) and "NAMES" not in loader()


def test_what_others_wrote_has_its_licence_and_is_loaded_only_when_needed() -> None:
    for name in VENDORED:
        assert "MIT License" in (WEB / (name.split(".")[0] + ".LICENSE")).read_text(encoding="utf-8")
        assert json.dumps(name) not in loader()
        loading = f'import("../{name}")', f'new URL("../{name}", import.meta.url)'
        users = [
            other for other in MODULES if any(form in (WEB / other).read_text("utf-8") for form in loading)
        ]
        assert len(users) == 1


def test_both_plotting_scripts_are_of_one_version_and_the_light_one_draws_what_the_page_believes() -> None:
    light = (WEB / "vendor" / "plotly-basic.min.js").read_text(encoding="utf-8")
    versions = [
        re.findall(r"plotly\.js .*v([\d.]+)", text[:200]) for text in (light, PLOTLY_JS.read_text("utf-8"))
    ]
    assert versions[0] == versions[1] != [], "take plotly.js-basic-dist-min of the version that plotly ships"
    (types,) = re.findall(r"LIGHT_TYPES = (\[.*\]);", (WEB / "views" / "plotting.js").read_text("utf-8"))
    assert json.loads(types) == sorted(re.findall(r'moduleType:"trace",name:"(\w+)"', light))


def test_the_version_follows_the_contents(tmp_path: Path) -> None:
    shutil.copytree(WEB, tmp_path / "web")
    copied = read_modules(tmp_path / "web")
    assert copied == page_modules() and set(copied.files) == set(SERVED)
    (tmp_path / "web" / "lib" / "keys.test.js").write_text("no part of the page")
    assert read_modules(tmp_path / "web") == copied
    (tmp_path / "web" / "lib" / "keys.js").write_text("export const other = 1;\n")
    assert read_modules(tmp_path / "web").version != copied.version


def test_only_modules_of_this_version_are_served() -> None:
    modules = Modules({"main.js": b"export {};", "lib/a.js": b""}, "0123456789abcdef")
    client = TestClient(Starlette(routes=[module_route(modules)]))
    found = client.get("/eft/web/0123456789abcdef/1/main.js")
    assert found.content == b"export {};" and found.headers["content-type"].startswith("text/javascript")
    assert "immutable" in found.headers["cache-control"]
    assert client.get("/eft/web/0123456789abcdef/2/lib/a.js").status_code == 200
    for path in (
        "0123456789abcdee/1/main.js",
        "0123456789abcdef/1/other.js",
        "0123456789abcdef/x/main.js",
        "0123456789abcdef/1/../1/main.js/",
        "0123456789abcdef/1/lib/%2e%2e/main.js",
        "0123456789abcdef/1/..%2f..%2fui/style.css",
        "0123456789abcdef/1//etc/passwd",
        "0123456789abcdef/1/",
    ):
        missing = client.get("/eft/web/" + path)
        assert missing.status_code == 404 and "immutable" not in missing.headers.get("cache-control", ""), (
            path
        )


def test_modules_shared_with_saved_pages_use_no_state_and_no_server() -> None:
    """A saved page has neither, so what draws both imports dom.js, pure modules and its like alone."""
    ours = {path for page in SAVED for path in modules_of(page) if path.is_relative_to(WEB)}
    joined = {path.relative_to(WEB).as_posix() for path in ours}
    assert {name for name in joined if not name.startswith("lib/")} == {
        "dom.js",
        "views/card-table.js",
        "views/column-pane.js",
        "views/token-span.js",
        "views/waterfall.js",
    }


@pytest.mark.parametrize("page", [*SAVED, PHONE], ids=lambda path: path.name)
def test_modules_joined_into_one_script_have_no_name_in_common(page: Path) -> None:
    names: list[str] = []
    for path in modules_of(page):
        text = path.read_text(encoding="utf-8")
        names += re.findall(r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 20, sorted(name for name in names if names.count(name) > 1)
    joined = bundle(page)
    assert joined.startswith('"use strict";')
    assert not re.search(r"^(?:import\b|export\b| *//)", joined, re.MULTILINE)


def test_no_selector_looks_at_every_token_that_is_written() -> None:
    """One with `:has` does if it starts from what contains tokens, or if any element matches its argument."""
    css = re.sub(r"/\*.*?\*/", "", (ASSETS / "ui" / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    for anchor, argument in re.findall(r"([^\s>~+,{}()]*):has\(((?:[^()]|\([^()]*\))*)\)", css):
        assert not re.search(r"^(?:html|body)|\.(?:eft|stage|columns|pane|text|gradio-container)\b", anchor)
        for compound in re.split(r"\s*[\s>~+,]\s*", argument.strip(" >+~")):
            assert re.match(r"[\w.#\[]", compound), f"{anchor}:has({argument})"


def test_no_text_of_several_lines_has_a_line_that_would_be_left_out_as_a_comment() -> None:
    for path in {path for page in [*SAVED, PHONE] for path in modules_of(page)}:
        for template in re.findall(r"`[^`]*`", path.read_text(encoding="utf-8")):
            assert not re.search(r"^ *//", template, re.MULTILINE), f"{path.name}: {template}"


@pytest.mark.parametrize("line", ['import x from "./b.js";', "export default 1;", 'export * from "./b.js";'])
def test_other_forms_of_import_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.js").write_text(line + "\n")
    with pytest.raises(BundleError, match="a.js"):
        bundle(tmp_path / "a.js")
