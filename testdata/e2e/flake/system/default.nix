# One host: the same attributes as a real nixosConfigurations entry, as far as
# anybody outside reads them.
{
  system,
  settings,
  secrets,
  units,
  userUnits,
}:
let
  # Debian's programs stand in for nixpkgs: the sandbox is off.
  run =
    name: script: attrs:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
        args = [
          "-eu"
          script
        ];
        PATH = "/usr/bin:/usr/sbin";
      }
      // attrs
    );

  pathOf =
    name: secret:
    if secret.neededForUsers or false then "/run/secrets-for-users/${name}" else "/run/secrets/${name}";

  # One line each: path, mode, owner, name.
  secretLines = builtins.map (
    name:
    let
      secret = secrets.${name};
    in
    "${pathOf name secret} ${secret.mode or "0400"} ${secret.owner or "root"} ${name}\n"
  ) (builtins.attrNames secrets);

  inhibitorLines = builtins.map (name: "${name} ${settings.inhibitors.${name}}\n") (
    builtins.attrNames settings.inhibitors
  );

  # KEY='value' lines that the scripts read; booleans become 1 and nothing.
  shellLines = builtins.map (name: "toy_${name}='${toString settings.${name}}'\n") (
    builtins.filter (name: !builtins.isAttrs settings.${name}) (builtins.attrNames settings)
  );

  # Does not depend on the settings: built once.
  systemPath = run "system-path" ./system-path.sh {
    rebuild = ./nixos-rebuild;
    version = ./nixos-version;
    upgrade = ./toy-upgrade;
    stoppable = ./stoppable;
  };

  linux = run "linux-${settings.kernel}" ./linux.sh { kernel = settings.kernel; };

  toplevel = run "nixos-system-toy-${settings.version}" ./toplevel.sh {
    inherit
      systemPath
      linux
      units
      userUnits
      ;
    inherit (settings)
      version
      sshPort
      sshEnable
      buildFails
      buildSeconds
      initInterfaceVersion
      ;
    platform = system;
    conf = builtins.concatStringsSep "" shellLines;
    secretLines = builtins.concatStringsSep "" secretLines;
    inhibitorLines = builtins.concatStringsSep "" inhibitorLines;
    inhibitors = builtins.toJSON settings.inhibitors;
    init = ./init;
    activate = ./activate;
    switch = ./switch-to-configuration;
  };
in
{
  config = {
    system.build.toplevel =
      if settings.evaluationFails then
        throw "The option `services.toy' does not exist."
      else
        toplevel;
    system.nixos.version = settings.version;
    nixpkgs.hostPlatform.system = system;
    services.openssh = {
      enable = settings.sshEnable;
      ports = [ settings.sshPort ];
      # As in the real nix/: root's login keys are a secret.
      authorizedKeysFiles = [ "/run/secrets-for-users/ssh-public-key" ];
    };
    sops.secrets = builtins.mapAttrs (name: secret: secret // { path = pathOf name secret; }) secrets;
  };
}
