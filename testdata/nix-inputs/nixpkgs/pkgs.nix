# Packages as the paths that they would have, and scripts as their own text, so
# that a test can read (and run) what a unit would run.
{ system }:
builtins.listToAttrs (
  map
    (name: {
      inherit name;
      value = "/pkgs/${name}";
    })
    [
      "bash"
      "coreutils"
      "curl"
      "findutils"
      "gnugrep"
      "gnused"
      "gnutar"
      "jq"
      "nixfmt-tree"
      "util-linux"
    ]
)
// {
  stdenv.hostPlatform = {
    inherit system;
    isAarch64 = system == "aarch64-linux";
  };
  writeShellScript = name: text: "script ${name}\n${text}";
}
