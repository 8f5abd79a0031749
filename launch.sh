#!/usr/bin/env bash
# Sets itself up, then runs an experiment of this project:
#   ./launch.sh                             all experiments; sets nothing up
#   ./launch.sh low_label --method=denoise  experiments/low_label.py, in .venv
#   ./launch.sh low_label --help            what it does, its flags
#   ./launch.sh benchmarks.low_label        a module by its full name
#   ./launch.sh test [pytest arguments]     the tests
#   ./launch.sh docs                        the site, in docs/_build/html
#   ./launch.sh --extras=bench,tfds NAME    with these extras of pyproject.toml,
#                                           which are kept once installed
#   ./launch.sh --processes=2 NAME          in two processes as one program
# Needs Python >= 3.11 (PYTHON=... names one) and, at first, a package index.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${SSLX_VENV:-$here/.venv}

fail() { echo "launch.sh: $*" >&2; exit 2; }

extras="" processes=""
while [[ ${1:-} == -* ]]; do
  case $1 in
    --extras=*) extras=${1#--extras=} ;;
    --processes=*) processes=${1#--processes=} ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option $1; usage: ./launch.sh [--extras=a,b] [--processes=N] NAME|test|docs [arguments]; alone it lists all" ;;
  esac
  shift
done

find_python() {  # with these modules
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3.14 python3 python; do
    if "$candidate" -c "import sys, $1; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  fail "no Python >= 3.11 with venv found; install one (Debian: apt install python3 python3-venv) or set PYTHON=/path/to/python"
}

# The list of experiments, or which of them a wrong name may mean: with nothing installed.
list() {
  local python=$venv/bin/python
  [[ -x $python ]] || python=$(find_python ast) || exit 2
  PYTHONPATH=$here exec "$python" -S -P -m experiments "$@"
}

asked=${1:-experiments}; shift || true
module=$asked
[[ $module != experiments ]] || list "$@"
file=$here/${module//.//}
if [[ $module != *.* && $module != test && $module != docs ]]; then  # low_label is experiments.low_label
  file=$here/experiments/$module
  module=experiments.$module
fi
case $module in
  */* | *.py) list "$asked" ;;
  experiments.* | benchmarks.*) [[ -f $file.py || -f $file/__main__.py ]] || list "$asked" ;;
esac
case $module in
  test) extras=${extras:+$extras,}test ;;
  docs) extras=${extras:+$extras,}docs ;;
  benchmarks.train_step | benchmarks.words) extras=${extras:+$extras,}bench ;;
  benchmarks.simclr | benchmarks.augment)  # peers that bring a PyTorch of their own
    extras=${extras:+$extras,}lightly
    venv=${SSLX_VENV:-$here/.venv-lightly} ;;
  experiments.export)
    extras=${extras:+$extras,}export
    for argument in "$@"; do
      if [[ $argument == --format=*onnx* ]]; then  # jax2onnx wants an older orbax-checkpoint than others
        extras=$extras,onnx
        venv=${SSLX_VENV:-$here/.venv-onnx}
      fi
    done ;;
esac

# The stamp holds pyproject.toml's checksum and the extras installed so far; nothing changed, nothing to do.
setup() {
  local stamp=$venv/.sslx-stamp wanted have=""
  local sum; sum=$(cksum < "$here/pyproject.toml")
  [[ -f $stamp && $(head -n 1 "$stamp") == "$sum" ]] && have=$(sed -n 2p "$stamp")
  wanted=$(tr ',' '\n' <<< "$extras,$have" | sed '/^$/d' | sort -u | paste -sd, -)
  [[ -f $stamp && $(head -n 1 "$stamp") == "$sum" && $wanted == "$have" ]] && return
  for extra in ${wanted//,/ }; do
    grep -qE "^$extra = \[" "$here/pyproject.toml" || fail "--extras: pyproject.toml has no extra called '$extra'; it has $(sed -n '/^\[project.optional-dependencies\]/,/^\[tool/s/^\([a-z0-9]*\) = \[.*/\1/p' "$here/pyproject.toml" | paste -sd' ' -)"
  done
  echo "launch.sh: installing sslx${wanted:+[$wanted]} into $venv (once, a minute or two)" >&2
  if [[ ! -x $venv/bin/python ]]; then
    local python; python=$(find_python "venv, ensurepip")
    "$python" -m venv "$venv" || { rm -rf "$venv"; fail "could not make $venv; is the disk full, or python3-venv missing?"; }
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$here${wanted:+[$wanted]}" >&2 \
    || fail "installation failed (see above); run the same command again when the package index can be reached"
  printf '%s\n%s\n' "$sum" "$wanted" > "$stamp"
}

if command -v flock > /dev/null; then  # two first calls at once: the second waits
  exec 9> "$here/.launch.lock" && flock 9 && setup && exec 9>&-
else
  setup
fi

# Large temporaries come from huge pages instead of being mapped and cleared at every step (glibc >= 2.35).
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}

if [[ $module == test ]]; then
  cd "$here"
  # Two processes: most of the time is compilation, on one core each (tests/conftest.py says what stays together).
  exec "$venv/bin/python" -m pytest -n 2 --dist loadgroup "$@"
fi
if [[ $module == docs ]]; then
  cd "$here"
  export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
  "$venv/bin/python" docs/pages.py
  # Every warning is an error, told at the end. A page's source is always newer than the last build's: all are built anew.
  exec "$venv/bin/python" -m sphinx --quiet --fail-on-warning --keep-going --fresh-env "$@" -c docs docs/_build/source docs/_build/html
fi
# benchmarks/ is no package of the installation; our folder goes on the path, behind nothing of the caller's.
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
if [[ -n $processes ]]; then
  exec "$venv/bin/python" -P "$here/launchers/local.py" "$processes" -m "$module" "$@"
fi
exec "$venv/bin/python" -P -m "$module" "$@"
