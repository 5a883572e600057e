module example.com/servers

go 1.26.0

tool github.com/dagadbm/vps/mage/cmd/mage

require github.com/dagadbm/vps v0.0.0

// Only because this example lies inside the repository that it imports.
replace github.com/dagadbm/vps => ../..
