# A toy NixOS for the end-to-end tests: a real flake, really built by Nix into
# systems that are really switched to, but without nixpkgs, so that a build
# takes a second. settings.json is what the tests change.
{
  description = "A toy NixOS";

  # Never fetched: nothing below reads it. It is here so that flake.lock pins a
  # nixpkgs, as a real one does.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      host =
        system:
        import ./system {
          inherit system;
          settings = builtins.fromJSON (builtins.readFile ./settings.json);
          secrets = (import ./modules/sops.nix).sops.secrets;
          units = ./units;
          userUnits = ./user-units;
        };
    in
    {
      nixosConfigurations = {
        vps-x86 = host "x86_64-linux";
        vps-arm = host "aarch64-linux";
      };
    };
}
