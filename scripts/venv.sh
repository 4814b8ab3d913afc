# Sourced by the scripts beside it, with $root set. `set_up_venv run|dev|lowest|bench|pipecat|python`
# makes or reuses a virtual environment and leaves its folder in $venv. For `python` that is one of $PYTHON's version.
# shellcheck shell=sh disable=SC2034,SC2154  # $venv is read, and $root set, by that script

# What the caller's shell may hold and a fresh virtual environment must not see.
unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP VIRTUAL_ENV CDPATH
umask u+rwx
if [ -n "${TMPDIR-}" ] && ! { [ -d "$TMPDIR" ] && [ -w "$TMPDIR" ]; }; then
    unset TMPDIR
fi
cache=${XDG_CACHE_HOME:-${HOME-}/.cache}
if ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
    export PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
fi

python_probe='
import sys
from importlib.util import find_spec
if sys.version_info >= (3, 11):
    print("good" if find_spec("venv") and find_spec("ensurepip") else "bare")
'

# Leaves in $python the first Python that is new enough and can make a virtual environment.
find_python() {
    if [ -n "${PYTHON-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 python "$root/.venv/bin/python"
    fi
    bare=
    for python; do
        case $("$python" -c "$python_probe" 2>/dev/null) in
            good) return ;;
            bare) bare=${bare:-$(command -v "$python")} ;;
        esac
    done
    if [ -n "$bare" ]; then
        echo "$bare cannot make a virtual environment: its venv or ensurepip module is missing." >&2
        echo "On Debian and Ubuntu install the package python3-venv, or set PYTHON to another Python." >&2
    elif [ -n "${PYTHON-}" ]; then
        echo "PYTHON=$PYTHON is not a Python 3.11 or newer: set it to one, or unset it." >&2
    else
        echo "botvisor needs Python 3.11 or newer, and none is on the PATH." >&2
        echo "Install one, or set PYTHON to its path: PYTHON=/opt/python3.12/bin/python3 $0" >&2
    fi
    exit 1
}

set_up_venv() {
    find_python
    "$python" "$root/scripts/setup_venv.py" "$1" || exit
    case $1 in
        lowest | bench | pipecat) venv=$root/.venv-$1 ;;
        python) venv=$root/.venv-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ;;
        *) venv=$root/.venv ;;
    esac
}
