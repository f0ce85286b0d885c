#!/bin/sh
# install.sh LIST...: makes the environment VENV (.venv) if it is not there, and installs pinned lists into it; with uv where
# that is on the PATH, else with pip. OPTIONS are for either.
set -eu
venv=${VENV:-.venv}
options=${OPTIONS:-}
python=$(sh conf/setup/check.sh)
works() { "$venv"/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

lists=''
for list; do lists="$lists -r $list"; done

if command -v uv >/dev/null; then
    works || uv venv --clear --python "$python" "$venv"
    # shellcheck disable=SC2086 # several words are meant
    uv pip install --python "$venv"/bin/python $options $lists
else
    works || "$python" -m venv --clear "$venv"
    # An environment that uv made has no pip.
    "$venv"/bin/python -m pip --version >/dev/null 2>&1 || "$venv"/bin/python -m ensurepip >/dev/null
    echo "installing $* with pip, which may take some minutes"
    # shellcheck disable=SC2086
    "$venv"/bin/python -m pip install --quiet --disable-pip-version-check $options $lists
fi
