# The same secrets as in the real nix/; the toy reads the declarations too.
{
  sops = {
    defaultSopsFile = ../secrets/secrets.yaml;
    age.keyFile = "/var/lib/sops-nix/key.txt";

    secrets = {
      "gateway-token" = {
        owner = "openclaw";
        mode = "0400";
      };

      "ssh-public-key" = {
        neededForUsers = true;
        mode = "0444";
      };
    };
  };
}
