# Who gets in, and how patches arrive.
{
  config,
  lib,
  flakeOutput,
  nixpkgsUrl,
  ...
}:
{
  options.vps.sshPort = lib.mkOption {
    type = lib.types.port;
    # sshd, firewall and fail2ban all follow, and mage reads it from here.
    default = 2222;
    description = "Port that sshd listens on.";
  };

  config = {
    services.openssh = {
      enable = true;
      ports = [ config.vps.sshPort ];
      settings = {
        # Keys only; root too, but by key only.
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "prohibit-password";
        # The one file of keys below is good for every user of the system, so
        # say which users there are to log in.
        AllowUsers = [
          "root"
          "openclaw"
        ];
      };
      # The public keys come out of secrets.yaml when the system starts, so a
      # new key needs no new system. (users.users.<name>.openssh would read them
      # while the system is built, when they are still encrypted.)
      authorizedKeysFiles = [ config.sops.secrets."ssh-public-key".path ];
      # Not ~/.ssh/authorized_keys: a service that is broken into could let
      # others in by writing there.
      authorizedKeysInHomedir = false;
      # One host key, the one that bootstrap made and pinned in vps.yaml.
      hostKeys = [
        {
          path = "/etc/ssh/ssh_host_ed25519_key";
          type = "ed25519";
        }
      ];
    };

    # Ports that are open to the world. OpenClaw's own port is not: it listens
    # on the loopback only.
    networking.firewall = {
      enable = true;
      allowedTCPPorts = [
        config.vps.sshPort
        443
      ];
      # Port scans would fill the log.
      logRefusedConnections = false;
    };

    # Five failed logins ban an address for an hour, each further time for twice
    # as long, up to a week. The jail for sshd exists by itself, and takes its
    # port from sshd. It stays in its normal mode: the aggressive one also bans
    # who only opens a connection, as a laptop does that waits for a reboot.
    services.fail2ban = {
      enable = true;
      maxretry = 5;
      bantime = "1h";
      bantime-increment = {
        enable = true;
        maxtime = "168h";
      };
    };

    # Every night: build what lies in /etc/nixos, but with the newest nixpkgs of
    # our release in place of the one that flake.lock pins. Without the override
    # the lock would give the same system every night, and no patch would arrive.
    # flake.lock itself stays as it is; `mage lock` brings it forward.
    system.autoUpgrade = {
      enable = true;
      flake = "path:/etc/nixos#${flakeOutput}";
      flags = [
        "--override-input"
        "nixpkgs"
        nixpkgsUrl
      ];
      # This flag is about channels, which we do not use.
      upgrade = false;
      dates = "03:30";
      randomizedDelaySec = "30min";
      # A new kernel runs only after a reboot. An upgrade that ends outside the
      # window leaves the new system for the next boot, or the next night.
      allowReboot = true;
      rebootWindow = {
        lower = "03:00";
        upper = "06:00";
      };
    };
  };
}
