# A person with a user, whose sudo asks for no password, as nobody here has one.
# To deploy as that person: `user: alice` in vps.yaml.
{
  users.users.alice = {
    isNormalUser = true;
    extraGroups = [ "wheel" ];
    openssh.authorizedKeys.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample alice@laptop"
    ];
  };

  # sshd lets in only who is named.
  services.openssh.settings.AllowUsers = [ "alice" ];

  security.sudo.wheelNeedsPassword = false;
}
