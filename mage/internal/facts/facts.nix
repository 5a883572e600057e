# What vps has to know about a host: its facts, one line of JSON in
# /etc/vps/facts.json of the built system. An update reads them from the system
# that it built; `mage check` and `mage bootstrap` let Nix evaluate this same
# function on the host's configuration. A test holds the two copies equal.
#
# null stands for "unknown". Nothing here may break a configuration that builds
# without it, so every option is optional: a host may have no disko, no sops-nix
# and no sshd.
{ config, pkgs, ... }@args:
let
  # Nix can catch what a configuration throws or asserts: that fact is unknown.
  known =
    value:
    let
      tried = builtins.tryEval (builtins.deepSeq value value);
    in
    if tried.success then tried.value else null;

  firstKnown = builtins.foldl' (found: value: if found != null then found else known value) null;

  unique = builtins.foldl' (list: item: if builtins.elem item list then list else list ++ [ item ]) [ ];

  # --- sshd: the ports that it really listens on ---

  sshd = config.services.openssh;

  portNumber =
    text:
    let
      digits = builtins.match "0*([1-9][0-9]*)" (toString text);
    in
    if digits == null then throw "not a port: ${toString text}" else builtins.fromJSON (builtins.head digits);

  # "address:port" and "[address]:port", or null for an address alone.
  portOf =
    address:
    let
      found = builtins.match "(\\[.*]|[^:]*):([0-9]+)" address;
    in
    if found == null then null else portNumber (builtins.elemAt found 1);

  # The lines of sshd_config up to the first Match, as { name, value }. NixOS
  # writes its own settings into the same option.
  directives =
    let
      lines = builtins.filter builtins.isString (builtins.split "\n" (sshd.extraConfig or ""));
      parsed = map (builtins.match "[ \t]*([A-Za-z]+)([ \t]*=[ \t]*|[ \t]+)\"?([^\"# \t\r]+).*") lines;
      all = map (found: {
        name = builtins.elemAt found 0;
        value = builtins.elemAt found 2;
      }) (builtins.filter (found: found != null) parsed);
      upToMatch = builtins.foldl' (
        state: line:
        if state.ended || builtins.match "[Mm][Aa][Tt][Cc][Hh]" line.name != null then
          state // { ended = true; }
        else
          state // { lines = state.lines ++ [ line ]; }
      ) { ended = false; lines = [ ]; } all;
    in
    upToMatch.lines;

  # All values of a keyword, from `settings` and from the lines of `extraConfig`.
  values =
    keyword:
    let
      settings = sshd.settings or { };
      set = builtins.concatMap (
        name:
        if builtins.match keyword name == null || settings.${name} == null then
          [ ]
        else if builtins.isList settings.${name} then
          map toString settings.${name}
        else
          [ (toString settings.${name}) ]
      ) (builtins.attrNames settings);
      written = map (line: line.value) (
        builtins.filter (line: builtins.match keyword line.name != null) directives
      );
    in
    set ++ written;

  listenPorts =
    ports: addresses:
    unique (
      if addresses == [ ] then
        ports
      else
        builtins.concatMap (port: if port == null then ports else [ port ]) addresses
    );

  optionAddresses = map (address: address.port or null) (sshd.listenAddresses or [ ]);

  daemonPorts =
    let
      named = (sshd.ports or [ ]) ++ map portNumber (values "[Pp][Oo][Rr][Tt]");
      addresses =
        optionAddresses ++ map portOf (values "[Ll][Ii][Ss][Tt][Ee][Nn][Aa][Dd][Dd][Rr][Ee][Ss][Ss]");
    in
    if values "[Ii][Nn][Cc][Ll][Uu][Dd][Ee]" != [ ] then
      throw "sshd_config includes a file that Nix does not know"
    else
      listenPorts (if named == [ ] then [ 22 ] else named) addresses;

  # With socket activation systemd listens, and sshd_config has no say.
  socketPorts =
    let
      socket = config.systemd.sockets.sshd or { };
      asList = value: if builtins.isList value then value else [ value ];
      streams =
        asList (socket.socketConfig.ListenStream or [ ]) ++ asList (socket.listenStreams or [ ]);
      port =
        stream:
        if builtins.isInt stream || builtins.match "[0-9]+" stream != null then
          portNumber stream
        else
          portOf stream;
    in
    if streams == [ ] then
      listenPorts (sshd.ports or [ 22 ]) optionAddresses
    else
      unique (builtins.filter (port: port != null) (map port streams));

  sshPorts =
    if !(config ? services.openssh) then
      null
    else if !(sshd.enable or false) then
      [ ]
    else if sshd.startWhenNeeded or false then
      socketPorts
    else
      daemonPorts;

  # --- root's login keys, as far as they are in plain text ---

  # The files that sshd reads keys from, "%u" being the user. null as soon as it
  # may know keys from elsewhere: from a command, a certificate authority, or lines
  # that somebody wrote themselves.
  keyFilesOfSshd =
    let
      files = sshd.authorizedKeysFiles or [ ];
      lines = builtins.filter builtins.isString (builtins.split "\n" (sshd.extraConfig or ""));
      keywords = "([Aa][Uu][Tt][Hh][Oo][Rr][Ii][Zz][Ee][Dd][Kk][Ee][Yy][Ss].*|[Tt][Rr][Uu][Ss][Tt][Ee][Dd][Uu][Ss][Ee][Rr][Cc][Aa][Kk][Ee][Yy][Ss].*|[Ii][Nn][Cc][Ll][Uu][Dd][Ee].*)";
      # What NixOS itself writes of the option.
      own = "AuthorizedKeysFile ${toString files}";
      more = builtins.filter (
        line: builtins.match "[ \t]*${keywords}" line != null && builtins.match "[ \t]*(.*[^ \t])[ \t]*" line != [ own ]
      ) lines;
      set = builtins.filter (
        name:
        builtins.match keywords name != null && !(builtins.elem sshd.settings.${name} [ null "none" ])
      ) (builtins.attrNames (sshd.settings or { }));
    in
    if more != [ ] || set != [ ] || sshd.authorizedKeysCommand or "none" != "none" then
      throw "keys may come from elsewhere"
    else
      map (builtins.replaceStrings [ "%u" ] [ "root" ]) files;

  # NixOS writes what the options of a user say into this one.
  keyFileOfNixos = "/etc/ssh/authorized_keys.d/root";

  rootKeyFiles =
    if !(config ? services.openssh.authorizedKeysFiles) then
      null
    else
      builtins.filter (file: file != keyFileOfNixos) (unique keyFilesOfSshd);

  # A line of authorized_keys in ASCII: JSON has no room for other encodings than
  # UTF-8. So the comment goes from a line that is not.
  keyLine =
    text:
    let
      line = builtins.replaceStrings [ "\t" "\r" ] [ " " "" ] text;
      bare = builtins.match " *([a-z0-9@.-]+ +[A-Za-z0-9+/]+=*) .*" line;
    in
    if builtins.stringLength line > 8192 then
      throw "no key is that long"
    else if builtins.match "[ -~]*" line != null then
      line
    else if bare == null then
      throw "options that are not in ASCII"
    else
      builtins.head bare;

  # A file that would have to be built first is unknown.
  readKeyFile =
    file:
    if
      builtins.any (c: c ? outputs || c ? allOutputs) (
        builtins.attrValues (builtins.getContext (toString file))
      )
      || !(builtins.pathExists file)
    then
      throw "not there yet"
    else
      builtins.readFile file;

  rootKeys =
    let
      root = config.users.users.root.openssh.authorizedKeys or { };
      texts = (root.keys or [ ]) ++ map readKeyFile (root.keyFiles or [ ]);
      lines = builtins.filter (
        line: builtins.isString line && builtins.match "[ \t\r]*(#.*)?" line == null
      ) (builtins.concatMap (builtins.split "\n") texts);
    in
    if !(config ? services.openssh.authorizedKeysFiles) then
      null
    else if builtins.elem keyFileOfNixos (map (builtins.replaceStrings [ "%u" ] [ "root" ]) (sshd.authorizedKeysFiles or [ ])) then
      map keyLine lines
    else
      [ ];

  # --- disko: every device that it partitions or formats ---

  devices = config.disko.devices or { };

  # ZFS may also be given whole disks by their path.
  poolMembers =
    value:
    if builtins.isList value then
      builtins.concatMap poolMembers value
    else if builtins.isAttrs value then
      builtins.concatMap poolMembers (builtins.attrValues value)
    else if
      builtins.isString value
      && builtins.match "/dev/.*" value != null
      && builtins.match "/dev/(mapper|md|disk/by-part[a-z]*)/?.*" value == null
    then
      [ value ]
    else
      [ ];

  disks =
    if !(config ? disko) then
      null
    else
      builtins.sort builtins.lessThan (
        unique (
          map (disk: disk.device) (builtins.attrValues (devices.disk or { }))
          ++ builtins.concatMap (pool: poolMembers (pool.mode.topology or { })) (
            builtins.attrValues (devices.zpool or { })
          )
        )
      );

  # Files that disko reads the keys of encrypted disks from while it formats.
  keysOf =
    content:
    let
      below =
        value:
        if builtins.isList value then
          value
        else if builtins.isAttrs value then
          builtins.attrValues value
        else
          [ ];
      file = path: if path == null then [ ] else [ (toString path) ];
      location = builtins.match "file://(/.*)" (content.options.keylocation or content.rootFsOptions.keylocation or "");
    in
    if !(builtins.isAttrs content) then
      [ ]
    else
      (
        if content.type or null == "luks" then
          file (content.passwordFile or null)
          ++ file (content.settings.keyFile or null)
          ++ map toString (content.additionalKeyFiles or [ ])
        else
          [ ]
      )
      ++ (if location == null then [ ] else location)
      ++ builtins.concatMap keysOf (
        [ (content.content or null) ]
        ++ below (content.partitions or null)
        ++ below (content.lvs or null)
        ++ below (content.datasets or null)
      );

  diskKeys =
    if !(config ? disko) then
      null
    else
      unique (
        builtins.concatMap (kind: builtins.concatMap keysOf (builtins.attrValues (devices.${kind} or { }))) [
          "disk"
          "lvm_vg"
          "mdadm"
          "zpool"
        ]
      );

  # --- sops-nix: the keys that decrypt, and the secrets ---

  age = {
    keyFile =
      let
        path = config.sops.age.keyFile or null;
      in
      if path == null then null else toString path;
    sshKeyPaths = map toString (config.sops.age.sshKeyPaths or [ ]);
  };

  # The folder of flake.nix: given by who evaluates this from outside, else what
  # the flake calls itself, else the nearest one above this file.
  root =
    args.flakeRoot or args.self.outPath or args.inputs.self.outPath or (
      if builtins.pathExists ../flake.nix then
        toString ../.
      else if builtins.pathExists ../../flake.nix then
        toString ../../.
      else
        "/"
    );

  # A path inside the tree, or an absolute one if it lies elsewhere: on the server,
  # or in another flake. A system that is built does not name the latter, because
  # that may be its own flake by a name that changes with every comment in it.
  inTree =
    path:
    let
      # A path and a string name the same file; what the string depends on is of
      # no interest.
      text = builtins.unsafeDiscardStringContext (toString path);
      prefix = root + "/";
      length = builtins.stringLength prefix;
    in
    if builtins.substring 0 length text == prefix then
      builtins.substring length (builtins.stringLength text) text
    else if !(args ? flakeRoot) && builtins.substring 0 11 text == "/nix/store/" then
      null
    else
      text;

  secret = attribute: s: {
    name = s.name or attribute;
    format = s.format or "yaml";
    # "" is the whole file.
    key = if s.format or "yaml" == "binary" then "" else s.key or s.name or attribute;
    file = inTree (s.sopsFile or config.sops.defaultSopsFile);
    path = s.path or null;
    owner =
      if s.owner or null != null then
        s.owner
      else if s.uid or 0 == 0 then
        "root"
      else
        toString s.uid;
    mode = s.mode or "0400";
    neededForUsers = s.neededForUsers or false;
  };

  secrets =
    let
      all = config.sops.secrets or { };
    in
    map (name: secret name all.${name}) (builtins.attrNames all);

  facts = {
    version = 1;
    output = known (args.flakeOutput or null);
    system = firstKnown [
      (pkgs.stdenv.hostPlatform.system or null)
      (config.nixpkgs.hostPlatform.system or null)
      (config.nixpkgs.system or null)
    ];
    release = known (config.system.nixos.release or null);
    stateVersion = known (config.system.stateVersion or null);
    sshPorts = known sshPorts;
    rootKeys = known rootKeys;
    rootKeyFiles = known rootKeyFiles;
    disks = known disks;
    diskKeys = known diskKeys;
    age = known age;
    secrets = known secrets;
  };
in
{
  environment.etc."vps/facts.json".text =
    builtins.unsafeDiscardStringContext (builtins.toJSON facts) + "\n";
}
