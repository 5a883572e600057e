# The OpenClaw gateway, as a service of the user openclaw.
#
# osConfig is the configuration of the machine that this user lives on.
{
  config,
  lib,
  osConfig,
  ...
}:
let
  token = osConfig.sops.secrets."gateway-token";
in
{
  programs.openclaw = {
    enable = true;

    # OpenClaw's own settings, as in its openclaw.json. Yours go here.
    config = {
      gateway = {
        mode = "local";
        # Only programs on this server reach it. From elsewhere use a tunnel:
        # ssh -p 2222 -L 18789:127.0.0.1:18789 openclaw@SERVER
        bind = "loopback";
        # A reference, not the token: OpenClaw reads the file when it starts,
        # and does not start without it. (An environment variable with the path
        # would make the path itself the token when the file is missing.)
        auth = {
          mode = "token";
          token = {
            source = "file";
            provider = "sops";
            id = "value";
          };
        };
      };
      secrets.providers.sops = {
        source = "file";
        path = token.path;
        mode = "singleValue";
      };
    };

    # On by default, and fetched from GitHub whenever the system is evaluated.
    bundledPlugins.goplaces.enable = false;
    # Tools that the gateway runs without; some would be compiled on the server.
    excludeTools = [
      "camsnap"
      "gogcli"
      "goplaces"
      "sonoscli"
      "summarize"
    ];
  };

  systemd.user.services.openclaw-gateway = {
    # Without it nothing ever starts the service.
    Install.WantedBy = [ "default.target" ];
    # A change of either restarts it: of secrets.yaml, or of the settings above.
    Unit."X-Restart-Triggers" = [
      token.sopsFileHash
      "${config.home.file.".openclaw/openclaw.json".source}"
    ];
    Service = {
      # Into the journal (journalctl --user -u openclaw-gateway), where the
      # module itself would write a file in /tmp.
      StandardOutput = lib.mkForce "journal";
      StandardError = lib.mkForce "journal";

      # It runs what a language model says, so what a model can be talked into is
      # kept small. It may write into its home and its own /tmp, read the rest of
      # what its user may read, and talk to the internet.
      UMask = "0077"; # files that it makes are its own
      NoNewPrivileges = true;
      ProtectSystem = "strict";
      ReadWritePaths = [ "%h" ];
      PrivateTmp = true;
      PrivateDevices = true;
      ProtectProc = "invisible"; # not the processes of others
      # Not the Nix daemon, which builds what it is told with more memory than this.
      InaccessiblePaths = [ "-/nix/var/nix/daemon-socket" ];
      ProtectClock = true;
      ProtectControlGroups = true;
      ProtectHostname = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_INET"
        "AF_INET6"
        "AF_NETLINK" # the list of network interfaces
      ];
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictSUIDSGID = true;
      LockPersonality = true;
      KeyringMode = "private";
      CapabilityBoundingSet = "";
      # What a service needs. Not MemoryDenyWriteExecute: Node compiles as it runs.
      SystemCallArchitectures = "native";
      SystemCallFilter = [
        "@system-service"
        "~@privileged"
        "~@resources"
      ];
      SystemCallErrorNumber = "EPERM"; # an error that a program can handle
      # The rest of a small server stays reachable.
      MemoryMax = "75%";
      TasksMax = 1000;
    };
  };

  # The manual of Home Manager takes long to build and is on the web.
  manual.manpages.enable = false;

  # As system.stateVersion: it stays.
  home.stateVersion = "26.05";
}
