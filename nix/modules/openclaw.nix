# The OpenClaw gateway: its user, its package, and who may use them. How it is set
# up is in ../home-manager/openclaw.nix, its secret in sops.nix.
# `vps.openclaw.enable = false` leaves all of it out, secret included.
{
  config,
  lib,
  nix-openclaw,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.vps.openclaw;
in
{
  options.vps.openclaw = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the server runs OpenClaw.";
    };

    sshKeys = mkOption {
      type = types.listOf types.str;
      # For a tunnel to the gateway, say. These keys open nothing else; those of
      # `vps.admins` are let in as well.
      default = [ ];
      description = "SSH public keys that may log in as the user openclaw.";
    };
  };

  config = lib.mkIf cfg.enable {
    # Without a password, and not in "wheel": it cannot use sudo.
    users.users.openclaw = {
      isNormalUser = true;
      description = "OpenClaw gateway";
      # Its services start at boot. Without this they would wait for a login.
      linger = true;
      openssh.authorizedKeys.keys = config.vps.admins ++ cfg.sshKeys;
    };
    services.openssh.settings.AllowUsers = [ "openclaw" ];

    # The provider's metadata service may hand out what the server was created
    # with, and needs no password. No program of a user has to ask it. (A user's
    # own service manager is not allowed to filter addresses.)
    systemd.slices."user-" = {
      overrideStrategy = "asDropin"; # there is no slice of this name, only of each user
      sliceConfig.IPAddressDeny = [
        "169.254.169.254"
        "fd00:ec2::254"
      ];
    };

    # Home Manager puts things in place as the user, which asks the Nix daemon.
    nix.settings.allowed-users = [ "openclaw" ];

    nixpkgs.overlays = [ nix-openclaw.overlays.default ];
    home-manager.users.openclaw.imports = [
      nix-openclaw.homeManagerModules.openclaw
      ../home-manager/openclaw.nix
    ];
  };
}
