# The machine itself: its name, boot loader, users, and what keeps a small
# server healthy.
{
  config,
  lib,
  pkgs,
  modulesPath,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.vps;

  # nixos-upgrade and the recovery below both stay away while a deployment is
  # under way: it holds a lock on this file, which ends with its process, so
  # nothing is ever left locked. No file means that no deployment ever ran.
  noDeploymentRunning = pkgs.writeShellScript "vps-no-deployment-running" ''
    lock=/var/lib/vps/lock
    [ -e "$lock" ] || exit 0
    ${pkgs.util-linux}/bin/flock --nonblock "$lock" ${pkgs.coreutils}/bin/true && exit 0
    echo "a deployment holds $lock: not now"
    exit 1
  '';

  # A commit that a crash interrupted must be finished or undone before
  # anything else changes the system.
  nothingToRecover = pkgs.writeShellScript "vps-nothing-to-recover" ''
    [ -e /var/lib/vps/intent ] || exit 0
    echo "an interrupted deployment waits for recovery: see systemctl status vps-recover"
    exit 1
  '';
in
{
  # Drivers that virtual machines need to find their disk and network.
  imports = [ (modulesPath + "/profiles/qemu-guest.nix") ];

  options.vps = {
    hostName = mkOption {
      type = types.str;
      # The server's own name.
      default = "vps";
      description = "Host name.";
    };

    timeZone = mkOption {
      type = types.str;
      # As in `timedatectl list-timezones`. The nightly upgrade and its reboot
      # go by it.
      default = "UTC";
      description = "Time zone.";
    };

    locale = mkOption {
      type = types.str;
      # Language and formats of messages.
      default = "en_US.UTF-8";
      description = "Locale.";
    };

    ipv6 = mkOption {
      type = types.nullOr types.str;
      # IPv4 comes by DHCP. At Hetzner IPv6 does not: to use it, put one address
      # of the server's /64 here, such as "2001:db8:1:2::1".
      default = null;
      description = "Static IPv6 address, with a prefix of 64 bits and gateway fe80::1.";
    };

    interface = mkOption {
      type = types.str;
      # The network card that `ipv6` belongs to; `ip link` shows its name.
      default = "enp1s0";
      description = "Network interface that gets the static IPv6 address.";
    };
  };

  config = {
    networking.hostName = cfg.hostName;
    time.timeZone = cfg.timeZone;
    i18n.defaultLocale = cfg.locale;

    networking.interfaces = lib.mkIf (cfg.ipv6 != null) {
      ${cfg.interface}.ipv6.addresses = [
        {
          address = cfg.ipv6;
          prefixLength = 64;
        }
      ];
    };
    networking.defaultGateway6 = lib.mkIf (cfg.ipv6 != null) {
      address = "fe80::1";
      interface = cfg.interface;
    };

    # GRUB both ways, because a cloud's firmware is a BIOS on one server and
    # UEFI on the next. "Removable" is the path that every UEFI firmware looks
    # at without having been told, so no setting of the firmware is needed.
    boot.loader.grub = {
      enable = true;
      efiSupport = true;
      efiInstallAsRemovable = true;
      # Each generation in the menu may keep a kernel on the 512 MB of /boot,
      # and the next is copied before the oldest goes. An arm kernel is not
      # compressed: about 80 MB with its initrd, against 40 on x86.
      configurationLimit = if pkgs.stdenv.hostPlatform.isAarch64 then 3 else 5;
    };
    boot.tmp.cleanOnBoot = true;
    services.qemuGuest.enable = true;

    # root administers, openclaw runs the service. Nobody has a password, and
    # openclaw is not in "wheel": it cannot use sudo.
    users.users.openclaw = {
      isNormalUser = true;
      description = "OpenClaw gateway";
      # Its services start at boot. Without this they would wait for a login.
      linger = true;
    };
    security.sudo.execWheelOnly = true;

    # Home Manager does for a user what NixOS does for the machine; what it does
    # for openclaw is in ../home-manager.
    home-manager = {
      useGlobalPkgs = true;
      useUserPackages = true;
      # A file that is in the way is renamed, where otherwise the switch fails.
      backupFileExtension = "before-home-manager";
    };

    nixpkgs.config.allowUnfree = true;

    nix = {
      settings = {
        experimental-features = [
          "nix-command"
          "flakes"
        ];
        # Nix believes its database for ever: what is registered there has to be on
        # the disk, or a power cut in the nightly upgrade leaves empty files. Nix 2.26
        # does so for what it downloads, not for what it builds.
        fsync-store-paths = true;
        # One build at a time: two big ones do not fit into a small memory.
        max-jobs = 1;
        # Free 3 GB of unused store when less than 1 GB is left in a build.
        min-free = 1024 * 1024 * 1024;
        max-free = 3 * 1024 * 1024 * 1024;
      };
      # Old generations go after a month, and with them what only they used.
      gc = {
        automatic = true;
        dates = "weekly";
        options = "--delete-older-than 30d";
      };
      optimise.automatic = true;
      # The flake says what is installed; channels would be a second truth.
      channel.enable = false;
    };

    # Some programs are compiled on the server, which may have 4 GB of memory:
    # compressed memory first, then a file. The decrypted secrets are in
    # neither, they lie in memory that is never swapped.
    zramSwap.enable = true;
    swapDevices = [
      {
        device = "/var/lib/swapfile";
        size = 4096; # MB
      }
    ];

    # The manual of NixOS takes long to build and is on the web.
    documentation.nixos.enable = false;

    # What deployments keep: record, trees, logs. For root alone.
    systemd.tmpfiles.rules = [ "d /var/lib/vps 0700 root root -" ];

    # Finishes or undoes a deployment that a crash or a power cut interrupted in
    # its last step. Every deployment leaves the script for it, so that the two
    # always fit together; without one, or with nothing to recover, nothing runs.
    systemd.services.vps-recover = {
      description = "Finish or undo an interrupted deployment";
      wantedBy = [ "multi-user.target" ];
      after = [ "local-fs.target" ];
      before = [ "nixos-upgrade.service" ];
      # A deployment is what may bring a new version of this unit: it must not
      # be stopped half-way because of that.
      restartIfChanged = false;
      stopIfChanged = false;
      unitConfig.ConditionPathExists = [
        "/var/lib/vps/intent"
        "/var/lib/vps/supervisor.sh"
      ];
      path = [
        pkgs.bash
        pkgs.coreutils
        pkgs.findutils
        pkgs.util-linux
        pkgs.gnutar
        pkgs.gnugrep
        pkgs.gnused
        config.nix.package
        config.systemd.package
      ];
      environment.HOME = "/root";
      serviceConfig = {
        Type = "oneshot";
        ExecCondition = [ "${noDeploymentRunning}" ];
        ExecStart = "${pkgs.bash}/bin/sh /var/lib/vps/supervisor.sh recover";
        TimeoutStartSec = "15min";
      };
    };

    # The nightly upgrade is skipped, not failed, while a deployment runs.
    systemd.services.nixos-upgrade.serviceConfig.ExecCondition = [
      "${nothingToRecover}"
      "${noDeploymentRunning}"
    ];

    # The release whose defaults the data on this server began with. It stays
    # as it is when nixpkgs moves on: raising it converts nothing.
    system.stateVersion = "26.05";
  };
}
