# SPDX-License-Identifier: Apache-2.0
# The host's side of networks. To be sourced before lib.sh: the test starts again in a network and a file tree of its own, so that it
# leaves nothing behind.
# shellcheck disable=SC2154 # $work is that one's, $megabytes the test's
[[ ${OWN_NETWORK:-} ]] || exec env OWN_NETWORK=yes unshare --net --mount bash "$0"
mount -t sysfs sysfs /sys || exit
ip link set lo up || exit

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

# The host's default route, which passt wants to have, and which leads nowhere.
make_way_out() {
  ip link add out0 type veth peer name far0
  ip link set far0 up
  ip address add 192.0.2.2/24 dev out0
  ip address add fd00::2/64 dev out0 nodad
  ip link set out0 up
  ip route add default via 192.0.2.1
  ip -6 route add default via fd00::1 dev out0
}

# macvtap_device NAME: makes and prints its character device, with a name that nobody else has.
macvtap_device() {
  mountpoint -q /mnt || mount -t tmpfs tmpfs /mnt
  [[ -e /mnt/$1 ]] || mknod "/mnt/$1" c $(tr : ' ' <"$(echo "/sys/class/net/$1/macvtap/"*/dev)")
  echo "/mnt/$1"
}
