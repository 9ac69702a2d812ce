# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts here and by tests/: messages, packages, the cache, kernel modules. To be sourced.
# Standard output belongs to results; everything else goes to standard error.

set -euo pipefail
shopt -s inherit_errexit
export PATH="$PATH:/usr/sbin:/sbin"

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest_images=$repository/guest-images
guest_cache=${UVMM_GUEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/uvmm-guest-images}
export UVMM_GUEST_CACHE=$guest_cache  # for the scripts that this one starts, whatever it does to the variables

# What kernels and images are made with, and what builds uvmm, as need_packages takes it.
image_packages=(mkfs.erofs:erofs-utils cpio:cpio modprobe:kmod xz:xz-utils)
build_packages=(
  g++:g++ cmake:cmake ninja:ninja-build
  /usr/include/liburing.h:liburing-dev /usr/include/fmt/core.h:libfmt-dev /usr/include/CLI/CLI.hpp:libcli11-dev
  /usr/include/boost/beast/http/parser.hpp:libboost-dev /usr/include/toml++/toml.h:libtomlplusplus-dev /usr/include/nlohmann/json.hpp:nlohmann-json3-dev
  /usr/include/sha256.h:libmd-dev /usr/include/zlib.h:zlib1g-dev /usr/include/lzma.h:liblzma-dev
  /usr/include/zstd.h:libzstd-dev /usr/include/lz4frame.h:liblz4-dev /usr/include/bzlib.h:libbz2-dev
  /usr/include/lzo/lzo1x.h:liblzo2-dev
)
test_packages=(
  /usr/include/catch2/catch.hpp:catch2 iasl:acpica-tools python3:python3 fio:fio mkfs.ext4:e2fsprogs
  xz:xz-utils bzip2:bzip2 lzop:lzop lz4:lz4 zstd:zstd mkfs.erofs:erofs-utils mksquashfs:squashfs-tools mkfs.xfs:xfsprogs
  mkfs.btrfs:btrfs-progs dmidecode:dmidecode ip:iproute2 ethtool:ethtool iperf3:iperf3 curl:curl passt:passt dropbear:dropbear-bin ssh:openssh-client
  git:git sqlite3:sqlite3 make:make rsync:rsync file:file /usr/lib/python3/dist-packages/jsonschema:python3-jsonschema
  nix-instantiate:nix-bin pkg-config:pkgconf
)

fuzz_packages=(
  clang++-19:clang-19 /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a:libclang-rt-19-dev
)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# --- packages

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n true || die "this needs root: $*"; sudo -n "$@"; fi
}

# One apt at a time among the scripts here; others on the machine (its daily update) are waited for.
apt_quietly() {
  local tries=30
  (
    exec {lock}>"${TMPDIR:-/tmp}/.uvmm-apt.lock"
    flock "$lock"
    until as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root "$@" >&2; do
      { [[ $1 == update ]] && ((--tries)); } || exit 1
      sleep 2
    done
  )
}

