#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dsdt.sh [FILE]: compiles dsdt.asl with iasl and writes it as the elements of a C array to FILE (dsdt_aml.inc).
# To be run after a change to dsdt.asl.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$PATH:/usr/sbin iasl -p "$work/dsdt" "$here/dsdt.asl" >"$work/log" || { cat "$work/log" >&2; exit 1; }
{
  echo '// Made by dsdt.sh from dsdt.asl. Do not edit.'
  od -An -v -tx1 "$work/dsdt.aml" | sed 's/ \(..\)/ 0x\1,/g; s/^ //'
} >"${1:-$here/dsdt_aml.inc}"
