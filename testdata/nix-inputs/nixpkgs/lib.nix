# The part of nixpkgs' lib that nix/ uses, and a small module system.
let
  genAttrs =
    names: f:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );

  filterAttrs =
    keep: set:
    builtins.removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set));

  # Properties, as in NixOS: a value with a priority, and what goes with it.
  override = priority: content: {
    _type = "override";
    inherit priority content;
  };
  isType = type: value: builtins.isAttrs value && value._type or null == type;

  lib = {
    inherit genAttrs filterAttrs evalModules;
    mkOption = option: option // { _type = "option"; };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkDefault = override 1000;
    mkForce = override 50;
    # Types are not checked here; the real modules do that.
    types = {
      bool = { };
      str = { };
      port = { };
      listOf = type: { };
      nullOr = type: { };
    };
    optional = condition: item: if condition then [ item ] else [ ];
    nixosSystem =
      {
        modules,
        specialArgs ? { },
      }:
      evalModules {
        modules = [ ./modules/base.nix ] ++ modules;
        specialArgs =
          config:
          {
            modulesPath = ./modules;
            pkgs = import ./pkgs.nix { system = config.nixpkgs.hostPlatform; };
          }
          // specialArgs;
      };
  };

  # discharge gives the list of {priority, value} that one definition amounts to.
  discharge =
    priority: value:
    if isType "if" value then
      if value.condition then discharge priority value.content else [ ]
    else if isType "merge" value then
      builtins.concatMap (discharge priority) value.contents
    else if isType "override" value then
      discharge value.priority value.content
    else
      [ { inherit priority value; } ];

  plain = value: builtins.isAttrs value && !(value ? outPath) && !(value ? _type);
  conditional = value: isType "if" value && plain value.content;

  # push moves a condition into the set that it stands before, so that the names in
  # the set are known before the condition is, which may ask for one of them.
  push =
    value:
    if conditional value then builtins.mapAttrs (name: lib.mkIf value.condition) value.content else value;

  # merge makes one value of all definitions of one place in the tree.
  merge =
    path: definitions:
    let
      all = builtins.concatMap (definition: discharge 100 (push definition)) definitions;
      strongest = builtins.foldl' (a: d: if d.priority < a then d.priority else a) 10000 all;
      values = map (d: d.value) (builtins.filter (d: d.priority == strongest) all);
      trees = map (d: d.value) all;
      first = builtins.head values;
    in
    if builtins.all plain trees then
      # An empty set stays one, and what is defined by nothing but a false
      # condition is not there at all. Near the root NixOS knows the names from the
      # options, whatever the conditions.
      builtins.mapAttrs (name: merge (path ++ [ name ])) (
        builtins.zipAttrsWith (name: values: values) (
          map (filterAttrs (
            name: value: (builtins.length path < 2 && conditional value) || discharge 100 value != [ ]
          )) trees
        )
      )
    else if builtins.all builtins.isList values then
      builtins.concatLists values
    else if builtins.length values == 1 || builtins.all (value: value == first) values then
      first
    else
      throw "conflicting definitions of ${builtins.concatStringsSep "." path}";

  # load makes {options, config} of a module and of all that it imports.
  load =
    args: module:
    let
      body = if builtins.isPath module || builtins.isString module then import module else module;
      value = if builtins.isFunction body then body args else body;
      own = {
        options = value.options or { };
        config =
          if value ? options || value ? config then
            value.config or { }
          else
            builtins.removeAttrs value [ "imports" ];
      };
    in
    [ own ] ++ builtins.concatMap (load args) (value.imports or [ ]);

  # defaults makes definitions of the defaults of a tree of options.
  defaults =
    options:
    builtins.mapAttrs (
      name: option: if isType "option" option then override 1500 option.default else defaults option
    ) (filterAttrs (name: option: !isType "option" option || option ? default) options);

  # finish applies the apply functions of a tree of options to merged values.
  finish =
    options: value:
    if isType "option" options then
      (options.apply or (v: v)) value
    else if builtins.isAttrs value && builtins.isAttrs options then
      value
      // builtins.mapAttrs (name: option: finish option value.${name}) (
        builtins.intersectAttrs value options
      )
    else
      value;

  evalModules =
    { modules, specialArgs }:
    let
      loaded = builtins.concatMap (load ({ inherit config lib; } // specialArgs config)) modules;
      options = merge [ "options" ] (map (m: m.options) loaded);
      config = finish options (merge [ ] (map (m: m.config) loaded ++ [ (defaults options) ]));
    in
    {
      inherit config options;
    };
in
lib
