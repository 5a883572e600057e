# Who gets in.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.vps;
  secretKeys = cfg.adminsSecret != null;
  # Where fail2ban looks for what changes its own sshd.conf.
  sshdFilter = "fail2ban/filter.d/sshd.local";
in
{
  options.vps = {
    sshPort = mkOption {
      type = types.port;
      # sshd, firewall and fail2ban all follow, and mage reads it from here.
      default = 2222;
      description = "Port that sshd listens on.";
    };

    admins = mkOption {
      type = types.listOf types.str;
      # SSH public keys, one string a key. They are no secret, and here everybody
      # who reviews a change sees that a key was added.
      default = [ ];
      example = [ "ssh-ed25519 AAAAC3Nza... alice@laptop" ];
      description = "SSH public keys that may log in as root, and as every other user that may log in.";
    };

    adminsSecret = mkOption {
      type = types.nullOr types.str;
      # As `vps.admins`, for keys that should not be in the repository in plain
      # text: the secret that has them, one key a line. null if there is none.
      default = "ssh-public-key";
      description = "Name of the secret with more public keys of admins.";
    };
  };

  config = {
    assertions = [
      {
        assertion = secretKeys || config.users.users.root.openssh.authorizedKeys.keys != [ ];
        message = "nobody could log in as root: put an SSH public key into vps.admins";
      }
    ];

    services.openssh = {
      enable = true;
      ports = [ cfg.sshPort ];
      settings = {
        # Keys only; root too, but by key only.
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "prohibit-password";
        # Whom nobody named gets in by no key at all.
        AllowUsers = [ "root" ];
      };
      # The secret's keys are there when the system starts, so a new key needs no
      # new system. The keys in plain text are in a file for each user, which
      # NixOS adds to this list.
      authorizedKeysFiles = lib.mkIf secretKeys [ config.sops.secrets.${cfg.adminsSecret}.path ];
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
    users.users.root.openssh.authorizedKeys.keys = cfg.admins;

    # Ports that are open to the world. OpenClaw's own port is not: it listens
    # on the loopback only.
    networking.firewall = {
      enable = true;
      allowedTCPPorts = [
        cfg.sshPort
        443
      ];
      # Port scans would fill the log.
      logRefusedConnections = false;
    };

    # Five failed logins ban an address for an hour, each further time for twice
    # as long, up to a week. The jail for sshd exists by itself, and takes its
    # port from sshd.
    services.fail2ban = {
      enable = true;
      maxretry = 5;
      bantime = "1h";
      bantime-increment = {
        enable = true;
        maxtime = "168h";
      };
    };
    # What is a failed login: a connection that named a user and ended without one.
    # Once each, however many keys it offered, so that a full ssh-agent bans nobody.
    #
    # In its normal mode the filter counts only users that do not exist, or are not
    # allowed in: whoever tries keys for root could go on for ever. In its
    # aggressive mode it also counts whoever opens a connection and closes it,
    # as a laptop does that waits for a reboot.
    environment.etc.${sshdFilter}.text = ''
      [Definition]
      mdre-normal-other = ^<F-MLFFORGET>(?:Connection (?:closed|reset)|Disconnected)</F-MLFFORGET> (?:by|from) authenticating user <F-USER>\S+</F-USER> <ADDR>%(__on_port_opt)s \[preauth\]\s*$
    '';
    systemd.services.fail2ban.restartTriggers = [ config.environment.etc.${sshdFilter}.text ];
  };
}
