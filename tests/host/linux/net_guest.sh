# SPDX-License-Identifier: Apache-2.0
# What the guest of `net` does; its shell is busybox's. That script puts its settings in front.

ip() { /usr/sbin/ip "$@"; }  # and not busybox's
failed=0
ring=256
ok() { echo "ok: $*"; }
fail() { echo "FAILED: $*"; failed=1; }
expect() { if [ "$2" = "$3" ]; then ok "$1: $2"; else fail "$1: got '$2', not '$3'"; fi; }
# feature NAME: "on" or "off", as ethtool -k eth0 has it
feature() { ethtool -k eth0 2>/dev/null | sed -n "s/^[[:space:]]*$1: \([a-z]*\).*/\1/p"; }
reaches() { ping -A -c 3 -W "$patience" "$@" >/dev/null || fail "ping $*"; }

# rate WHAT ARGUMENT...: what iperf3 makes of it
rate() {
  what=$1
  shift
  iperf3 -c 10.0.0.1 -t "$seconds" --json "$@" >/tmp/iperf || { cat /tmp/iperf; fail "iperf3 $*"; return; }
  kilobits=$(awk '/"sum_received"|"sum":/ { inside = 1 }
    inside && /bits_per_second/ { gsub(",", ""); rate = $2; inside = 0 } END { printf "%.0f", rate / 1e3 }' /tmp/iperf)
  [ "${kilobits:-0}" -ge 1 ] || { cat /tmp/iperf; fail "$what: nothing went through"; return; }
  ok "$what: $((kilobits / 1000)) Mbit/s"
}
both_ways() {
  title=$1
  shift
  rate "$title, out" "$@"
  rate "$title, in" -R "$@"
}

# --- what the guest sees

expect "the address is DHCP's" "$(ip -4 -o address show eth0 | awk '{ print $4 }')" 10.0.0.2/24
expect "the first tap is the first interface" "$(cat /sys/class/net/eth0/address)" 52:54:00:00:00:01
expect "the second is the second" "$(cat /sys/class/net/eth1/address)" 52:54:00:00:00:02
expect "its MTU" "$(cat /sys/class/net/eth1/mtu)" 9000
expect "the link" "$(cat /sys/class/net/eth0/carrier)" 1
expect "the speed" "$(cat /sys/class/net/eth0/speed)" 10000
for name in rx-checksumming tx-checksumming tcp-segmentation-offload tx-tcp-ecn-segmentation tx-tcp6-segmentation; do
  expect "$name" "$(feature $name)" on
done
for word in 'gso_max_size 65536' 'numtxqueues 4' 'mtu 1500' 'maxmtu 65535' 'parentbus virtio'; do
  if ip -d link show eth0 | grep -q "$word"; then ok "ip -d link: $word"; else fail "no $word in $(ip -d link show eth0)"; fi
done
expect "queue pairs" "$(ethtool -l eth0 2>/dev/null | awk '/Combined/ { print $2 }' | tr '\n' ' ')" "4 $(nproc) "
expect "one pair of the other" "$(ls -d /sys/class/net/eth1/queues/rx-* | wc -l)" 1
rings() { ethtool -g "$1" 2>/dev/null | awk '/^[RT]X:/ { print $2 }' | tr '\n' ' '; }
expect "the rings" "$(rings eth0)" "$ring $ring $ring $ring "
expect "the other's rings" "$(rings eth1)" "1024 1024 1024 1024 "

# --- frames of all kinds

reaches 10.0.0.1
reaches -s 1472 10.0.0.1
ok "ping"
ip address add 10.0.1.2/24 dev eth1
ip link set eth1 up
reaches -s 8972 10.0.1.1
ok "jumbo frames"
ip address add fd00::2/64 dev eth0 nodad
reaches -6 fd00::1
ok "IPv6"
ip link add link eth0 name eth0.7 type vlan id 7
ip address add 10.0.7.2/24 dev eth0.7
ip link set eth0.7 up
reaches 10.0.7.1
reaches -s 1472 10.0.7.1
ok "a VLAN"

curl -s http://10.0.0.1/big | nc 10.0.0.1 5000 || fail "a transfer"
ok "a transfer in both directions at once"

# --- rates, of which none is nothing

for pairs in $pair_counts; do
  ethtool -L eth0 combined "$pairs" || fail "$pairs pairs"
  for flows in $flow_counts; do
    both_ways "TCP, $flows flows, $pairs pairs" -P "$flows"
    both_ways "UDP, $flows flows, $pairs pairs" -P "$flows" -u -b 0 -l 1400
  done
done
for flows in $jumbo_flow_counts; do
  both_ways "TCP, $flows flows, MTU 9000" -c 10.0.1.1 -P "$flows"
  both_ways "UDP, $flows flows, MTU 9000" -c 10.0.1.1 -P "$flows" -u -b 0 -l 8900
done

# offloads NAME on|off...: as a user switches them, each set in both directions. The kernel may decline.
offloads() {
  ethtool -K eth0 "$@" >/dev/null 2>&1
  title="TCP, $*"
  while [ $# -gt 0 ]; do
    case $1 in
      tx) name=tx-checksumming ;;
      sg) name=scatter-gather ;;
      tso) name=tcp-segmentation-offload ;;
      gso) name=generic-segmentation-offload ;;
      gro) name=generic-receive-offload ;;
      *) name=$1 ;;
    esac
    [ "$(feature "$name")" = "$2" ] || fail "$title: $name is $(feature "$name")"
    shift 2
  done
  both_ways "$title"
}
if [ "$offload_sets" = all ]; then
  for gro in on off; do
    offloads tx on tso on rx-gro-hw $gro
    offloads tx on tso off rx-gro-hw $gro
    offloads tx off tso off rx-gro-hw $gro
  done
  offloads tx on sg off tso off rx-gro-hw on gso off gro off
else
  offloads tx off tso off rx-gro-hw off
fi
ethtool -K eth0 tx on sg on gso on gro on tso on rx-gro-hw on >/dev/null 2>&1
expect "offloads are on again" "$(feature tcp-segmentation-offload) $(feature rx-gro-hw)" "on on"

for pairs in 1 4 2; do
  ethtool -L eth0 combined $pairs || fail "$pairs pairs"
  reaches 10.0.0.1
done
ok "pairs are switched off and on"

# The host sends without end; nobody serves the ring for a while. Then everything goes on.
received() { cat /sys/class/net/eth0/statistics/rx_packets; }
now() { awk '{ print int($1 * 100) }' /proc/uptime; }
before=$(received)
nc 10.0.0.1 5001 </dev/null >/dev/null  # which has the host begin
until [ "$(received)" -gt $((before + 500)) ]; do sleep 1; done
ip link set eth0 down
sleep "$starved"
before=$(received)
ip link set eth0 up
from=$(now)
until [ "$(received)" -gt "$before" ] || [ "$(now)" -gt $((from + 100 * patience)) ]; do :; done
took=$((($(now) - from) * 10))
[ "$(received)" -gt "$before" ] || fail "no frame within $patience s after the ring was not served"
reaches 10.0.0.1
ok "the first frame came $took ms after the ring was served again, after $starved s"
exit $failed
