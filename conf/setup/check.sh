#!/bin/sh
# Are Java 17+ and Python 3.11 to 3.13 here? Prints the Python to use; else one sentence on stderr with the command that installs
# what is missing. Downloads nothing.
set -u

# need WHAT FOUND APT DNF BREW: says the sentence and ends.
need() {
    sudo=$([ "$(id -u)" = 0 ] || echo 'sudo ')
    if command -v apt-get >/dev/null; then how="${sudo}apt-get update && ${sudo}apt-get install -y $3"
    elif command -v dnf >/dev/null; then how="${sudo}dnf install -y $4"
    else how="brew install $5"; fi
    echo "Lakescribe needs $1 (found: ${2:-none}); install it with: $how" >&2
    exit 1
}

# first_in_apt PACKAGE...: the first that apt offers here, else the last.
first_in_apt() {
    for package; do apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]' && break; done
    echo "$package"
}

# Spark starts the java of JAVA_HOME if that is set, else the one on the PATH.
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
found=$("$java" -version 2>&1 | sed -nE 's/.* version "(1\.)?([0-9]+).*/\2/p' | head -n 1)
# It also asks for the module jdk.incubator.vector, which cut-down runtimes lack.
if [ "${found:-0}" -lt 17 ] || ! "$java" --add-modules jdk.incubator.vector -version >/dev/null 2>&1; then
    need "a full Java 17 or newer" "${found:-none}${JAVA_HOME:+ in JAVA_HOME, $JAVA_HOME}" \
        "$(first_in_apt openjdk-21-jre-headless openjdk-17-jre-headless)" java-17-openjdk-headless \
        'openjdk@17 && export JAVA_HOME="$(brew --prefix openjdk@17)"'
fi

# uv finds a fitting Python by itself, or brings one.
if command -v uv >/dev/null; then echo '>=3.11,<3.14'; exit; fi

# Versions that every pinned package has a wheel for.
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    case "$version" in
    3.11 | 3.12 | 3.13)
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then echo "$python"; exit; fi
        # Debian and Ubuntu split the venv module off.
        need "Python's venv module" "" "python$version-venv" "python$version" "python@$version" ;;
    esac
    found_python=${found_python:-$version}
done
venv=$(first_in_apt python3.13-venv python3.12-venv python3.11-venv)
need "Python 3.11, 3.12 or 3.13" "${found_python:-}" "${venv%-venv} $venv" python3.12 python@3.12
