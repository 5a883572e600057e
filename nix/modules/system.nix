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
  isArm = pkgs.stdenv.hostPlatform.isAarch64;
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
      configurationLimit = if isArm then 3 else 5;
    };
    boot.tmp.cleanOnBoot = true;
    services.qemuGuest.enable = true;

    # A server that was resized gets the larger root when it starts.
    boot.growPartition = true;
    fileSystems."/".autoResize = true;

    # Nobody sits at the console, and root has no password for it. So whatever
    # fails, the server goes on to where SSH may be had: without a disk that it
    # cannot mount, or by starting again.
    systemd.enableEmergencyMode = false;
    boot.kernelParams = [
      "panic=30"
      "boot.panic_on_fail" # the same for a start that finds no root file system
    ]
    # An arm kernel would write to a serial line, which the provider does not show.
    ++ lib.optional isArm "console=tty1";
    boot.kernel.sysctl."kernel.panic_on_oops" = 1;
    # Hangs count, too: systemd has to say every 15 seconds that it lives. softdog
    # is for machines without a watchdog in their hardware, as most rented ones.
    boot.kernelModules = [ "softdog" ];
    systemd.settings.Manager.RuntimeWatchdogSec = "30s";
    boot.initrd.kernelModules = lib.optional isArm "virtio_gpu";

    # Only members of wheel may even start sudo.
    security.sudo.execWheelOnly = true;

    # Home Manager does for a user what NixOS does for the machine.
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
        # One build at a time: two big ones do not fit into a small memory.
        max-jobs = 1;
        # Free 3 GB of unused store when less than 1 GB is left in a build.
        min-free = 1024 * 1024 * 1024;
        max-free = 3 * 1024 * 1024 * 1024;
        # Who may ask the daemon to build.
        allowed-users = [
          "root"
          "@wheel"
        ];
      };
      # A build takes what the services leave.
      daemonCPUSchedPolicy = "batch";
      daemonIOSchedClass = "idle";
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

    # And when memory ends, it is the build that goes: systemd-oomd ends it when
    # nine tenths of the swap are in use, before the kernel has to choose.
    systemd.services.nix-daemon.serviceConfig = {
      OOMScoreAdjust = 250;
      CPUWeight = 20;
      ManagedOOMSwap = "kill";
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

    # The release whose defaults the data on this server began with. It stays
    # as it is when nixpkgs moves on: raising it converts nothing.
    system.stateVersion = "26.05";
  };
}
