# Options of NixOS with their real names and defaults, as far as configurations or
# facts read them.
{ lib, ... }:
{
  options = {
    nix.package = lib.mkOption { default = "/pkgs/nix"; };
    nixpkgs.hostPlatform = lib.mkOption { default = "x86_64-linux"; };
    system = {
      build.nixos-rebuild = lib.mkOption { default = "/pkgs/nixos-rebuild"; };
      build.toplevel = lib.mkOption { default = { type = "derivation"; outPath = "/pkgs/toplevel"; drvPath = "/pkgs/toplevel.drv"; }; };
      nixos.release = lib.mkOption { default = "26.05"; };
      stateVersion = lib.mkOption { default = "26.05"; };
    };
    systemd.package = lib.mkOption { default = "/pkgs/systemd"; };
    services.openssh = {
      enable = lib.mkEnableOption "sshd";
      extraConfig = lib.mkOption {
        type = lib.types.lines;
        default = "";
      };
      listenAddresses = lib.mkOption { default = [ ]; };
      openFirewall = lib.mkOption { default = true; };
      package = lib.mkOption { default = "/pkgs/openssh"; };
      ports = lib.mkOption { default = [ 22 ]; };
      startWhenNeeded = lib.mkOption { default = false; };
    };
  };
  config.services.openssh.authorizedKeysFiles = [ "/etc/ssh/authorized_keys.d/%u" ];
}
