# SPDX-License-Identifier: Apache-2.0
# What the runner needs of nixpkgs' lib, so that the test needs no nixpkgs. Each function as nixpkgs documents it.
rec {
  inherit (builtins) attrNames concatMap concatStringsSep filter replaceStrings;
  concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
  escapeShellArg = argument: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString argument)}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  getExe = package: "${package}/bin/uvmm";
  hasInfix = infix: text: replaceStrings [ infix ] [ "" ] text != text;
  optionals = condition: list: if condition then list else [ ];
  throwIf = condition: message: if condition then throw message else result: result;
}
