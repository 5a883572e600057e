{
  description = "Stand-in for Home Manager, for tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs";

  outputs =
    { self, nixpkgs }:
    {
      nixosModules.home-manager =
        { config, lib, ... }:
        {
          options.home-manager.users = lib.mkOption {
            default = { };
            apply = builtins.mapAttrs (
              name: user:
              (lib.evalModules {
                modules = [ user ];
                specialArgs = _: { osConfig = config; };
              }).config
            );
          };
        };
    };
}
