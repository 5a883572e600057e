# How the disk is divided. disko uses this twice: bootstrap lets it erase and
# partition the disk, and the running system takes its mounts from it.
# Changing it later does not repartition a server that is already installed.
{ config, lib, ... }:
{
  options.vps.disk = lib.mkOption {
    type = lib.types.str;
    # The disk that bootstrap ERASES. Hetzner Cloud: /dev/sda. Others often:
    # /dev/vda or /dev/nvme0n1. `lsblk` on the server shows it.
    default = "/dev/sda";
    description = "Device that NixOS is installed on.";
  };

  config.disko.devices.disk.main = {
    type = "disk";
    device = config.vps.disk;
    content = {
      type = "gpt";
      partitions = {
        # Where GRUB puts its second stage when the firmware is a BIOS, which
        # has no file system of its own to read. Harmless under UEFI. disko
        # also tells GRUB the disk because of it, so no module sets
        # boot.loader.grub.device: naming it twice is an error.
        boot = {
          size = "1M";
          type = "EF02";
        };
        # UEFI firmware reads its boot loader from here; GRUB keeps the kernels
        # here too. umask: what is on it is for root alone, vfat has no owners.
        ESP = {
          size = "512M";
          type = "EF00";
          content = {
            type = "filesystem";
            format = "vfat";
            mountpoint = "/boot";
            mountOptions = [ "umask=0077" ];
          };
        };
        root = {
          size = "100%";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = "/";
          };
        };
      };
    };
  };
}
