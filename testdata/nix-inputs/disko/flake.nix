{
  description = "Stand-in for disko, for tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs";

  outputs =
    { self, nixpkgs }:
    {
      nixosModules.disko =
        { config, lib, ... }:
        {
          options.disko.devices = {
            disk = lib.mkOption { default = { }; };
            zpool = lib.mkOption { default = { }; };
          };
          # As disko does: the disk with a BIOS boot partition is GRUB's.
          config.boot.loader.grub.devices = map (disk: disk.device) (
            builtins.filter (
              disk:
              builtins.any (part: part.type or "" == "EF02") (
                builtins.attrValues (disk.content.partitions or { })
              )
            ) (builtins.attrValues config.disko.devices.disk)
          );
        };
      nixosModules.default = self.nixosModules.disko;
    };
}
