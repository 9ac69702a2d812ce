# SPDX-License-Identifier: Apache-2.0
# The job disk: how a command goes into the guest of root-erofs and its exit status comes out, so that the console has
# nothing but the command's output. To be sourced.
#
# A disk with the serial number uvmm-job. The guest writes "status N\n" to sector 0; from sector 1 on there is a shell script,
# padded with NULs.

# make_job_disk FILE COMMAND [ARGUMENT...]
make_job_disk() {
  local file=$1 bytes
  shift
  {
    head -c 512 /dev/zero
    job_quote "$@"
  } >"$file"
  bytes=$(stat -c %s "$file")
  truncate -s $(((bytes + 4095) / 4096 * 4096)) "$file"
}

# Words as a POSIX shell reads them (printf %q writes what only bash does).
job_quote() {
  local word
  for word; do
    printf "'%s' " "${word//\'/\'\\\'\'}"
  done
  echo
}

# read_job_status FILE: prints the command's status; fails if the guest has not written one.
read_job_status() {
  local word status
  read -r word status < <(head -c 512 "$1" | tr -d '\0') || true
  [[ ${word:-} == status && ${status:-} =~ ^[0-9]+$ ]] || return 1
  echo "$status"
}
