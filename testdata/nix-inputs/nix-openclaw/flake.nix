{
  description = "Stand-in for nix-openclaw, for tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs";
  inputs.home-manager.url = "github:nix-community/home-manager";
  inputs.nix-openclaw-tools.url = "github:openclaw/nix-openclaw-tools";
  inputs.qmd.url = "github:tobi/qmd";

  outputs =
    {
      self,
      nixpkgs,
      home-manager,
      nix-openclaw-tools,
      qmd,
    }:
    # As the real one does: it looks whether there are tools, at an input that
    # our flake.nix leaves out.
    assert !(nix-openclaw-tools ? packages || qmd ? packages);
    {
      overlays.default = final: prev: { };

      homeManagerModules.openclaw =
        { config, ... }:
        {
          home.file.".openclaw/openclaw.json" = {
            source = "/pkgs/openclaw.json";
            text = builtins.toJSON config.programs.openclaw.config;
          };
          # As the real unit comes: nothing wants it, and it logs to a file.
          systemd.user.services.openclaw-gateway.Service = {
            ExecStart = "/pkgs/openclaw/bin/openclaw gateway --port 18789";
            StandardOutput = "append:/tmp/openclaw/openclaw-gateway.log";
            StandardError = "append:/tmp/openclaw/openclaw-gateway.log";
          };
        };
    };
}
