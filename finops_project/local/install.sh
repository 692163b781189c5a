#!/bin/sh
# Make .venv and install one lock file into it, unless a stamp says that exactly this was done before.
# The development lock contains the local one, so its stamp counts for both.
set -eu

lock=$1
python=${PYTHON:-python3}

fail() {
    echo "finops: $1" >&2
    exit 1
}

stamp_of() {
    cksum < "$1"
}

is_installed() {
    [ -x .venv/bin/python ] && [ -f ".venv/$1.stamp" ] && [ "$(cat ".venv/$1.stamp")" = "$(stamp_of "$1")" ]
}

if is_installed "$lock" || { [ "$lock" = requirements-local.txt ] && is_installed requirements-dev.txt; }; then
    exit 0
fi

command -v "$python" > /dev/null 2>&1 || fail "Python 3.11 or newer is needed, and $python was not found."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, and $python is $("$python" -V 2>&1): set PYTHON to a newer one."
"$python" -c 'import venv, ensurepip' 2> /dev/null ||
    fail "Python's venv module is missing: install it (on Debian and Ubuntu the package python3-venv)."

if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    echo "finops: creating .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "finops: installing the packages of $lock into .venv (a minute or two the first time)"
rm -f .venv/*.stamp
.venv/bin/python finops_project/local/packages.py "$lock" ||
    fail "The packages of $lock could not be installed: the reason is above, all of pip's words in .venv/install.log."
stamp_of "$lock" > ".venv/$lock.stamp"
