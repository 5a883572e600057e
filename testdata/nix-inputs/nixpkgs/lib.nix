# The part of nixpkgs' lib that configurations use most, and a small module system
# that merges as NixOS does.
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isFunction
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    removeAttrs
    sort
    ;

  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
  flatten = x: if isList x then concatMap flatten x else [ x ];
  hasPrefix =
    prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      from = builtins.stringLength text - builtins.stringLength suffix;
    in
    from >= 0 && builtins.substring from (builtins.stringLength suffix) text == suffix;
  recursiveUpdate =
    a: b:
    a
    // mapAttrs (
      name: value: if isAttrs value && isAttrs (a.${name} or null) then recursiveUpdate a.${name} value else value
    ) b;

  # Properties, as in NixOS: a value with a priority or a place in the order, and
  # what goes with it.
  override = priority: content: {
    _type = "override";
    inherit priority content;
  };
  order = place: content: {
    _type = "order";
    inherit place content;
  };
  isType = type: value: isAttrs value && value._type or null == type;

  # An option that stands for another one.
  alias =
    from: to:
    { config, ... }:
    let
      at = path: foldl' (set: name: set.${name}) config path;
      put = path: value: foldl' (inner: name: { ${name} = inner; }) value (
        foldl' (reversed: name: [ name ] ++ reversed) [ ] path
      );
    in
    {
      options = put from ({ _type = "option"; apply = _: at to; default = null; } // { alias = to; });
    };

  lib = {
    inherit
      alias
      attrNames
      attrValues
      concatMap
      evalModules
      filter
      filterAttrs
      flatten
      foldl'
      genAttrs
      hasPrefix
      hasSuffix
      head
      length
      listToAttrs
      mapAttrs
      nameValuePair
      recursiveUpdate
      ;
    inherit (builtins) concatLists concatStringsSep elemAt pathExists readDir;
    optional = condition: item: if condition then [ item ] else [ ];
    optionals = condition: items: if condition then items else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    forEach = items: f: map f items;
    unique = foldl' (list: item: if elem item list then list else list ++ [ item ]) [ ];
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = _: {
      _type = "option";
      default = false;
    };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = override;
    mkOptionDefault = override 1500;
    mkDefault = override 1000;
    mkImageMediaOverride = override 60;
    mkForce = override 50;
    mkVMOverride = override 10;
    mkOrder = order;
    mkBefore = order 500;
    mkAfter = order 1500;
    mkRenamedOptionModule = alias;
    # Types are not checked here; the real modules do that. Lines are joined.
    types = rec {
      str = { };
      lines = "lines";
      bool = { };
      int = { };
      path = { };
      port = { };
      raw = { };
      anything = { };
      attrs = { };
      nullOr = type: type;
      listOf = type: { };
      attrsOf = type: { };
      enum = values: { };
    };
    toInt = builtins.fromJSON;
    nixosSystem =
      {
        modules,
        specialArgs ? { },
        system ? null,
        ...
      }:
      let
        result = evalModules {
          modules = [
            ./modules/base.nix
            (if system == null then { } else { nixpkgs.hostPlatform = system; })
          ]
          ++ modules;
          specialArgs =
            config:
            {
              modulesPath = ./modules;
              pkgs = import ./pkgs.nix { system = config.nixpkgs.hostPlatform; };
            }
            // specialArgs;
        };
      in
      result // { pkgs = import ./pkgs.nix { system = result.config.nixpkgs.hostPlatform; }; };
  };

  # discharge gives the list of {priority, place, value} that one definition
  # amounts to.
  discharge =
    priority: place: value:
    if isType "if" value then
      if value.condition then discharge priority place value.content else [ ]
    else if isType "merge" value then
      concatMap (discharge priority place) value.contents
    else if isType "override" value then
      # A default may depend on other options: it is not looked at before it counts.
      if value.priority >= 1500 then
        [ { inherit (value) priority; inherit place; value = value.content; } ]
      else
        discharge value.priority place value.content
    else if isType "order" value then
      discharge priority value.place value.content
    else
      [ { inherit priority place value; } ];

  # pushDown makes a condition of a set one of each of its members.
  pushDown =
    value:
    if isType "if" value && isAttrs value.content then
      let
        content = pushDown value.content;
        handOn = inner: value // { content = inner; };
      in
      if isType "merge" content then
        content // { contents = map (inner: pushDown (handOn inner)) content.contents; }
      else if content ? _type then
        value
      else
        mapAttrs (_: handOn) content
    else if isType "merge" value then
      value // { contents = map pushDown value.contents; }
    else
      value;

  plain = value: isAttrs value && !(value ? outPath) && !(value ? _type);
  conditional = value: isType "if" value && plain value.content;

  # merge makes one value of all definitions of one place in the tree.
  merge =
    options: path: definitions:
    let
      isOption = isType "option" options;
      # NixOS knows the names above and of options, whatever the conditions. Here
      # that is so of declared ones, and near the root. A condition is then not looked
      # at, but handed down: it may depend on an option beside.
      near = length path < 2;
      discharged = concatMap (
        if isOption || options == { } && !near then discharge 100 1000 else d: discharge 100 1000 (pushDown d)
      ) definitions;
      strongest = foldl' (a: d: if d.priority < a then d.priority else a) 10000 discharged;
      counts = sort (a: b: a.place < b.place) (filter (d: d.priority == strongest) discharged);
      # Of an option only the strongest definitions count; within a set that is no
      # option, each member has definitions of its own.
      all = if isOption then counts else discharged;
      values = map (d: d.value) counts;
      trees = map (
        d: if isOption || d.priority == 100 then d.value else mapAttrs (_: override d.priority) d.value
      ) all;
      first = head values;
      below = name: if isAttrs options && !isOption then options.${name} or { } else { };
    in
    if builtins.all (d: plain d.value) all then
      # An empty set stays one, and what is defined by nothing but a false
      # condition is not there at all.
      mapAttrs (name: merge (below name) (path ++ [ name ])) (
        builtins.zipAttrsWith (name: values: values) (
          map (filterAttrs (
            name: value: below name != { } || near && conditional value || discharge 100 1000 value != [ ]
          )) trees
        )
      )
    else if builtins.all isList values then
      builtins.concatLists values
    else if isOption && options.type or null == "lines" then
      builtins.concatStringsSep "\n" values
    else if length values == 1 || builtins.all (value: value == first) values then
      first
    else
      throw "conflicting definitions of ${builtins.concatStringsSep "." path}";

  # load makes a list of {key, disabled, options, config} of a module and of all
  # that it imports.
  load =
    args: module:
    let
      isFile = isPath module || isString module;
      body = if isFile then import module else module;
      value = if isFunction body then body args else body;
      property = value ? _type;
      own = {
        key = if isFile then toString module else null;
        disabled = if property then [ ] else value.disabledModules or [ ];
        options = if property then { } else value.options or { };
        config =
          if property then
            value
          else if value ? options || value ? config then
            value.config or { }
          else
            removeAttrs value [
              "_file"
              "disabledModules"
              "imports"
              "key"
            ];
      };
      imports = if property then [ ] else value.imports or [ ];
    in
    [ own ] ++ map (imported: imported // { parents = (imported.parents or [ ]) ++ [ own.key ]; }) (
      concatMap (load args) imports
    );

  # once leaves out what is disabled, with what it imports, and what was there
  # already.
  once =
    args: loaded:
    let
      named = disabled: if isString disabled && !hasPrefix "/" disabled then "${toString args.modulesPath}/${disabled}" else toString disabled;
      disabled = map named (concatMap (m: m.disabled) loaded);
      gone = key: key != null && elem key disabled;
      stays = filter (m: !gone m.key && !builtins.any gone (m.parents or [ ])) loaded;
    in
    (foldl' (
      state: m:
      if m.key != null && elem m.key state.seen then
        state
      else
        {
          seen = state.seen ++ [ m.key ];
          list = state.list ++ [ m ];
        }
    ) { seen = [ ]; list = [ ]; } stays).list;

  # mergeOptions makes one tree of options of all that modules declare.
  mergeOptions =
    trees:
    mapAttrs (
      name: values: if isType "option" (head values) then head values else mergeOptions values
    ) (builtins.zipAttrsWith (name: values: values) trees);

  # defaults makes definitions of the defaults of a tree of options.
  defaults =
    options:
    mapAttrs (
      name: option: if isType "option" option then override 1500 option.default else defaults option
    ) (filterAttrs (name: option: !isType "option" option || option ? default) options);

  # finish applies the apply functions of a tree of options to merged values.
  finish =
    options: value:
    if isType "option" options then
      (options.apply or (v: v)) value
    else if isAttrs value && isAttrs options then
      value
      // mapAttrs (name: option: finish option value.${name}) (builtins.intersectAttrs value options)
    else
      value;

  # aliases are definitions of the options that others stand for.
  aliases =
    options: set:
    concatMap (
      name:
      let
        option = options.${name};
        value = set.${name};
      in
      if !(set ? ${name}) || !isAttrs option then
        [ ]
      else if isType "option" option then
        if option ? alias then
          [ (foldl' (inner: part: { ${part} = inner; }) value (foldl' (r: n: [ n ] ++ r) [ ] option.alias)) ]
        else
          [ ]
      else if isAttrs value && !(value ? _type) then
        aliases option value
      else
        [ ]
    ) (attrNames options);

  evalModules =
    { modules, specialArgs }:
    let
      args = { inherit config lib; } // specialArgs config;
      loaded = once args (concatMap (load args) modules);
      options = mergeOptions (map (m: m.options) loaded);
      configs = map (m: m.config) loaded;
      config = finish options (
        merge options [ ] (configs ++ concatMap (aliases options) configs ++ [ (defaults options) ])
      );
    in
    {
      inherit config options;
    };
in
lib
