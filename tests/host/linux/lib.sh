# SPDX-License-Identifier: Apache-2.0
# For the tests here: guests that run one command, and complaints. To be sourced; runs in the test host.

source "$(dirname "${BASH_SOURCE[0]}")/../../../guest-images/job.sh"

set -euo pipefail
work=$(mktemp -d /dev/shm/uvmm-test.XXXXXX)
trap finish EXIT
# What a test leaves running ends with it; of one that fails the guest's last words are shown. (A trap whose command fails would make that the test's status.)
finish() {
  local status=$?
  ((status == 0)) || tail -n 60 "$work"/{guest,output} >&2 2>/dev/null || true
  kill $(jobs -p) 2>/dev/null || true
  [[ -z ${kvm_mode:-} ]] || chmod "$kvm_mode" /dev/kvm
  rm -rf "$work"
}

quiet='quiet loglevel=1'  # a panic is heard, and nothing else
debian=(--kernel "$DEBIAN_KERNEL/vmlinuz" --initrd "$DEBIAN_INITRD")
custom=(--kernel "$CUSTOM_KERNEL/bzImage")

launcher=()  # a command that runs the one that it is given, uvmm, for guest()

# guest UVMM-OPTION... -- COMMAND...: boots the root image and runs the command in the guest; its output is ours, its status the
# function's. A guest that does not come to an end by itself, in $guest_seconds (120), is a failure of the test.
guest() {
  local options=() status=0
  while [[ $1 != -- ]]; do options+=("$1"); shift; done
  shift
  make_job_disk "$work/job" "$@"
  timeout "${guest_seconds:-120}" "${launcher[@]}" "$UVMM" --disk "${root:-$ROOT},root" "${options[@]}" --cmdline "$quiet" \
    --disk "$work/job,serial=uvmm-job" </dev/null || status=$?
  ((status == 0)) || fail "uvmm ended with status $status"
  read_job_status "$work/job" >"$work/status" || fail "the guest ended before its command"
  return "$(<"$work/status")"
}

# From here on uvmm is run as $user, an ordinary user without any privilege, who has kernel and root in $work/own.
become_ordinary_user() {
  user=1234
  chmod 755 "$work"
  mkdir "$work/own" "$work/cache"
  cp "$CUSTOM_KERNEL/bzImage" "$ROOT" "$work/own/"
  chown -R "$user:$user" "$work/own" "$work/cache"
  kvm_mode=$(stat -c %a /dev/kvm)
  chmod o+rw /dev/kvm
  cat >"$work/own/uvmm" <<END
#!/bin/bash
chown $user "$work/job"
XDG_CACHE_HOME=$work/cache exec setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all --bounding-set=-all "$UVMM" "\$@"
END
  chmod 755 "$work/own/uvmm"
  custom=(--kernel "$work/own/bzImage") root=$work/own/${ROOT##*/} UVMM=$work/own/uvmm
}

# status COMMAND...: prints the command's exit status; its output goes to standard error.
status() {
  local status=0
  "$@" >&2 || status=$?
  echo "$status"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect WHAT ACTUAL EXPECTED
expect() {
  [[ $2 == "$3" ]] || fail "$1: got '$2', not '$3'"
  echo "ok: $1: $2"
}
