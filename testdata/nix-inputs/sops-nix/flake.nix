{
  description = "Stand-in for sops-nix, for tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs";

  outputs =
    { self, nixpkgs }:
    {
      nixosModules.sops =
        { config, lib, ... }:
        {
          # The real defaults of a secret. Its file is read, as by sops-nix.
          options.sops.secrets = lib.mkOption {
            default = { };
            apply = builtins.mapAttrs (
              name: secret:
              {
                inherit name;
                key = name;
                owner = null;
                mode = "0400";
                neededForUsers = false;
                sopsFile = config.sops.defaultSopsFile;
                sopsFileHash = builtins.hashFile "sha256" config.sops.defaultSopsFile;
                path =
                  if secret.neededForUsers or false then
                    "/run/secrets-for-users/${name}"
                  else
                    "/run/secrets/${name}";
              }
              // secret
            );
          };
        };
    };
}
