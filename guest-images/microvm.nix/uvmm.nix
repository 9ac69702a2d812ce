# SPDX-License-Identifier: Apache-2.0
# uvmm as a hypervisor of microvm.nix: its lib/runners/uvmm.nix. See README.md for the rest.
{ pkgs, microvmConfig, macvtapFds, linuxTarget, ... }:

let
  inherit (pkgs) lib;
  inherit (microvmConfig)
    balloon cpu credentialFiles deflateOnOOM devices forwardPorts graphics hostName hotplugMem hugepageMem initialBalloonMem
    initrdPath interfaces kernel kernelParams machineId mem shares socket storeDisk storeOnDisk user vcpu volumes vsock;
  uvmm = lib.getExe microvmConfig.uvmm.package;

  refuse = condition: reason: lib.throwIf condition "uvmm: ${reason}";
  supported =
    refuse (cpu != null) "other processors than the host's are not emulated"
    (refuse (graphics.enable or false) "there are no graphics"
    (refuse (devices != [ ]) "devices of the host are not passed through"
    (refuse (user != null) "start it as the user who is to own it, in place of microvm.user"
    (refuse (hotplugMem > 0) "memory is not plugged in later: give it with microvm.mem, and take it back with a balloon"
    true))));

  # FIRST,key=value,key: a comma in a value is written twice.
  value = text: lib.replaceStrings [ "," ] [ ",," ] (toString text);
  withKeys = first: keys: lib.concatStringsSep "," ([ (value first) ] ++ lib.filter (key: key != null) keys);
  flag = name: set: if set then name else null;
  setting = name: text: if text == null then null else "${name}=${value text}";

  # In the VM's directory. `ctl` would take a name without a slash for a VM's.
  control = if lib.hasInfix "/" socket then socket else "./${socket}";

  memory = withKeys "${toString mem}M" [ (flag "hugepages" hugepageMem) (flag "mergeable" (!hugepageMem)) ];
  balloonOption =
    if balloon || initialBalloonMem > 0
    then withKeys "${toString initialBalloonMem}M" [ (flag "no-deflate-on-oom" (!deflateOnOOM)) ]
    else "off";
  disk = { image, imageType ? "raw", readOnly ? false, direct ? false, serial ? null, ... }:
    refuse (imageType != "raw") "volume ${image}: only raw images"
    [ "--disk" (withKeys image [ (flag "ro" readOnly) (flag "direct" direct) (setting "serial" serial) ]) ];
  share = { source, tag, proto, readOnly ? false, cache ? "auto", ... }:
    refuse (proto != "virtiofs") "share ${tag}: set proto = \"virtiofs\"; uvmm serves it by itself"
    [ "--share" (withKeys source [ (setting "tag" tag) (flag "ro" readOnly) (setting "cache" (if cache == "metadata" then "auto" else cache)) ]) ];
  forward = { from, proto, host, guest }:
    refuse (from != "host") "forwarded ports are the host's: the guest reaches the host without"
    "forward=${proto}:${address host.address}:${toString host.port}-${address guest.address}:${toString guest.port}";
  address = text: if lib.hasInfix ":" text then "[${text}]" else text;
  interface = { type, id, mac, ... }: [
    "--net"
    (withKeys
      {
        tap = "tap=${id}";
        macvtap = "fd=${lib.concatMapStringsSep ":" toString macvtapFds.${id}}";
        user = "user";
      }.${type} or (throw "uvmm: interface ${id}: neither tap, macvtap nor user")
      ([ "mac=${mac}" ] ++ lib.optionals (type == "user") (map forward forwardPorts)))
  ];
in
{
  # A tap has as many queue pairs as it was made with.
  tapMultiQueue = vcpu > 1;
  requiresMacvtapAsFds = true;
  supportsNotifySocket = true;

  command = assert supported; lib.escapeShellArgs (
    [
      uvmm
      "--name" hostName
      "--kernel" "${kernel.out}/${linuxTarget}"
      "--initrd" initrdPath
      "--cmdline" (toString kernelParams)
      "--cpus" (toString vcpu)
      "--memory" memory
      "--balloon" balloonOption
    ]
    ++ lib.optionals (machineId != null) [ "--uuid" machineId ]
    ++ lib.optionals (socket != null) [ "--control" control ]
    ++ lib.optionals (vsock.cid != null) [ "--vsock" "${toString vsock.cid},path=notify.vsock" ]
    ++ lib.concatMap (id: [ "--credential" "${id}@${toString credentialFiles.${id}}" ]) (lib.attrNames credentialFiles)
    ++ lib.optionals storeOnDisk (disk { image = toString storeDisk; readOnly = true; })
    ++ lib.concatMap disk volumes
    ++ lib.concatMap share shares
    ++ lib.concatMap interface interfaces
    ++ microvmConfig.uvmm.extraArgs or [ ]
  );

  # SIGTERM is the power button, too; both wait until the VM is gone.
  canShutdown = true;
  shutdownCommand =
    if socket != null
    then "${uvmm} ctl ${lib.escapeShellArg control} stop --wait"
    else ''kill -TERM "$MAINPID"; ${pkgs.util-linux}/bin/waitpid "$MAINPID"'';

  setBalloonScript =
    if socket != null && balloon
    then ''
      ${uvmm} ctl ${lib.escapeShellArg control} balloon "''${SIZE}M" | while read -r key value; do
        [ "$key" != actual_bytes ] || echo $((value / 1048576))
      done
    ''
    else null;
}
