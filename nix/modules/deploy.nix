# What a deployment needs of the server it changes, and nothing else: it names no
# user, no disk and no service. Any flake can take it as an input and be deployed
# by `mage update` (nixosModules.vps, with facts.nix beside this file); the rest
# of this folder is only the server that we make of it.
#
# The protocol itself is in the scripts that a deployment brings along, and in
# docs/design.md. All that it keeps lies in /var/lib/vps.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  # What changes the system by itself stays away while a deployment is under way:
  # it holds a lock on this file, which ends with its process, so nothing is ever
  # left locked. No file means that no deployment ever ran.
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
  config = {
    # What deployments keep: record, trees, logs. For root alone.
    systemd.tmpfiles.rules = [ "d /var/lib/vps 0700 root root -" ];

    # Nix believes its database for ever: what is registered there has to be on
    # the disk, or a power cut leaves empty files. Nix 2.26 does so for what it
    # downloads, not for what it builds.
    nix.settings.fsync-store-paths = true;

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

        # It activates a system, which mounts, writes and installs everywhere. So
        # it can have no file system of its own: what it mounts there would be
        # gone with it. But it needs no network, and none of these.
        IPAddressDeny = "any";
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_NETLINK"
        ];
        SystemCallArchitectures = "native";
        LockPersonality = true;
        RestrictRealtime = true;
      };
    };

    # NixOS's own upgrade, where it is on, is skipped, not failed, while a
    # deployment runs.
    systemd.services.nixos-upgrade = lib.mkIf config.system.autoUpgrade.enable {
      serviceConfig.ExecCondition = [
        "${nothingToRecover}"
        "${noDeploymentRunning}"
      ];
    };
  };
}
