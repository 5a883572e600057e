# The entry point. Nix reads two things here: `inputs`, the code of others that
# the server is built from (flake.lock pins each to one exact revision), and
# `outputs`, what can be built: one complete system per entry of `hosts`.
{
  description = "NixOS servers that can be thrown away and rebuilt";

  inputs = {
    # NixOS itself. To move to the next release change this line and
    # home-manager's, which must name the same release, then run `mage lock`.
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

    # `follows` lets each input use our nixpkgs in place of one of its own: one
    # copy to download, and a security patch in it reaches everything.
    home-manager = {
      url = "github:nix-community/home-manager/release-26.05";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    sops-nix = {
      url = "github:Mic92/sops-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    nix-openclaw = {
      url = "github:openclaw/nix-openclaw";
      inputs.nixpkgs.follows = "nixpkgs";
      inputs.home-manager.follows = "home-manager";
      # Left out (to follow "" is to have none): optional tools, which bring a
      # nixpkgs of their own along, and a search engine for memories. With them
      # every server would download and unpack another 400 MB to evaluate.
      inputs.nix-openclaw-tools.follows = "";
      inputs.qmd.follows = "";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      disko,
      home-manager,
      sops-nix,
      nix-openclaw,
      ...
    }:
    let
      # Every server, by the name that `flake:` in vps.yaml uses. All of them
      # get all of ./modules; `modules` adds or changes something for one host.
      hosts = {
        vps-x86 = {
          system = "x86_64-linux";
        };
        vps-arm = {
          system = "aarch64-linux";
        };

        # A host of your own, with another name and another disk, and something to
        # do (./examples has more):
        #
        # web-1 = {
        #   system = "x86_64-linux";
        #   modules = [
        #     { vps.hostName = "web-1"; vps.disk = "/dev/vda"; vps.openclaw.enable = false; }
        #     ./examples/web.nix
        #   ];
        # };
      };

      mkHost =
        name:
        {
          system,
          modules ? [ ],
        }:
        nixpkgs.lib.nixosSystem {
          # What a module cannot know by itself. The URL is read from `inputs`
          # above, so that the release is named in one place only.
          specialArgs = {
            inherit nix-openclaw;
            flakeOutput = name;
            nixpkgsUrl = (import ./flake.nix).inputs.nixpkgs.url;
          };
          # One flat list: no module imports another, so all that a server is
          # made of can be read off here.
          modules = [
            disko.nixosModules.disko
            home-manager.nixosModules.home-manager
            sops-nix.nixosModules.sops
            ./modules/disk.nix
            ./modules/system.nix
            ./modules/security.nix
            ./modules/upgrade.nix
            ./modules/notify.nix
            ./modules/sops.nix
            ./modules/openclaw.nix
            ./modules/deploy.nix
            ./modules/facts.nix
            { nixpkgs.hostPlatform = system; }
          ]
          ++ modules;
        };

      forEachSystem = nixpkgs.lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ];
    in
    {
      nixosConfigurations = builtins.mapAttrs mkHost hosts;

      # For a flake that has servers of its own: what `mage update` needs of them,
      # and nothing of ours.
      nixosModules.vps.imports = [
        ./modules/deploy.nix
        ./modules/facts.nix
      ];

      # `nix flake check` builds these: each host of the machine's own
      # architecture. With --no-build it only evaluates them.
      checks = forEachSystem (
        system:
        builtins.mapAttrs (name: host: host.config.system.build.toplevel) (
          nixpkgs.lib.filterAttrs (name: host: hosts.${name}.system == system) self.nixosConfigurations
        )
      );

      # `nix fmt` formats every .nix file.
      formatter = forEachSystem (system: nixpkgs.legacyPackages.${system}.nixfmt-tree);
    };
}
