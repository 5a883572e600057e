# What nix/ reads from options that it does not define itself.
{ lib, ... }:
{
  options = {
    nix.package = lib.mkOption { default = "/pkgs/nix"; };
    systemd.package = lib.mkOption { default = "/pkgs/systemd"; };
    system.build.toplevel = lib.mkOption { default = "/pkgs/toplevel"; };
  };
}
