# Plays nixpkgs, as far as bootstrap needs it: one package. Made of Debian's
# programs, because there is no real nixpkgs without a network.
{
  description = "A nixpkgs with one package";

  outputs =
    { self }:
    let
      package =
        system:
        derivation {
          name = "nixos-anywhere-1.13.0";
          inherit system;
          builder = "/bin/sh";
          args = [
            "-eu"
            ./package.sh
          ];
          PATH = "/usr/bin:/usr/sbin";
          main = ./nixos-anywhere.sh;
          facts = ./facts.sh;
          kexec = ./kexec.sh;
        };
    in
    {
      packages = {
        x86_64-linux.nixos-anywhere = package "x86_64-linux";
        aarch64-linux.nixos-anywhere = package "aarch64-linux";
      };
    };
}
