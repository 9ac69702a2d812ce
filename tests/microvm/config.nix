# SPDX-License-Identifier: Apache-2.0
# The runner's answer for a configuration as microvm.nix hands it over: its defaults, changed by `options`, with files in `directory`.
{ directory, options ? { } }:

let
  defaults = {
    hostName = "vm";
    uvmm = { package = directory; extraArgs = [ ]; };
    kernel.out = directory;
    initrdPath = "${directory}/initrd";
    kernelParams = [ "root=fstab" "init=/init" ];
    vcpu = 1;
    mem = 512;
    hugepageMem = false;
    hotplugMem = 0;
    hotpluggedMem = 0;
    balloon = false;
    initialBalloonMem = 0;
    deflateOnOOM = true;
    cpu = null;
    user = null;
    graphics.enable = false;
    devices = [ ];
    machineId = null;
    socket = "vm.sock";
    vsock.cid = null;
    credentialFiles = { };
    storeOnDisk = true;
    storeDisk = "${directory}/store.erofs";
    volumes = [ ];
    shares = [ ];
    interfaces = [ ];
    forwardPorts = [ ];
  };
in
import ../../guest-images/microvm.nix/uvmm.nix {
  pkgs = { lib = import ./lib.nix; util-linux = "/usr"; };
  microvmConfig = defaults // options;
  macvtapFds.macvtap0 = [ 5 6 ];
  linuxTarget = "bzImage";
  withDriveLetters = null;
  extractOptValues = null;
  extractParamValue = null;
}
