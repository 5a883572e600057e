# Laid over the toy NixOS of ../../e2e/flake: the same systems, installable. Its
# nixpkgs is the one that the image playing nixos/nix brings along.
{
  description = "A toy NixOS that can be installed";

  inputs.nixpkgs.url = "path:/opt/nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      host =
        system:
        let
          toy = import ./system {
            inherit system;
            settings = builtins.fromJSON (builtins.readFile ./settings.json);
            secrets = (import ./modules/sops.nix).sops.secrets;
            units = ./units;
            userUnits = ./user-units;
          };
          build = toy.config.system.build // {
            diskoScript = derivation {
              name = "disko";
              inherit system;
              builder = "/bin/sh";
              args = [
                "-c"
                "cp $script $out; chmod 0755 $out"
              ];
              PATH = "/usr/bin";
              script = ./disko.sh;
            };
          };
        in
        {
          config = toy.config // {
            system = toy.config.system // {
              inherit build;
            };
            sops = (import ./modules/sops.nix).sops // toy.config.sops;
            disko = (import ./modules/disk.nix).disko;
            nix.settings.substituters = [ ];
          };
        };
    in
    {
      nixosConfigurations = {
        vps-x86 = host "x86_64-linux";
        vps-arm = host "aarch64-linux";
      };
    };
}
