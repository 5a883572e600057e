# Which secrets the server gets, where, and who may read them. They stay
# encrypted in secrets.yaml and in the Nix store (which everybody can read);
# the server decrypts them into memory when it starts.
#
# A secret of your own is two steps: `mage secrets:set NAME`, and one more entry
# in `secrets` below. Use its path in other modules as
# config.sops.secrets."NAME".path.
{ config, lib, ... }:
{
  sops = {
    # Beside this folder once the tree is put together for the server.
    defaultSopsFile = ../secrets/secrets.yaml;

    # The private key that decrypts them; bootstrap puts it there.
    age.keyFile = "/var/lib/sops-nix/key.txt";
    # No other keys: by default the server's SSH host keys would count too, the
    # ed25519 one as an age key and the RSA one as a GnuPG key.
    age.sshKeyPaths = [ ];
    gnupg.sshKeyPaths = [ ];

    secrets = lib.mkMerge [
      {
        # "web/api-token" = {
        #   owner = "web"; # who reads it; else root
        #   mode = "0400";
        # };
      }

      # What a client shows to the OpenClaw gateway. It reads the file as the
      # user openclaw, and refuses one that others could read.
      (lib.mkIf config.vps.openclaw.enable {
        "gateway-token" = {
          owner = "openclaw";
          mode = "0400";
        };
      })

      # The public keys that may log in, unless all of them are in vps.admins.
      # neededForUsers: there before the users are. 0444: sshd reads it as the user
      # who logs in, so 0400 would let in root alone. Public keys may be read by all.
      (lib.mkIf (config.vps.adminsSecret != null) {
        ${config.vps.adminsSecret} = {
          neededForUsers = true;
          mode = "0444";
        };
      })
    ];
  };
}