# need_packages COMMAND-OR-FILE:PACKAGE...: installs the packages whose command or file is missing.
need_packages() {
  local item missing=()
  for item; do
    case $item in
      /*) [[ -e ${item%:*} ]] || missing+=("${item##*:}") ;;
      *) command -v "${item%:*}" >/dev/null || missing+=("${item##*:}") ;;
    esac
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  local log
  log=$(mktemp)
  # The lists of packages may be absent or old: fetch them only if what is there does not do.
  if ! apt_quietly install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 &&
     ! { apt_quietly update && apt_quietly install -y --no-install-recommends "${missing[@]}"; } >>"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "cannot install ${missing[*]}"
  fi
  rm -f "$log"
}

# debian_package REGEX DIRECTORY: unpacks the newest package whose name matches; nothing is installed.
debian_package() {
  mkdir -p "$2"
  (
    cd "$2"
    # The lists of packages may be absent or older than the archive.
    download_newest "$1" 2>/dev/null || { apt_quietly update; download_newest "$1"; } || die "cannot download a package $1"
    dpkg -x ./*.deb .
    rm ./*.deb
  ) || exit
}

download_newest() {
  local name
  name=$(newest_package "$1")
  [[ -n $name ]] || return 1
  say "downloading $name"
  apt_quietly download "$name"
}

newest_package() {
  apt-cache search --names-only "^$1\$" | cut -d' ' -f1 | LC_ALL=C sort -V | tail -n 1
}

# --- the cache

# cached NAME KEY BUILDER [ARG...]: prints the path of the artefact that BUILDER ARG... PATH makes, making it if no
# earlier run with the same KEY has. KEY is text or the names of files, one a line: whatever the artefact depends on.
# It appears under its name only when it is whole, and only one process makes it.
cached() {
  local name=$1 path
  path=$(cached_path "$1" "$2")
  shift 2
  if [[ ! -e $path ]]; then
    mkdir -p "$guest_cache"
    (
      exec {lock}>"$guest_cache/.$name.lock"
      flock "$lock"
      [[ ! -e $path ]] || exit 0
      work=$(mktemp -d "$guest_cache/.$name.XXXXXX")
      trap 'rm -rf "$work"' EXIT
      "$@" "$work/made" >&2 || exit  # by hand, since a caller's condition turns errexit off
      mv -T "$work/made" "$path"
      # Artefacts of older scripts go when nobody has used them for a month.
      find "$guest_cache" -mindepth 1 -maxdepth 1 \( -name "$name-*" -o -name ".$name.??????" \) -mtime +30 -exec rm -rf {} +
    ) || exit
  fi
  touch -c "$path"
  printf '%s\n' "$path"
}

# cached_path NAME KEY: where that artefact is, if it is there.
cached_path() {
  local line
  while IFS= read -r line; do
    if [[ -f $line ]]; then sha256sum <"$line"; else printf '%s\n' "$line"; fi
  done <<<"$2" | sha256sum | { read -r line _; echo "$guest_cache/$1-${line::16}"; }
}

# --- builds of uvmm

# One build in build/ at a time, between these two.
lock_builds() {
  mkdir -p "$repository/build"
  exec {build_lock}>"$repository/build/.lock"
  flock "$build_lock"
}
unlock_builds() { exec {build_lock}>&-; }

# Builds the fuzz targets in build/fuzz; locked.
build_fuzz_targets() {
  CC=clang-19 CXX=clang++-19 cmake -S "$repository" -B "$repository/build/fuzz" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
    -DUVMM_SANITIZE=address,undefined,fuzzer-no-link -DUVMM_TESTS=fuzz
  cmake --build "$repository/build/fuzz" --target fuzz_targets
}

# --- programs for initial file systems

# busybox: prints the path of a static busybox.
busybox() {
  local tree
  tree=$(cached busybox busybox-static debian_package busybox-static)
  echo "$tree/bin/busybox"
}

# copy_program PROGRAM ROOT: copies a program of this machine and the libraries it needs to the same paths under ROOT.
copy_program() {
  local program file
  program=$(command -v "$1") || die "no such program: $1"
  while read -r file; do
    mkdir -p "$2${file%/*}"
    cp -L "$file" "$2$file"
  done < <(program_files "$program")
}

# program_files PROGRAM: the program's path and those of the libraries that ldd names.
program_files() {
  echo "$1"
  { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' || true
}

# --- kernel modules

# copy_modules KERNELDIR ROOT MODULE...: copies modules, uncompressed, with those they depend on to ROOT/modules and prints
# their file names in the order to load them. A module that is built in, or that this kernel lacks, is left out.
copy_modules() {
  local kernel=$1 root=$2 module file name
  local -A seen=()
  shift 2
  mkdir -p "$root/modules"
  for module; do
    while read -r file; do
      name=${file##*/}
      name=${name%%.ko*}.ko
      [[ -z ${seen[$name]:-} ]] || continue
      seen[$name]=1
      case $file in
        *.xz) xz -dc "$file" >"$root/modules/$name" ;;
        *) cp "$file" "$root/modules/$name" ;;
      esac
      echo "$name"
    done < <(modprobe -S "$(kernel_release "$kernel")" -d "$kernel" --show-depends "$module" 2>/dev/null |
             sed -n 's/^insmod \([^ ]*\).*/\1/p')
  done
}

kernel_release() { ls "$1/lib/modules"; }

# pack_initrd ROOT FILE: an initrd of the files under ROOT. Not compressed: it is read from a page cache, and unpacking
# takes the guest longer than reading.
pack_initrd() {
  (cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z | cpio --null --create --format=newc --owner=0:0 --quiet) >"$2"
}
