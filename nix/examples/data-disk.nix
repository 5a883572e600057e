# A second disk, or a volume of the provider, for what has to outlive the server.
# It is not in modules/disk.nix on purpose: bootstrap erases every disk that disko
# knows. This one gets a file system once, when it has none, and keeps it.
{
  fileSystems."/data" = {
    # As `ls -l /dev/disk/by-id` shows it on the server. Names like /dev/sdb may
    # change from one start to the next.
    device = "/dev/disk/by-id/scsi-0HC_Volume_12345678";
    fsType = "ext4";
    autoFormat = true;
    autoResize = true;
    # Without the disk the server starts all the same, and can be reached.
    options = [
      "nofail"
      "x-systemd.device-timeout=30s"
    ];
  };

  # What lives there waits for it, and fails without it instead of filling the
  # root disk:
  # systemd.services.postgresql.unitConfig.RequiresMountsFor = "/data";
}
