# SPDX-License-Identifier: Apache-2.0
# The host's side of networks. To be sourced after lib.sh.
# shellcheck disable=SC2154 # $work is that one's, $megabytes the test's

# A tap of an ordinary user's, as `ip` makes it: make_tap NAME ADDRESS [FLAG...]
make_tap() {
  local name=$1 address=$2
  shift 2
  ip tuntap add "$name" mode tap "$@"
  ip address add "$address" dev "$name"
  ip link set "$name" up
}

# Answers DHCP on an interface: serve_dhcp INTERFACE FIRST LAST ROUTER
serve_dhcp() {
  local config=$work/udhcpd.$1
  printf 'start %s\nend %s\ninterface %s\nlease_file %s\npidfile %s\nopt subnet 255.255.255.0\nopt router %s\n' \
    "$2" "$3" "$1" "$config.leases" "$config.pid" "$4" >"$config"
  : >"$config.leases"
  # It asks whether someone has an address before it offers that, and would wait for as long as a client does.
  "$BUSYBOX" udhcpd -f -a 1 "$config" 2>/dev/null &
}

# http://ADDRESS:PORT/big has $megabytes; what is sent to port 5000 is kept.
serve_file_and_sink() {
  mkdir -p "$work/www"
  head -c "${megabytes}M" /dev/urandom >"$work/www/big"
  "$BUSYBOX" httpd -f -p "$1" -h "$work/www" &
  # With an input that does not end, or it would end the connection at once.
  mkfifo "$work/endless"
  exec 8<>"$work/endless"
  "$BUSYBOX" nc -l -p 5000 <&8 >"$work/sink" &
  sink=$!
}

compare_file_and_sink() {
  wait "$sink"
  expect "what came back" "$(sha256sum <"$work/sink")" "$(sha256sum <"$work/www/big")"
  echo "ok: $megabytes MiB went out and came back"
}
