# Tells somebody what a server that nobody watches has to say: units that failed
# (an upgrade among them), disks that fill up, a restart that is pending, and a
# NixOS release that gets no patches any more. Each is told once, and again when it
# comes back.
#
#   vps.notify.secret = "notify-url";    # and: mage secrets:set notify-url
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.vps.notify;
  release = config.system.nixos.release;
  year = lib.toInt (builtins.substring 0 2 release);
  # A release of May is kept until the end of the year, one of November until the
  # end of June.
  releaseEnd =
    if lib.hasSuffix ".05" release then "20${toString year}-12-31" else "20${toString (year + 1)}-06-30";
in
{
  options.vps.notify = {
    secret = mkOption {
      type = types.nullOr types.str;
      # Its value is an address to POST to: a topic of ntfy, https://ntfy.sh/NAME,
      # which also sends mail, or a webhook. Whoever knows it can write there.
      default = null;
      description = "Name of the secret with the URL that gets notifications.";
    };

    format = mkOption {
      type = types.enum [
        "text"
        "json"
      ];
      # text: the message as it is, for ntfy. json: {"text": …, "content": …}, which
      # Slack, Mattermost and Discord take.
      default = "text";
      description = "What is sent.";
    };
  };

  config = lib.mkIf (cfg.secret != null) {
    sops.secrets.${cfg.secret} = { };

    systemd.services.vps-notify = {
      description = "Tell of what is wrong with this server";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      startAt = "*:0/10";
      path = [
        config.systemd.package
        pkgs.curl
        pkgs.gnugrep
        pkgs.jq
      ];
      serviceConfig = {
        Type = "oneshot";
        StateDirectory = "vps-notify";
        WorkingDirectory = "/var/lib/vps-notify";
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        NoNewPrivileges = true;
      };
      script = ''
        # One line for each thing that is wrong, the same as long as it is.
        wrong() {
          systemctl list-units --plain --no-legend --state=failed,auto-restart |
            cut -d ' ' -f 1 | grep -v '^vps-notify\.service$' | while read -r unit; do
              echo "unit in trouble: $unit"
            done
          for user in /var/lib/systemd/linger/*; do
            [ -e "$user" ] || continue
            user=''${user##*/}
            systemctl --user --machine="$user@" list-units --plain --no-legend --state=failed,auto-restart 2>/dev/null |
              cut -d ' ' -f 1 | while read -r unit; do
                echo "unit in trouble: $unit of $user"
              done
          done
          df --output=pcent,target --local --exclude-type=tmpfs --exclude-type=devtmpfs --exclude-type=ramfs |
            while read -r used at; do
              [[ "$used" == *% && "''${used%\%}" -ge 90 ]] && echo "nearly full: $at"
            done
          for part in kernel initrd kernel-modules; do
            if [ "$(readlink -f /run/booted-system/$part)" != "$(readlink -f /nix/var/nix/profiles/system/$part)" ]; then
              echo "a restart is pending"
              break
            fi
          done
          left=$(( ($(date -d ${releaseEnd} +%s) - $(date +%s)) / 86400 ))
          [ "$left" -ge 30 ] || echo "NixOS ${release} gets no patches after ${releaseEnd}: move nix/flake.nix to the next release"
          true
        }

        wrong | LC_ALL=C sort -u >now
        touch told
        LC_ALL=C comm -13 told now >new
        if [ -s new ]; then
          { echo "${config.networking.hostName}:"; cat new; } >message
          ${lib.optionalString (cfg.format == "json") ''
            jq --raw-input --slurp '{ text: ., content: . }' message >json
            mv json message
          ''}
          # The address comes by stdin: what a program is called with, others can see.
          printf 'url = "%s"\n' "$(cat ${config.sops.secrets.${cfg.secret}.path})" |
            curl --config - --silent --show-error --fail --max-time 60 --retry 3 \
              --header 'Content-Type: ${if cfg.format == "json" then "application/json" else "text/plain"}' \
              --data-binary @message --output /dev/null
        fi
        mv now told
      '';
    };

    # These two at once.
    systemd.services.nixos-upgrade.unitConfig.OnFailure = "vps-notify.service";
    systemd.services.vps-recover.unitConfig.OnFailure = "vps-notify.service";
  };
}
