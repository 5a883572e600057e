# The one disk, as far as the toy knows disks.
{
  disko.devices.disk.main = {
    type = "disk";
    device = "/dev/sda";
  };
}
