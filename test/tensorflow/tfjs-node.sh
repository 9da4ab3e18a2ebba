#!/bin/sh
# Makes a working @tensorflow/tfjs-node in a folder of its own, also where the bucket that its install script downloads
# from cannot be reached: TensorFlow's libraries and headers come out of a tensorflow-cpu wheel (pip), the small native
# addon is compiled from the package's own sources. The tests of the native path use it; without it they are skipped.
#
#   test/tensorflow/tfjs-node.sh [FOLDER]
#
# FOLDER gets node_modules with the package. Default: $WINDJAMMER_TFJS_NODE, else
# ${XDG_CACHE_HOME:-~/.cache}/windjammer-test/tfjs-node, where the tests look too. 1 GB; made once, then 2 s.
# TENSORFLOW_WHEEL: a wheel to take the libraries from, in place of what pip finds.
set -eu

version=4.22.0
folder=${1:-${WINDJAMMER_TFJS_NODE:-${XDG_CACHE_HOME:-$HOME/.cache}/windjammer-test/tfjs-node}}
package=$folder/node_modules/@tensorflow/tfjs-node

say() { printf 'tfjs-node: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Node 24 has no util.isNullOrUndefined any more, which every operation calls.
works() {
  [ -d "$package" ] && TF_CPP_MIN_LOG_LEVEL=3 node -e '
    require("node:util").isNullOrUndefined = (value) => value == null;
    const tf = require(process.argv[1]);
    process.exitCode = tf.matMul(tf.ones([2, 3]), tf.ones([3, 2])).dataSync()[0] === 3 ? 0 : 1;
  ' "$package" >/dev/null 2>&1
}

if works; then say "works already: $folder"; exit 0; fi
case "$(uname -s)" in Linux) ;; *) die "only for Linux; elsewhere run npm install @tensorflow/tfjs-node in $folder" ;; esac
for tool in node npm c++ python3; do command -v "$tool" >/dev/null || die "needs $tool"; done

mkdir -p "$folder"
say "installing @tensorflow/tfjs-node@$version without its install script"
printf '{"private":true}\n' > "$folder/package.json"
# node-api-headers: what an addon includes of Node, which the npm package "node" lacks.
npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error \
  "@tensorflow/tfjs-node@$version" node-api-headers@1.9.0 >/dev/null || die "npm could not install it"

wheel=${TENSORFLOW_WHEEL:-}
if [ -z "$wheel" ]; then
  say "fetching the tensorflow-cpu wheel with pip"
  rm -rf "$folder/wheel"; mkdir "$folder/wheel"
  # A wheel for any Python does: only its libraries are used.
  python3 -m pip download -q --retries 0 --no-deps -d "$folder/wheel" tensorflow-cpu >/dev/null 2>&1 ||
  python3 -m pip download -q --retries 0 --no-deps -d "$folder/wheel" --only-binary=:all: --implementation cp \
    --python-version 3.11 --abi cp311 --platform "manylinux_2_27_$(uname -m)" tensorflow-cpu >/dev/null 2>&1 ||
    die "pip found no tensorflow-cpu wheel; name one with TENSORFLOW_WHEEL"
  wheel=$(ls "$folder"/wheel/*.whl | head -n 1)
fi

say "taking libraries and headers out of $(basename "$wheel")"
rm -rf "$package/deps"
python3 - "$wheel" "$package/deps" <<'PY'
import os, re, shutil, sys, zipfile

wheel, out = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
names = set(wheel.namelist())

def extract(name, to):
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with wheel.open(name) as source, open(to, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)

# The linker and the addon look for two names; the wheel has them under others.
for library, alias in (("libtensorflow_cc.so.2", "libtensorflow.so"), ("libtensorflow_framework.so.2", "libtensorflow_framework.so")):
    if f"tensorflow/{library}" not in names:
        sys.exit(f"the wheel has no {library}")
    extract(f"tensorflow/{library}", f"{out}/lib/{library}")
    os.symlink(library, f"{out}/lib/{alias}")
    os.symlink(library, f"{out}/lib/{alias}.2.9.1")

todo, done = ["tensorflow/c/c_api.h", "tensorflow/c/eager/c_api.h"], set()
while todo:
    header = todo.pop()
    source = f"tensorflow/include/{header}"
    if header in done or source not in names:
        continue
    done.add(header)
    extract(source, f"{out}/include/{header}")
    todo += re.findall(r'#\s*include\s+"([^"]+)"', wheel.read(source).decode("utf-8", "replace"))

# The addon asks for this header where TensorFlow 2.9 had it.
moved = "tensorflow/core/platform/ctstring_internal.h"
if moved not in done:
    path = f"{out}/include/{moved}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write('#pragma once\n#include "tsl/platform/ctstring_internal.h"\n')
PY
rm -rf "$folder/wheel"
# Symbol tables: 200 MB.
! command -v strip >/dev/null || strip --strip-unneeded "$package"/deps/lib/*.so.2 || say "strip failed; going on"

say "compiling the addon"
mkdir -p "$package/lib/napi-v8"
c++ -O2 -std=c++17 -shared -fPIC -w -DNAPI_VERSION=8 -DNODE_GYP_MODULE_NAME=tfjs_binding -DBUILDING_NODE_EXTENSION \
  -I"$package" -I"$package/deps/include" -I"$folder/node_modules/node-api-headers/include" \
  "$package/binding/tfjs_backend.cc" "$package/binding/tfjs_binding.cc" \
  -L"$package/deps/lib" -ltensorflow -ltensorflow_framework '-Wl,-rpath,$ORIGIN/../../deps/lib' \
  -o "$package/lib/napi-v8/tfjs_binding.node" || die "the addon did not compile"

works || die "compiled, but it does not load"
say "works: $folder"
