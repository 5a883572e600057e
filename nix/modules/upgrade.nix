# How patches arrive: every night the server builds what lies in /etc/nixos, but
# with the newest nixpkgs of its release in place of the one that flake.lock pins.
# Without the override the lock would give the same system every night. flake.lock
# itself stays as it is; `mage lock` brings it forward.
{
  config,
  lib,
  pkgs,
  flakeOutput,
  nixpkgsUrl,
  ...
}:
let
  # Only inside this window does the server restart by itself. An upgrade that
  # ends outside leaves the new system for the next start, or the next night.
  window = {
    from = "03:00";
    to = "06:00";
  };
in
{
  # NixOS's own module gives the timer and the unit.
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
  };

  # What is done is not NixOS's: its script makes the new system the one that
  # starts before anybody has seen it run, and where a change needs a restart that
  # is not of the kernel, it fails every night. Here the new system has to be
  # healthy first, and until then a restart brings the old one back.
  systemd.services.nixos-upgrade = {
    path = [
      config.system.build.nixos-rebuild
      config.systemd.package
      config.services.openssh.package
      pkgs.gnugrep
    ];
    serviceConfig = {
      RuntimeDirectory = "vps-upgrade";
      WorkingDirectory = "/run/vps-upgrade";
      TimeoutStartSec = "4h";
    };
    script = lib.mkForce ''
      profile=/nix/var/nix/profiles/system

      # The units that are in trouble, of the system and of users without a login.
      troubled() {
        systemctl list-units --plain --no-legend --state=failed,auto-restart | cut -d ' ' -f 1
        for user in /var/lib/systemd/linger/*; do
          [ -e "$user" ] || continue
          user=''${user##*/}
          systemctl --user --machine="$user@" list-units --plain --no-legend --state=failed,auto-restart |
            cut -d ' ' -f 1 | while read -r unit; do echo "$user: $unit"; done
        done 2>/dev/null
      }

      healthy() {
        [ "$(readlink -f /run/current-system)" = "$new" ] || { echo "the new system does not run"; return 1; }
        sleep 30
        troubled | sort >after
        worse=$(comm -13 before after)
        [ -z "$worse" ] || { echo "in trouble since the upgrade: $worse"; return 1; }
        ssh-keyscan -p ${toString config.vps.sshPort} 127.0.0.1 2>/dev/null | grep -q . ||
          { echo "sshd does not answer"; return 1; }
      }

      # keep makes the new system the one that starts. A boot loader that fails, on a
      # full /boot say, leaves the old one, to be tried again the next night.
      keep() {
        nix-env --profile "$profile" --set "$new"
        "$new/bin/switch-to-configuration" boot || { nix-env --profile "$profile" --rollback; return 1; }
      }

      restart() {
        time=$(date +%H:%M)
        if [[ "$time" > ${window.from} && "$time" < ${window.to} ]]; then
          shutdown -r +1 "restarting into the upgraded system"
        else
          echo "a restart is pending; it waits for ${window.from}"
        fi
      }

      old=$(readlink -f /run/current-system)
      nixos-rebuild build ${toString config.system.autoUpgrade.flags}
      new=$(readlink -f result)

      if [ "$new" != "$old" ]; then
        # Its words say whether it may be switched to; its exit code does not.
        answer=$("$new/bin/switch-to-configuration" check 2>&1 || true)
        if grep -q "re-switch check" <<<"$answer"; then
          echo "the new system can only be started, not switched to: $answer"
          keep
          restart
          exit 0
        fi

        troubled | sort >before
        # Should this hang: the old system is still the one that starts.
        systemd-run --quiet --unit=vps-upgrade-deadline --on-active=20min systemctl reboot
        trap 'systemctl stop vps-upgrade-deadline.timer' EXIT
        switched=0
        "$new/bin/switch-to-configuration" test || switched=$?
        # 4: some units failed, which healthy looks at by itself.
        if [ "$switched" != 0 ] && [ "$switched" != 4 ] || ! healthy; then
          echo "going back to $old"
          "$old/bin/switch-to-configuration" test || true
          [ "$(readlink -f /run/current-system)" = "$old" ] || systemctl reboot
          exit 1
        fi
        keep
      elif [ "$new" != "$(readlink -f "$profile")" ]; then
        keep
      fi

      for part in kernel initrd kernel-modules; do
        if [ "$(readlink -f /run/booted-system/$part)" != "$(readlink -f "$new/$part")" ]; then
          restart
          break
        fi
      done
    '';
  };
}
