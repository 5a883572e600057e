{
  description = "Stand-in for sops-nix, for tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs";

  outputs =
    { self, nixpkgs }:
    {
      nixosModules.sops =
        { config, lib, ... }:
        {
          options.sops = {
            age.keyFile = lib.mkOption { default = null; };
            # The real default are the host keys of sshd of that type.
            age.sshKeyPaths = lib.mkOption {
              default =
                if config.services.openssh.enable or false then [ "/etc/ssh/ssh_host_ed25519_key" ] else [ ];
            };
            defaultSopsFormat = lib.mkOption { default = "yaml"; };
            # The real defaults of a secret. Its file is read, as by sops-nix.
            secrets = lib.mkOption {
              default = { };
              apply = builtins.mapAttrs (
                name: secret:
                let
                  sopsFile = secret.sopsFile or config.sops.defaultSopsFile;
                in
                {
                  inherit name sopsFile;
                  key = name;
                  owner = null;
                  uid = 0;
                  mode = "0400";
                  format = config.sops.defaultSopsFormat;
                  neededForUsers = false;
                  sopsFileHash = builtins.hashFile "sha256" sopsFile;
                  path =
                    if secret.neededForUsers or false then
                      "/run/secrets-for-users/${secret.name or name}"
                    else
                      "/run/secrets/${secret.name or name}";
                }
                // secret
              );
            };
          };
        };
      nixosModules.default = self.nixosModules.sops;
    };
}
